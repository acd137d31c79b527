"""Phantoms: heads that are known at every point of space, known fields, and other ways to store the same image."""

from itertools import permutations, product

import numpy as np
import SimpleITK as sitk
import torch

from SLSFGRLib.io.label_table import mirrored_channels
from SLSFGRLib.registration.template import TissueAtlas
from SLSFGRLib.segmentation.intensity_model import IntensityModel
from SLSFGRLib.segmentation.segmenter import Segmentation
from SLSFGRLib.segmentation.structures import StructureCentroids
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import border_ramp, downsample, integrate, resize_image, smooth
from SLSFGRLib.spatial.grid import Grid, grid_of_image, voxel_positions

# Ellipsoids, the later ones inside or over the earlier: label, centre and semi-axes in mm (LPS), intensity.
HEAD_PARTS = (
    (0, (0, 0, 0), (68, 84, 74), 45),
    (0, (0, 0, 2), (61, 77, 66), 100),
    (1, (26, 4, 8), (22, 52, 34), 160),
    (2, (-27, 8, 8), (20, 46, 32), 160),
    (3, (9, -6, 12), (6, 25, 12), 25),
    (4, (-10, -10, 12), (5, 19, 10), 25),
    (5, (0, 46, -36), (36, 20, 17), 135),
    (6, (33, -32, 18), (9, 11, 9), 220),
)
SOFTNESS = 2.0  # mm over which one tissue turns into the next

# The atlas of a brain: its size in voxels of 2 mm, and the centroids of twelve structures in mm (LPS).
ATLAS_SHAPE = (48, 56, 48)
ATLAS_CENTRES = np.array([[x, y, z] for x in (-18, 19) for y in (-21, 1, 23) for z in (-15, 17)], float)
ATLAS_CENTRES += np.random.default_rng(1).uniform(-3, 3, ATLAS_CENTRES.shape)

# Eight balls in a larger one: channels of the label table with their intensities, and centres in mm (LPS).
BALL_INTENSITIES = {channel: 0.3 + 0.085 * number for number, channel in enumerate((2, 5, 7, 8, 12, 14, 16, 17))}
BALL_CENTRES = np.array([[x, y, z] for x in (-18, 20) for y in (-22, 24) for z in (-17, 21)], float)
BALL_CENTRES += np.random.default_rng(0).uniform(-4, 4, BALL_CENTRES.shape)
BALL_RADIUS = 11.0
# Bright enough to count as head.
BODY_INTENSITY, BODY_RADIUS = 0.2, 56.0
# In the middle; large enough that its intensity is the image's highest after scaling.
CORE_CHANNEL, CORE_INTENSITY, CORE_RADIUS = 9, 1.0, 17.0

# The same for a head with FreeSurfer's numbers.
NUMBERED_PARTS = (
    (511, (0, 0, 0), (58, 74, 56)),
    (515, (0, 0, 0), (54, 70, 52)),
    (24, (0, 0, 0), (48, 64, 46)),
    (3, (23, 0, 0), (22, 58, 42)),
    (42, (-23, 0, 0), (22, 58, 42)),
    (2, (23, 0, 0), (18, 50, 36)),
    (41, (-23, 0, 0), (18, 50, 36)),
    (4, (14, 0, 0), (6, 24, 10)),
    (43, (-14, 0, 0), (6, 24, 10)),
    (251, (3, 20, 0), (8, 8, 6)),
    (17, (28, 12, -16), (7, 14, 6)),
    (53, (-28, 12, -16), (7, 14, 6)),
)


