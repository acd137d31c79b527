"""Masks and lesions: which voxels of a brain are compared, and what stands in a lesion's place.

Both belong to an image by their position in space, on any grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..io.images import checked_image
from ..segmentation.subject import Subject
from ..spatial.arrays import tensor_from_array
from ..spatial.fields import smooth
from ..spatial.grid import image_from_array

# A mask with a smaller fraction of its voxels inside its image belongs to another one.
MIN_INSIDE = 0.5
# From coarse to fine, in mm: what surrounds a lesion is continued into it by Gaussians of these widths.
FILL_SIGMAS_MM = (16.0, 8.0, 4.0, 2.0)
# Weight below which a Gaussian has not reached a voxel.
MIN_WEIGHT = 1e-3


@dataclass(frozen=True)
class Regions:
    """What a user has marked on one image.

    :param mask: not 0 where the image may be compared; None for everywhere.
    :param lesion: not 0 where the other image has no counterpart; None for nowhere.
    """

    mask: sitk.Image | None = None
    lesion: sitk.Image | None = None


def with_regions(subject: Subject, regions: Regions, name: str) -> Subject:
    """Return a subject, not segmented yet, of which only some voxels are compared.

    Inside a lesion its image continues what is around it: so neither the segmentation nor the tissue probability maps
    nor the intensity model learn from it.

    :param name: of the image in an error.
    :raises InputError: a region hardly overlaps its image.
    """
    prepared, compared, lesion = subject.prepared, None, None
    if regions.mask is not None:
        compared = _on_grid(regions.mask, subject, f"the mask of {name}")
    if regions.lesion is not None:
        share = _on_grid(regions.lesion, subject, f"the lesion of {name}")
        prepared = replace(prepared, tensor=_filled(prepared.tensor, share, subject.grid.mean_spacing))
        in_mask = torch.ones_like(share) if compared is None else compared
        compared, lesion = in_mask * (1.0 - share), in_mask * share
    return replace(subject, prepared=prepared, compared=compared, lesion=lesion)


def _on_grid(region: sitk.Image, subject: Subject, name: str) -> torch.Tensor:
    """Return the fraction of each voxel of the prepared image that a region fills, (1, 1, D, H, W).

    :raises InputError: the region is empty, or most of it lies outside the image.
    """
    region = sitk.Cast(sitk.NotEqual(region, 0), sitk.sitkFloat32)
    total = float(sitk.GetArrayViewFromImage(region).sum())
    if total == 0.0:
        raise InputError(f"{name}: is empty; mark at least one voxel, or leave it out.")
    # On the region's own grid: which of its voxels lie in the image.
    whole = sitk.Cast(checked_image(subject.image, name), sitk.sitkFloat32) * 0.0 + 1.0
    there = sitk.Resample(whole, region, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    inside = float((sitk.GetArrayViewFromImage(there) * sitk.GetArrayViewFromImage(region)).sum())
    if inside < MIN_INSIDE * total:
        raise InputError(
            f"{name}: only {inside / total:.0%} of it lies inside the image; give one that was drawn on this image."
        )
    grid = subject.grid
    reference = image_from_array(np.zeros(grid.shape, np.float32), grid)
    found = sitk.Resample(region, reference, sitk.Transform(), sitk.sitkLinear, 0.0)
    return tensor_from_array(sitk.GetArrayViewFromImage(found), device=subject.prepared.tensor.device)[None, None]


def _filled(image: torch.Tensor, share: torch.Tensor, spacing: float) -> torch.Tensor:
    """Continue an image into a lesion by normalised convolution (Knutsson & Westin 1993), from coarse to fine.

    :param share: fraction of each voxel that the lesion fills, of the image's shape.
    """
    known = (share == 0).float()
    values, weight = image * known, known
    fill = torch.zeros_like(image)
    for sigma in FILL_SIGMAS_MM:
        near, count = (smooth(part, sigma / spacing) for part in (values, weight))
        fill = torch.where(count > MIN_WEIGHT, near / count.clamp(min=MIN_WEIGHT), fill)
    return torch.where(share == 0, image, fill)
