"""A registration whose right answer is known: a template brain, deformed and given another contrast.

The brain is the MNI152 T1 template that ships inside the package nilearn (the ``demo`` extra), with its maps
of grey and white matter. Nothing is downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..spatial.fields import integrate, lengths, resize_image, sample, voxel_grid
from ..spatial.grid import Grid, grid_of_image, image_from_array, mapped_points

PEAK_DISPLACEMENT = 8.0
ROTATION_DEGREES = (8.0, -5.0, 12.0)
SCALE = 1.06
SHIFT = (12.0, -9.0, 15.0)
KNOTS = 6


@dataclass(frozen=True)
class DemoPair:
    """A fixed and a moving image, their tissue labels, and the transform that lies between them.

    :param fixed: T1-like.
    :param moving: the same brain, T2-like, deformed, moved, with noise and a bias field.
    :param fixed_labels: 1 cerebrospinal fluid, 2 grey matter, 3 white matter.
    :param moving_labels: likewise, deformed as the moving image.
    :param truth: (D, H, W, 3), where in the fixed image each moving voxel's content comes from, LPS mm.
    """

    fixed: sitk.Image
    moving: sitk.Image
    fixed_labels: sitk.Image
    moving_labels: sitk.Image
    truth: np.ndarray

    def error(self, transform: sitk.Transform) -> np.ndarray:
        """How far each brain voxel of the fixed image is carried past its true place, in mm.

        :param transform: found points of the moving image for points of the fixed image.
        :returns: (D, H, W), 0 outside the brain.
        """
        grid, moving_grid = grid_of_image(self.fixed), grid_of_image(self.moving)
        found = _to_tensor(mapped_points(transform, grid))
        to_voxels = torch.as_tensor(np.linalg.inv(moving_grid.matrix), dtype=torch.float32)
        voxels = torch.einsum("rc,bcdhw->brdhw", to_voxels[:3, :3], found) + to_voxels[:3, 3].view(1, 3, 1, 1, 1)
        origin = sample(_to_tensor(self.truth), voxels)
        identity = _to_tensor(mapped_points(sitk.Transform(3, sitk.sitkIdentity), grid))
        distance = lengths(origin - identity)[0].numpy()
        return np.where(sitk.GetArrayViewFromImage(self.fixed_labels) > 0, distance, 0.0)


def make_pair(seed: int = 0) -> DemoPair:
    """Deform and re-contrast the template.

    :raises InputError: nilearn is not installed.
    """
    template, grey, white = _load_template()
    grid = grid_of_image(template)
    tissues = _tissues(*(sitk.GetArrayFromImage(image) for image in (template, grey, white)))
    labels = image_from_array(np.where(tissues.max(0) > 0.1, tissues.argmax(0) + 1, 0).astype(np.uint8), grid)
    generator = torch.Generator().manual_seed(seed)
    truth = _truth(grid, generator)
    positions = _voxels_of(truth, grid)
    contrast = torch.tensor([1.0, 0.62, 0.38]).view(3, 1, 1, 1)
    deformed = sample(torch.from_numpy(tissues)[None], positions, padding="zeros")[0]
    moving = _disturbed((deformed * contrast).sum(0), generator)
    moving_labels = torch.where(deformed.amax(0) > 0.1, deformed.argmax(0) + 1, 0)
    return DemoPair(
        fixed=template,
        moving=image_from_array(moving.numpy(), grid),
        fixed_labels=labels,
        moving_labels=image_from_array(moving_labels.numpy().astype(np.uint8), grid),
        truth=truth,
    )


def _load_template() -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """The template, and its probability maps of grey and white matter."""
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
    """A SimpleITK image from one of nibabel's, whose axes are (i, j, k) and whose space is RAS."""
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    matrix[:, :3] = matrix[:, 2::-1]
    array = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)
    return image_from_array(np.ascontiguousarray(array), Grid(array.shape, matrix))


def _tissues(template: np.ndarray, grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Shares of cerebrospinal fluid, grey and white matter, (3, D, H, W)."""
    brain = (template > 0.05 * template.max()).astype(np.float32)
    fluid = np.clip(brain - grey - white, 0.0, 1.0)
    return np.stack([fluid, grey, white]).astype(np.float32)


def _truth(grid: Grid, generator: torch.Generator) -> np.ndarray:
    """A known diffeomorphism of the grid: a smooth deformation after a rotation, scaling and shift.

    :returns: (D, H, W, 3), LPS mm.
    """
    knots = torch.randn(1, 3, KNOTS, KNOTS, KNOTS, generator=generator)
    velocity = resize_image(knots, grid.shape)
    field = integrate(velocity * PEAK_DISPLACEMENT / (grid.spacing.mean() * float(lengths(velocity).max())))
    field = field * PEAK_DISPLACEMENT / (grid.spacing.mean() * float(lengths(field).max()))
    voxels = (voxel_grid(grid.shape) + field)[0].movedim(0, -1).double().numpy()
    points = voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    x, y, z = (math.radians(angle) for angle in ROTATION_DEGREES)
    turn = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    linear = SCALE * torch.matrix_exp(turn).numpy()
    return (points - grid.centre) @ linear.T + grid.centre + np.asarray(SHIFT)


def _voxels_of(points: np.ndarray, grid: Grid) -> torch.Tensor:
    to_voxels = np.linalg.inv(grid.matrix)
    return _to_tensor(points @ to_voxels[:3, :3].T + to_voxels[:3, 3])


def _to_tensor(points: np.ndarray) -> torch.Tensor:
    """(D, H, W, 3) to (1, 3, D, H, W)."""
    return torch.from_numpy(points).float().movedim(-1, 0)[None].contiguous()


def _disturbed(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The image with a smooth gain of up to a fifth and noise, in whole numbers as scanners store them."""
    gain = resize_image(0.2 * (2.0 * torch.rand(1, 1, 3, 3, 3, generator=generator) - 1.0), image.shape)[0, 0]
    noise = 0.02 * torch.randn(image.shape, generator=generator)
    return (1000.0 * (image * (1.0 + gain) + noise * (image > 0))).clamp(min=0).round().to(torch.int16)