def rotation_about(axis, degrees):
    """3x3 rotation about an axis (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


# Another position of a head; and another head in it: longer, lower and bent.
POSE = Affine.from_parts(rotation_about((1, 2, -1), 20.0), (6.0, -9.0, 4.0))
OTHER_HEAD = Affine.from_parts(np.array([[0.9, 0.1, 0.0], [0.0, 1.15, 0.0], [0.0, 0.15, 0.85]]), (0.0, 0.0, 0.0))
OTHER_HEAD = OTHER_HEAD.then(POSE)


# Axis directions (one column for each image axis) of every awkward kind.
TURN = rotation_about((0.2, -1.0, 1.5), 28)
DIRECTIONS = {
    "LPS": np.eye(3),
    "LAS": np.diag([1.0, -1.0, 1.0]),
    "permuted": np.eye(3)[:, [2, 0, 1]],
    "oblique": TURN,
    "oblique left-handed": TURN @ np.diag([-1.0, 1.0, 1.0]),
}
# A header and an affine transform without symmetries.
ORIGIN = (-31.5, 12.25, 107.0)
AFFINE = Affine.from_parts(TURN @ np.diag([1.1, 0.9, 1.05]), (4.0, -7.0, 11.0))
STORAGES = [(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]


def empty_image(size=(20, 24, 18), spacing=(2.0, 2.0, 2.0), direction=None, origin=None, centre=None):
    """An image of zeros with this header; ``centre`` puts its middle at a point, LPS mm."""
    image = sitk.Image([int(count) for count in size], sitk.sitkFloat32)
    image.SetSpacing([float(step) for step in spacing])
    image.SetDirection((np.eye(3) if direction is None else np.asarray(direction)).flatten().tolist())
    image.SetOrigin((0.0, 0.0, 0.0) if origin is None else [float(value) for value in origin])
    if centre is not None:
        middle = np.array(image.TransformContinuousIndexToPhysicalPoint([(count - 1) / 2 for count in size]))
        image.SetOrigin((np.asarray(centre) - middle).tolist())
    return image


def awkward_image(direction):
    """A small image of zeros with different sizes and spacings along its axes."""
    return empty_image((9, 12, 10), (0.9, 1.3, 2.7), DIRECTIONS[direction], ORIGIN)


def filled(image, array, vector=False):
    """An array with the header of an image."""
    result = sitk.GetImageFromArray(array, isVector=vector)
    result.CopyInformation(image)
    return result


def generator(seed=0):
    """A generator of random numbers with a known state."""
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    """Normally distributed random numbers."""
    return torch.randn(*shape, generator=generator(seed))


def smooth_field(amount, shape=(24, 28, 26), seed=0):
    """A random smooth field whose longest displacement is ``amount`` voxels, fading out to the border."""
    field = smooth(noise(1, 3, *shape, seed=seed), 3.0)
    for axis, size in enumerate(shape):
        window = torch.sin(torch.pi * torch.arange(size) / (size - 1)).square()
        field = field * window.view([-1 if axis == other else 1 for other in range(3)])
    return field * amount / field.norm(dim=1).max()


def positions(image):
    """LPS points in mm of all voxels, (D, H, W, 3), by SimpleITK's own account of each axis."""
    origin = np.array(image.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, 0.0)))
    steps = np.array([image.TransformContinuousIndexToPhysicalPoint(row) for row in np.eye(3).tolist()]) - origin
    counts = [np.arange(count) for count in image.GetSize()[::-1]]
    k, j, i = np.meshgrid(*counts, indexing="ij", sparse=True)
    along = [origin[axis] + i * steps[0, axis] + j * steps[1, axis] + k * steps[2, axis] for axis in range(3)]
    return np.moveaxis(np.stack(along), 0, -1)


