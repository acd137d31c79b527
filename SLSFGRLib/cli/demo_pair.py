"""A pair of images with a known deformation: a template brain, and a deformed copy with another contrast.

The brain is the MNI152 T1 template that is bundled with the package nilearn (the ``demo`` extra), with its tissue
probability maps of grey and white matter. Nothing is downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.fields import integrate, resize_field, resize_image, sample, vector_norms, voxel_grid
from ..spatial.grid import Grid, grid_of_image, image_from_array, mapped_points, voxel_positions

# Of the smooth deformation, in mm; control points along each axis of its velocity field.
PEAK_DISPLACEMENT = 8.0
KNOTS = 6
# The velocity field is smooth: on a grid coarser by this factor its integral takes an eighth of the time.
INTEGRATION_FACTOR = 2
# Where no tissue fills more of a voxel, it has no label.
LEAST_FRACTION = 0.1
# Of the affine part; the shift is in mm.
ROTATION_DEGREES = (8.0, -5.0, 12.0)
SCALE = 1.06
SHIFT = (12.0, -9.0, 15.0)
SEED = 0


@dataclass(frozen=True)
class DemoPair:
    """A fixed and a moving image, their tissue labels, and the ground truth.

    :param fixed: the T1 template.
    :param moving: the same brain with T2-like contrast, deformed and moved, with noise and a bias field.
    :param fixed_labels: 1 CSF, 2 grey matter, 3 white matter.
    :param moving_labels: the same labels, deformed like the moving image.
    :param truth: (D, H, W, 3), the point of the fixed image that each moving voxel shows, LPS mm.
    """

    fixed: sitk.Image
    moving: sitk.Image
    fixed_labels: sitk.Image
    moving_labels: sitk.Image
    truth: np.ndarray

    def error(self, transform: sitk.Transform) -> np.ndarray:
        """Return the distance between the estimated and the true position of each brain voxel of the fixed image.

        :param transform: the estimate; maps points of the fixed image to points of the moving image.
        :returns: (D, H, W) in mm, 0 outside the brain.
        """
        grid, brain = grid_of_image(self.fixed), sitk.GetArrayViewFromImage(self.fixed_labels) > 0
        mapped = mapped_points(transform, grid)[brain]
        voxels = _voxels_of(mapped[:, None, None], grid_of_image(self.moving))
        origin = array_from_tensor(sample(_to_tensor(self.truth), voxels)[0, :, :, 0, 0]).T
        distance = np.zeros(grid.shape)
        distance[brain] = np.linalg.norm(origin - voxel_positions(grid)[brain], axis=-1)
        return distance


def make_pair() -> DemoPair:
    """Return the template and a deformed copy of it with T2-like contrast.

    :raises InputError: nilearn is not installed.
    """
    template, grey, white = _load_template()
    grid = grid_of_image(template)
    tissues = _tissues(*(sitk.GetArrayFromImage(image) for image in (template, grey, white)))
    labels = image_from_array(_labels(tissues), grid)
    generator = torch.Generator().manual_seed(SEED)
    truth = _truth(grid, generator)
    positions = _voxels_of(truth, grid)
    contrast = torch.tensor([1.0, 0.62, 0.38]).view(3, 1, 1, 1)
    deformed = sample(tensor_from_array(tissues)[None], positions, padding="zeros")[0]
    moving = _with_bias_and_noise((deformed * contrast).sum(0), generator)
    return DemoPair(
        fixed=template,
        moving=image_from_array(array_from_tensor(moving), grid),
        fixed_labels=labels,
        moving_labels=image_from_array(_labels(array_from_tensor(deformed)), grid),
        truth=truth,
    )


def _load_template() -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """Return the template and its probability maps of grey and white matter."""
    try:
        from nilearn import datasets
    except ModuleNotFoundError as error:
        raise InputError("the demo needs the package nilearn; install it with: pip install 'slsfgr[demo]'.") from error
    loaders = (
        datasets.load_mni152_template,
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
    )
    return tuple(_from_nibabel(load(resolution=1)) for load in loaders)


def _from_nibabel(image: object) -> sitk.Image:
    """Convert an image of nibabel, with axes (i, j, k) and RAS space, to SimpleITK."""
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    matrix[:, :3] = matrix[:, 2::-1]
    array = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)
    return image_from_array(np.ascontiguousarray(array), Grid(array.shape, matrix))


def _tissues(template: np.ndarray, grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return the tissue fractions of CSF, grey and white matter, (3, D, H, W)."""
    brain = (template > 0.05 * template.max()).astype(np.float32)
    fluid = np.clip(brain - grey - white, 0.0, 1.0)
    return np.stack([fluid, grey, white]).astype(np.float32)


def _labels(tissues: np.ndarray) -> np.ndarray:
    """Return the number of the tissue that fills most of each voxel, counted from 1, or 0.

    NumPy's and PyTorch's argmax along the first axis take seconds.
    """
    labels = np.zeros(tissues.shape[1:], np.uint8)
    largest = np.full(tissues.shape[1:], LEAST_FRACTION, tissues.dtype)
    for number, fraction in enumerate(tissues, 1):
        labels[fraction > largest] = number
        np.maximum(largest, fraction, out=largest)
    return labels


def _truth(grid: Grid, generator: torch.Generator) -> np.ndarray:
    """Return a known diffeomorphism of the grid: a smooth deformation followed by an affine transform.

    :returns: (D, H, W, 3), LPS mm.
    """
    knots = torch.randn(1, 3, KNOTS, KNOTS, KNOTS, generator=generator)
    coarse = [size // INTEGRATION_FACTOR for size in grid.shape]
    velocity = resize_image(knots, coarse)
    peak = PEAK_DISPLACEMENT / (INTEGRATION_FACTOR * grid.spacing.mean())
    field = resize_field(integrate(velocity * peak / float(vector_norms(velocity).max())), grid.shape)
    field = field * PEAK_DISPLACEMENT / (grid.spacing.mean() * float(vector_norms(field).max()))
    voxels = array_from_tensor((voxel_grid(grid.shape) + field)[0].movedim(0, -1).double())
    points = voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    x, y, z = (math.radians(angle) for angle in ROTATION_DEGREES)
    skew = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    linear = SCALE * array_from_tensor(torch.matrix_exp(skew))
    return (points - grid.centre) @ linear.T + grid.centre + np.asarray(SHIFT)


def _voxels_of(points: np.ndarray, grid: Grid) -> torch.Tensor:
    to_voxels = np.linalg.inv(grid.matrix)
    return _to_tensor(points @ to_voxels[:3, :3].T + to_voxels[:3, 3])


def _to_tensor(points: np.ndarray) -> torch.Tensor:
    """Reorder (D, H, W, 3) to (1, 3, D, H, W)."""
    return tensor_from_array(points).float().movedim(-1, 0)[None].contiguous()


def _with_bias_and_noise(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add a bias field of up to 20 % and noise; return integers, as scanners store them."""
    gain = resize_image(0.2 * (2.0 * torch.rand(1, 1, 3, 3, 3, generator=generator) - 1.0), image.shape)[0, 0]
    noise = 0.02 * torch.randn(image.shape, generator=generator)
    return (1000.0 * (image * (1.0 + gain) + noise * (image > 0))).clamp(min=0).round().to(torch.int16)
