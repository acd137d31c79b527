"""Search the pose of a head without any start: all rotations at 8 mm, then the best ones from coarse to fine."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import SimpleITK as sitk
import torch

from ..losses.mutual_information import normalised_mutual_information, soft_bins
from ..spatial.affine import Affine
from ..spatial.arrays import array_from_tensor, tensor_from_array
from .linear_image import HEAD_INTENSITY, HEAD_SEARCH_SPACING, Interpolator, LinearImage
from .linear_solver import COARSE, Aligned, Level, LevelProblem, drawn

SPACING, SAMPLES, BINS = 8.0, 1500, 16
# Around each of the 24 rotations of a cube, rotations about each axis by these angles: none is farther than 13 degrees
# along any axis from what is tried.
ANGLES = (-26.0, 0.0, 26.0)
# A field of view shorter than this along an axis, which cuts the head, may show any part of it; its centre is tried at
# these places.
WHOLE_HEAD_MM, SLAB_OFFSETS_MM = 120.0, (-50.0, -25.0, 0.0, 25.0, 50.0)
# A head that is cut has a large section there at once: within two planes of 4 mm after the first that shows more than a
# speck. Sections are fractions of the largest one; a ball with a radius of 60 mm has 0.25 at a depth of 8 mm.
CUT_SECTION, SPECK = 0.6, 0.05
# Poses that are refined by a few steps at 8 mm, for a slab and otherwise, and of these at 4 mm, and of these with more
# samples. Poses nearer to a better one than this are left out.
KEPT_OF_SLAB, KEPT, KEPT_LONGER, KEPT_LAST, APART_DEGREES, APART_MM = 300, 64, 8, 2, 15.0, 15.0
# At 8 mm a slab fits better in many wrong places than in its own, at 4 mm it does not: the values there decide.
FIRST_STEPS, DECIDING = Level(SPACING, SAMPLES, iterations=5), Level(4.0, 6_000, iterations=0)
MORE_STEPS = replace(DECIDING, iterations=6)
BATCH = 64


def search(reference: LinearImage, other: LinearImage) -> Aligned:
    """Find the pose of one head in another image.

    :returns: reference points to points of the other image, exact to a few millimetres.
    """
    coarse = reference.at(SPACING)
    voxels = torch.nonzero(coarse.head())
    voxels = voxels[drawn(len(voxels), SAMPLES, voxels.device)]
    shows_part = is_slab(reference)
    poses = _poses(reference, other, SLAB_OFFSETS_MM if shows_part else (0.0,))
    scores = _scores(coarse, voxels, other.at(SPACING), poses)
    first = KEPT_OF_SLAB if shows_part else KEPT
    found = [poses[place] for place in _distinct(poses, scores, reference.centre(), first)]
    for level, kept in ((FIRST_STEPS, first), (DECIDING, KEPT_LONGER), (MORE_STEPS, KEPT_LAST), (COARSE[1], 1)):
        problem = LevelProblem(reference, other, level, found[0])
        refined = problem.maximise(found, is_rigid=True)
        refined.sort(key=lambda aligned: aligned.value, reverse=True)
        found = [aligned.pose for aligned in refined[:kept]]
    return refined[0]


def _poses(reference: LinearImage, other: LinearImage, offsets: tuple[float, ...]) -> list[Affine]:
    """Return rotations about the centre of the head, each with these shifts in mm along the image's shortest axis."""
    centre, target = reference.centre(), other.centre()
    axis = int(np.argmin(_extent(reference)))
    direction = reference.grid.matrix[:3, axis] / reference.grid.spacing[axis]
    return [
        Affine.about(rotation, centre + offset * direction, target) for rotation in _rotations() for offset in offsets
    ]


def _extent(image: LinearImage) -> np.ndarray:
    return image.grid.spacing * image.grid.shape


def is_slab(image: LinearImage) -> bool:
    """Return whether the image shows less than a head along its shortest axis, because it is cut there."""
    extent = _extent(image)
    if extent.min() >= WHOLE_HEAD_MM:
        return False
    head = image.at(HEAD_SEARCH_SPACING).tensor[0, 0] > HEAD_INTENSITY
    sections = head.movedim(int(np.argmin(extent)), 0).flatten(1).sum(1)
    sections = sections / sections.max().clamp(min=1)
    sections = sections[sections > SPECK]
    return bool(torch.cat([sections[:2], sections[-2:]]).max() > CUT_SECTION) if len(sections) else False


def _rotations() -> list[np.ndarray]:
    """Return the 24 rotations of a cube, each with 26 near it."""
    cube = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = np.diag(signs)[list(order)]
        if np.linalg.det(matrix) > 0:
            cube.append(matrix)
    near = [
        np.reshape(sitk.Euler3DTransform((0, 0, 0), *np.deg2rad(angles)).GetMatrix(), (3, 3))
        for angles in product(ANGLES, repeat=3)
    ]
    return [first @ second for first, second in product(cube, near)]


def _scores(coarse: LinearImage, voxels: torch.Tensor, other: LinearImage, poses: list[Affine]) -> np.ndarray:
    """Return the normalised mutual information of each pose; what is outside the other image counts as air."""
    points = coarse.positions(voxels)
    bins = soft_bins(coarse.tensor[0, 0][tuple(voxels.T)], BINS)[None]
    interpolator = Interpolator(other, torch.zeros(1, 3, dtype=torch.float64, device=points.device))
    matrices = tensor_from_array(np.stack([pose.matrix for pose in poses]), device=points.device)
    scores = []
    for some in matrices.split(BATCH):
        moved = points @ some[:, :3, :3].mT + some[:, None, :3, 3]
        values, _, inside = interpolator(moved.flatten(0, 1))
        values = (values * inside).view(len(some), -1)
        scores.append(normalised_mutual_information(bins.expand(len(some), -1, -1), values, BINS))
    return array_from_tensor(torch.cat(scores))


def _distinct(poses: list[Affine], scores: np.ndarray, centre: np.ndarray, most: int) -> list[int]:
    """Return the places of the best poses that are apart from each other, best first, at most so many."""
    rotations = np.stack([pose.linear.ravel() for pose in poses])
    centres = np.stack([pose.apply(centre) for pose in poses])
    kept: list[int] = []
    for place in np.argsort(-scores):
        if len(kept) == most:
            break
        # The trace of one rotation after the inverse of another is 1 + 2 cos(angle between them).
        cosines = (rotations[kept] @ rotations[place] - 1.0) / 2.0
        distances = np.linalg.norm(centres[kept] - centres[place], axis=1)
        if not np.any((cosines >= np.cos(np.radians(APART_DEGREES))) & (distances <= APART_MM)):
            kept.append(int(place))
    return kept