def separate_axes(points):
    """The same points, with all x in one piece of memory, then all y and all z."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(points, -1, 0)), 0, -1)


def distances(points, centre, semi_axes=(1.0, 1.0, 1.0)):
    """Distances of points, (..., 3), from a centre, in semi-axes along x, y and z; one axis at a time is fastest."""
    x, y, z = (
        (coordinates - middle) / length
        for coordinates, middle, length in zip(np.moveaxis(points, -1, 0), centre, semi_axes, strict=True)
    )
    return np.sqrt(x * x + y * y + z * z)


def head_at(points):
    """Intensity and label of the synthetic head at LPS points in mm."""
    points = separate_axes(points)
    intensity, labels = np.zeros(points.shape[:-1]), np.zeros(points.shape[:-1], np.uint8)
    for label, centre, semi_axes, value in HEAD_PARTS:
        radius = distances(points, centre, semi_axes)
        depth = (1.0 - radius) * min(semi_axes)
        fraction = 1.0 / (1.0 + np.exp(np.clip(-4.0 * depth / SOFTNESS, -50, 50)))
        intensity += fraction * (value - intensity)
        labels[depth > 0] = label
    return intensity, labels


def head_image(image=None, matrix=None):
    """The head and its labels on the grid of an image.

    :param matrix: 4x4 on LPS points: the head as seen at ``matrix @ point``.
    """
    image = empty_image((80, 96, 84), centre=(3.0, -4.0, 5.0)) if image is None else image
    points = positions(image)
    if matrix is not None:
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    intensity, labels = head_at(points)
    return filled(image, intensity.astype(np.float32)), filled(image, labels)


def half_head_and_labels():
    """The head and its labels at 2 mm and half its size, which take an eighth of the time."""
    return head_image(empty_image((44, 52, 46), centre=(0.0, 0.0, 0.0)), affine_matrix(2.0 * np.eye(3)))


def half_head(shift=(0.0, 0.0, 0.0)):
    """The head at half its size and on a coarse grid, as seen at ``point + shift``: little is to be computed."""
    image = empty_image((24, 28, 26), (3.5, 3.5, 3.5), centre=(1.5, -2.0, 2.5))
    return head_image(image, affine_matrix(2.0 * np.eye(3), 2.0 * np.asarray(shift)))[0]


def numbers_image(size=(124, 156, 120), spacing=1.0, matrix=None):
    """A head of nested ellipsoids with FreeSurfer's numbers, LPS, with a speck in the air beside it.

    :param matrix: 4x4 on LPS points: the head as seen at ``matrix @ point``.
    """
    image = empty_image(size, [spacing] * 3, centre=(0.0, 0.0, 0.0))
    points = positions(image)
    if matrix is not None:
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    points = separate_axes(points)
    array = np.zeros(points.shape[:-1], np.int32)
    for number, centre, semi_axes in NUMBERED_PARTS:
        array[distances(points, centre, semi_axes) < 1] = number
    array[2:4, 2:4, 2:4] = 24
    return filled(image, array)


def stored(image, order=(0, 1, 2), flips=(False, False, False)):
    """The same image in space with its axes permuted and flipped in the file."""
    return sitk.Flip(sitk.PermuteAxes(image, order), flips)


def moved_header(image, rotation, shift=(0.0, 0.0, 0.0)):
    """The same voxels somewhere else in space."""
    moved = sitk.Image(image)
    moved.SetDirection((rotation @ np.reshape(image.GetDirection(), (3, 3))).flatten().tolist())
    moved.SetOrigin((rotation @ image.GetOrigin() + np.asarray(shift)).tolist())
    return moved


def affine_matrix(linear=None, shift=(0.0, 0.0, 0.0)):
    """A 4x4 matrix on LPS points."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if linear is None else linear
    matrix[:3, 3] = shift
    return matrix


def transformed(transform, points):
    """A SimpleITK transform applied point by point, (N, 3)."""
    return np.array([transform.TransformPoint(point.tolist()) for point in np.atleast_2d(points)])


def brain_atlas(pose=None, ridges=5.0, count=12, phase=0.0):
    """The atlas of a ridged ball of white matter in grey matter in CSF, at 2 mm.

    :param pose: an :class:`Affine`: the brain as seen at ``pose(point)``.
    :param ridges: their height in mm.
    :param count: how many of the twelve structures are large enough to be used.
    :param phase: where the ridges lie, in radians.
    """
    pose, grid = pose or Affine.identity(), Grid.upright(ATLAS_SHAPE, 2.0, (0.0, 0.0, 0.0))
    points = pose.apply(voxel_positions(grid))
    radius = np.linalg.norm(points * (1.0, 0.85, 1.0), axis=-1)
    x, y, z = np.moveaxis(points, -1, 0)
    fold = ridges * np.sin(np.arctan2(y, x) * 5 + phase) * np.sin(np.arctan2(np.hypot(x, y), z) * 6)
    inner, middle, outer = (1.0 / (1.0 + np.exp((radius - fold - edge) / 0.7)) for edge in (28.0, 33.0, 39.0))
    tissues = torch.from_numpy(np.stack([outer - middle, middle - inner, inner]).astype(np.float32))[None]
    volumes = np.where(np.arange(len(ATLAS_CENTRES)) < count, 900.0, 0.0)
    return TissueAtlas(tissues, grid, StructureCentroids(volumes, pose.inverse().apply(ATLAS_CENTRES)))


def balls_image(affine=None, spacing=1.0, shrinking=1.0):
    """Eight balls of different intensities in a larger one.

    :param affine: an :class:`Affine`: the balls as seen at ``affine(point)``.
    :param shrinking: factor by which all of it is smaller, also the image and the affine transform's shift.
    """
    image = empty_image([round(128 / (shrinking * spacing))] * 3, [spacing] * 3, centre=(0.0, 0.0, 0.0))
    points = shrinking * positions(image)
    if affine is not None:
        points = affine.apply(points)
    points = separate_axes(points)
    radius = distances(points, np.zeros(3))
    array = np.where(radius < BODY_RADIUS, BODY_INTENSITY, 0.0)
    array[radius < CORE_RADIUS] = CORE_INTENSITY
    for centre, intensity in zip(BALL_CENTRES, BALL_INTENSITIES.values(), strict=True):
        array[distances(points, centre) < BALL_RADIUS] = intensity
    return filled(image, (1000 * array).astype(np.float32))


