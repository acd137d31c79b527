"""Labels for real images without any: propagated from label maps by registration, and fused.

Every label map is rendered as a T1 brain and registered to the image. The maps are fused by local weighted voting:
where a rendered brain agrees with the image its labels count more (X. Artaechevarria, A. Munoz-Barrutia, C.
Ortiz-de-Solorzano: Combination strategies in multi-atlas image segmentation. IEEE TMI 28, 2009). So a network that was
trained on synthetic images is trained on real ones, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from ...io.images import read_image
from ...io.resources import can_segment
from ...losses.lncc import local_correlation
from ...models.loading import default_model
from ...models.model import SegmentationNetworks
from ...registration.align import align
from ...registration.deform import deform
from ...registration.schedules import planned_levels
from ...segmentation.segmenter import DOWNSAMPLING_FACTOR
from ...segmentation.subject import Subject
from ...spatial.composite import affine_then_field
from ...spatial.fields import downsample
from ...spatial.grid import Grid, image_from_array
from ...synthesis import LabelMap
from ...synthesis.contrasts import typical_contrast
from ...synthesis.label_maps import SPACING, fingerprint
from ...synthesis.tissue_contrasts import INTENSITY_PROFILES, channel_count, classes

# Chosen, not measured. Blur of the rendered brains in mm: no scanner shows such sharp edges.
BLUR = 0.6
# A map's weight is the local correlation to this power, and at least the second number. Chosen, not measured.
VOTE_POWER, LEAST_VOTE = 4, 1e-3


@dataclass(frozen=True)
class LabelledImage:
    """A real image with propagated labels.

    :param image: (1, 1, D, H, W) in [0, 1], at the network's 2 mm.
    :param probabilities: (1, channels, D, H, W), of each channel of the label table.
    """

    image: torch.Tensor
    probabilities: torch.Tensor

    @property
    def centre(self) -> torch.Tensor:
        """The centre of the brain in voxels, (3,)."""
        brain = 1.0 - self.probabilities[0, 0]
        axes = [torch.arange(size, dtype=torch.float32, device=brain.device) for size in brain.shape]
        sums = [brain.sum(dim=[other for other in range(3) if other != axis]) @ axes[axis] for axis in range(3)]
        return torch.stack(sums) / brain.sum()

    def to(self, device: torch.device) -> LabelledImage:
        """Return a copy on another device."""
        return LabelledImage(self.image.to(device), self.probabilities.to(device))


def load_labelled_images(
    files: Sequence[Path], maps: Sequence[LabelMap], cache_folder: Path, update: Callable[[float], None]
) -> list[LabelledImage]:
    """Propagate the labels of all maps to every image; results of earlier runs come from the cache.

    :param update: called with the fraction done; each image takes as many fast registrations as there are maps.
    :raises InputError: a file cannot be used.
    """
    cache_folder.mkdir(parents=True, exist_ok=True)
    loaded = []
    for number, file in enumerate(files):
        cached = cache_folder / f"{file.name.split('.')[0]}_{fingerprint(file)}_{len(maps)}.pt"
        if not cached.is_file():
            labelled = propagate_labels(
                read_image(file), maps, lambda fraction, done=number: update((done + fraction) / len(files))
            )
            scratch = cached.with_suffix(".new")
            torch.save({"image": labelled.image, "probabilities": labelled.probabilities.half()}, scratch)
            scratch.replace(cached)
        content = torch.load(cached, weights_only=True)
        loaded.append(LabelledImage(content["image"], content["probabilities"].float()))
    return loaded


@torch.no_grad()
def propagate_labels(
    image: sitk.Image, maps: Sequence[LabelMap], update: Callable[[float], None] = lambda fraction: None
) -> LabelledImage:
    """Register every label map to an image, and fuse their labels.

    :param image: a skull-stripped T1 image.
    :param update: called with the fraction done.
    """
    networks = default_model().segmenter(torch.device("cpu")) if can_segment() else None
    fixed = _subject(image, networks)
    grid = image_from_array(np.zeros(fixed.grid.shape, np.uint8), fixed.grid)
    coarse = downsample(fixed.prepared.tensor, DOWNSAMPLING_FACTOR)
    votes = torch.zeros(1, channel_count(), *coarse.shape[2:])
    for number, label_map in enumerate(maps):
        update(number / len(maps))
        brain, labels = render_brain(label_map)
        transform = _register(fixed, _subject(brain, networks))
        warped = torch.from_numpy(sitk.GetArrayFromImage(sitk.Resample(brain, grid, transform)))[None, None]
        propagated = sitk.GetArrayFromImage(sitk.Resample(labels, grid, transform, sitk.sitkNearestNeighbor))
        weight = local_correlation(downsample(warped, DOWNSAMPLING_FACTOR), coarse) ** VOTE_POWER + LEAST_VOTE
        for channel in np.unique(propagated).tolist():
            mask = torch.from_numpy((propagated == channel).astype(np.float32))[None, None]
            votes[:, channel : channel + 1] += weight * downsample(mask, DOWNSAMPLING_FACTOR)
    return LabelledImage(coarse, votes / votes.sum(dim=1, keepdim=True))


def _subject(image: sitk.Image, networks: SegmentationNetworks | None) -> Subject:
    """Prepare an image, and segment it if there are networks."""
    subject = Subject.from_image(image)
    return subject if networks is None else subject.segmented(networks)


def _register(fixed: Subject, moving: Subject) -> sitk.Transform:
    """Register two subjects as ``fast`` does, and return the transform of fixed points to moving points."""
    affine = align(fixed, moving)
    field = deform(fixed, moving, affine, planned_levels("fast", fixed.image))
    return affine_then_field(affine, field, fixed.grid.resized(field.shape[2:]))


def render_brain(label_map: LabelMap) -> tuple[sitk.Image, sitk.Image]:
    """Render a label map as a skull-stripped T1 image, and return it and the map's channels, both at 1 mm."""
    table, kinds = classes(), label_map.classes.cpu().numpy()
    intensity = typical_contrast("t1").intensity.numpy().copy()
    intensity[[INTENSITY_PROFILES[name].group in ("outside", "background") for name in table.names]] = 0.0
    grid = Grid.upright(kinds.shape, SPACING)
    image = image_from_array(intensity[kinds].astype(np.float32), grid)
    return sitk.SmoothingRecursiveGaussian(image, BLUR), image_from_array(table.channel[kinds], grid)
