"""Labels for real images that have none: carried over from label maps by registration, and fused.

Every map is rendered as a T1 brain and registered to the image. Where the two agree well its labels count for much
(local weighted voting; Artaechevarria et al. 2009). So a network that has only seen made images meets real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from ...io.images import read_image
from ...losses.lncc import local_correlation
from ...registration.pipeline import register
from ...segmentation.pipeline import FACTOR, prepare_for_network
from ...spatial.fields import downsample
from ...spatial.grid import Grid, image_from_array
from ...synthesis import CHANNELS, LabelMap
from ...synthesis.contrasts import typical_contrast
from ...synthesis.label_maps import SPACING, fingerprint
from ...synthesis.tissue_contrasts import LOOKS, classes

# Of the rendered brains, in voxels of 1 mm: no scanner shows such sharp borders.
BLUR = 0.6
# The power of the local correlation by which a map counts; and what it counts where nothing correlates.
VOTE_POWER, LEAST_VOTE = 4, 1e-3


@dataclass(frozen=True)
class LabelledImage:
    """A real image, and the share of every channel of the label table in each voxel.

    :param image: (1, 1, D, H, W) in [0, 1], at the network's 2 mm.
    :param shares: (1, CHANNELS, D, H, W).
    """

    image: torch.Tensor
    shares: torch.Tensor

    @property
    def centre(self) -> torch.Tensor:
        """The middle of the brain in voxels, (3,)."""
        brain = 1.0 - self.shares[0, 0]
        axes = [torch.arange(size, dtype=torch.float32, device=brain.device) for size in brain.shape]
        sums = [brain.sum(dim=[other for other in range(3) if other != axis]) @ axes[axis] for axis in range(3)]
        return torch.stack(sums) / brain.sum()

    def to(self, device: torch.device) -> LabelledImage:
        """The same on another device."""
        return LabelledImage(self.image.to(device), self.shares.to(device))


def load_labelled_images(
    files: Sequence[Path], maps: Sequence[LabelMap], cache_folder: Path, update: Callable[[float], None]
) -> list[LabelledImage]:
    """Carry the labels of all maps to every image; what was done before comes from the cache.

    :param update: called with the fraction done; each image takes as many fast registrations as there are maps.
    :raises InputError: a file cannot be used.
    """
    cache_folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, file in enumerate(files):
        cached = cache_folder / f"{file.name.split('.')[0]}_{fingerprint(file)}_{len(maps)}.pt"
        if not cached.is_file():
            labelled = carry_labels(
                read_image(file), maps, lambda fraction, done=number: update((done + fraction) / len(files))
            )
            scratch = cached.with_suffix(".new")
            torch.save({"image": labelled.image, "shares": labelled.shares.half()}, scratch)
            scratch.replace(cached)
        kept = torch.load(cached, weights_only=True)
        found.append(LabelledImage(kept["image"], kept["shares"].float()))
    return found


@torch.no_grad()
def carry_labels(
    image: sitk.Image, maps: Sequence[LabelMap], update: Callable[[float], None] = lambda fraction: None
) -> LabelledImage:
    """The shares of the structures in an image, as the label maps have them after registration.

    :param image: a T1 brain without skull.
    """
    prepared = prepare_for_network(image, "the image")
    grid = image_from_array(np.zeros(prepared.grid.shape, np.uint8), prepared.grid)
    coarse = downsample(prepared.tensor, FACTOR)
    votes = torch.zeros(1, CHANNELS, *coarse.shape[2:])
    for number, heads in enumerate(maps):
        update(number / len(maps))
        brain, labels = rendered_brain(heads)
        transform = register(image, brain, "fast").transform
        warped = torch.from_numpy(sitk.GetArrayFromImage(sitk.Resample(brain, grid, transform)))[None, None]
        carried = sitk.GetArrayFromImage(sitk.Resample(labels, grid, transform, sitk.sitkNearestNeighbor))
        weight = local_correlation(downsample(warped, FACTOR), coarse) ** VOTE_POWER + LEAST_VOTE
        for channel in np.unique(carried).tolist():
            there = torch.from_numpy((carried == channel).astype(np.float32))[None, None]
            votes[:, channel : channel + 1] += weight * downsample(there, FACTOR)
    return LabelledImage(coarse, votes / votes.sum(dim=1, keepdim=True))


def rendered_brain(heads: LabelMap) -> tuple[sitk.Image, sitk.Image]:
    """A label map as a T1 image of the brain without the rest of the head, and its channels, both at 1 mm."""
    table, kinds = classes(), heads.classes.cpu().numpy()
    brightness = typical_contrast("t1").brightness.numpy().copy()
    brightness[[LOOKS[name].group in ("outside", "background") for name in table.names]] = 0.0
    grid = Grid.upright(kinds.shape, SPACING)
    image = image_from_array(brightness[kinds].astype(np.float32), grid)
    return sitk.SmoothingRecursiveGaussian(image, BLUR), image_from_array(table.channel[kinds], grid)