def balls_subject(affine=None, labels_affine=None, shrinking=1.0):
    """The same as a subject with the segmentation of a faultless network.

    :param labels_affine: where the segmentation has the balls, if not where the image has them.
    :param shrinking: as in :func:`balls_image`.
    """
    affine = affine or Affine.identity()
    subject = Subject.from_image(balls_image(affine, shrinking=shrinking))
    grid = subject.grid.coarsened(2)
    points = separate_axes((labels_affine or affine).apply(shrinking * voxel_positions(grid)))
    channels = np.zeros(grid.shape, int)
    for centre, channel in zip(BALL_CENTRES, BALL_INTENSITIES, strict=True):
        channels[distances(points, centre) < BALL_RADIUS] = channel
    return with_segmentation(subject, channels)


def with_segmentation(subject, channels):
    """A subject with a segmentation that is nearly sure of these channels of the label table.

    :param channels: integers, at half the resolution of the prepared image.
    """
    logits = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(channels), 31).movedim(-1, 0)[None].float()
    posteriors, grid = logits.softmax(dim=1), subject.grid.coarsened(2)
    segmentation = Segmentation(
        logits,
        posteriors,
        grid,
        IntensityModel.fit(posteriors, downsample(subject.prepared.tensor, 2)),
        StructureCentroids.from_posteriors(posteriors[0, 1:], grid),
    )
    return Subject(subject.image, subject.prepared, segmentation)


# From points of the image to those of an upright brain, whose left is at positive x.
TILT = Affine.from_parts(rotation_about((0, 1, 2), 14.0), (4.0, -3.0, 2.0))
# Channels of the left side, white matter first, and where these structures lie.
SIDED_CHANNELS = (1, 3, 6, 7, 8, 13)
SIDED_CENTRES = np.array([[20, 22, -18], [24, -20, -16], [18, -24, 14], [22, 20, 18], [30, 2, -20], [26, 0, 22]], float)
LEFT_CORTEX, FLUID = 2, 15


def upright(grid):
    """Return the positions of a grid's voxels in the upright brain of :func:`symmetric_subject`."""
    return TILT.apply(voxel_positions(grid))


def symmetric_subject():
    """A tilted brain whose sides are alike: cortex, CSF in the middle and six structures on each side."""
    image = empty_image((96, 96, 96), (1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0))
    points = upright(grid_of_image(image))
    x, y, z = np.abs(points[..., 0]), points[..., 1], points[..., 2]
    array = 0.5 + 0.1 * np.sin(x / 9.0) + 0.15 * np.cos(y / 11.0 + x / 15.0) * np.sin(z / 10.0)
    array[np.linalg.norm(np.abs(points) - np.abs(SIDED_CENTRES[0]), axis=-1) < 9.0] = 0.9
    array[x < 3.0] = 0.2
    array[np.linalg.norm(points, axis=-1) > 42.0] = 0.0
    subject = Subject.from_image(filled(image, (1000.0 * array).astype(np.float32)))
    points = upright(subject.grid.coarsened(2))
    channels = np.where(points[..., 0] > 0.0, LEFT_CORTEX, mirrored_channels()[LEFT_CORTEX])
    for channel, centre in zip(SIDED_CHANNELS, SIDED_CENTRES, strict=True):
        channels[np.linalg.norm(points - centre, axis=-1) < 7.0] = channel
        channels[np.linalg.norm(points - centre * [-1, 1, 1], axis=-1) < 7.0] = mirrored_channels()[channel]
    channels[np.abs(points[..., 0]) < 3.0] = FLUID
    channels[np.linalg.norm(points, axis=-1) > 42.0] = 0
    return with_segmentation(subject, channels)


def texture(shape, sigma):
    """Random intensities from 0 to 1, smoothed by a Gaussian of ``sigma`` voxels, (1, 1, D, H, W)."""
    blurred = smooth(torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0)), sigma)
    return (0.5 + 0.15 * blurred / blurred.std()).clamp(0, 1)


def smooth_diffeomorphism(shape, peak):
    """A displacement field in voxels, (1, 3, D, H, W), that is zero on its border and does not fold.

    :param peak: the largest length of its velocity, in voxels.
    """
    knots = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    velocity = resize_image(knots, shape) * border_ramp(shape, 8.0)
    return integrate(velocity * peak / velocity.norm(dim=1).max())
