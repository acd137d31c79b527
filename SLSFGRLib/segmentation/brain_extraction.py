"""Find the brain in an image of a head, with or without its skull, of any contrast, cut or turned any way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import SimpleITK as sitk
import torch
from torch.nn import functional

from ..networks import BrainExtractionNetwork
from ..networks.brain_extraction import CLASSES
from ..preprocessing import BrainMask, PreparedImage
from ..preprocessing.brain_mask import fading
from ..spatial.arrays import array_from_tensor, tensor_from_array
from ..spatial.components import largest_component
from ..spatial.grid import Grid

# Of the images that the network is given, in mm.
SPACING = 2.0
# The network was trained on images of at most 128 voxels along each axis; these are still one window.
WINDOW, LARGEST_WINDOW = 128, 160
# Less than this in mL is no brain. Chosen: a tenth of a small one, as a few slices show it.
MIN_VOLUME_ML = 50.0
# Nor is it a brain if less than a fraction of its voxels shows more than DARK: the inside of a head in a picture of its
# vessels alone. 24 real MR images, and rendered CT without values below 0, in which a brain is nearly black, show more
# in at least 92 %, a picture of vessels in 6 %.
MIN_SEEN, DARK = 0.5, 0.01
# CSF farther than this from the brain is that of the spinal canal, or a cyst.
CSF_REACH_MM = 6.0
# Further passes of the network see the image without what is farther than 7 mm from what was found: muscles of the neck
# that it took for brain have lost their surroundings there. What is then farther than REACH_MM from the brain is left
# out. A pass that would lose more than the next fraction is wrong; one that loses less than the last was not needed.
FURTHER_PASSES, REACH_MM, MOST_LOST, LEAST_LOST = 2, 3.0, 0.3, 0.01
# Intensity up to which a voxel is air; how many others, as a fraction, a plane of air may have; and how many planes of
# air are kept around the head.
AIR, FEW, ROOM = 0.05, 0.002, 4

Window = tuple[slice, slice, slice]


@torch.no_grad()
def find_brain(image: PreparedImage, network: BrainExtractionNetwork) -> BrainMask | None:
    """Find the brain and the CSF around it; return None if there is none.

    :param image: from :func:`SLSFGRLib.preprocessing.prepare_whole` at :data:`SPACING`, on the network's device.
    """
    brain = BrainMask(_found(image, network), image.grid)
    if brain.millilitres < MIN_VOLUME_ML or not _is_seen(image, brain):
        return None
    if brain.covers(array_from_tensor(image.tensor[0, 0])):
        return replace(brain, has_skull=False)
    for _ in range(FURTHER_PASSES):
        again = BrainMask(_found(_faded(image, brain), network), image.grid)
        if again.millilitres < MIN_VOLUME_ML:
            break
        nearer = BrainMask(brain.inside & (sitk.GetArrayFromImage(again.distance) < REACH_MM), image.grid)
        lost = 1.0 - nearer.millilitres / brain.millilitres
        if lost > MOST_LOST:
            break
        brain = nearer
        if lost < LEAST_LOST:
            break
    return brain


def _is_seen(image: PreparedImage, brain: BrainMask) -> bool:
    """Return whether the image shows anything where the brain is."""
    return bool((array_from_tensor(image.tensor[0, 0])[brain.inside] > DARK).mean() > MIN_SEEN)


def _faded(image: PreparedImage, brain: BrainMask) -> PreparedImage:
    """Return an image that fades out around the brain."""
    factor = fading(sitk.GetArrayFromImage(brain.distance))
    return PreparedImage(image.tensor * tensor_from_array(factor, device=image.tensor.device), image.grid)


def _found(image: PreparedImage, network: BrainExtractionNetwork) -> np.ndarray:
    """Return the brain and the CSF around it as the network finds them, (D, H, W) boolean."""
    content = _content(image.tensor[0, 0])
    inside = np.zeros(image.grid.shape, dtype=bool)
    image = PreparedImage(image.tensor[(..., *content)], image.grid.cropped(*_start_and_shape(content)))
    windows = list(_windows(image.grid.shape))
    found = [(_classes(image, window, network), window) for window in windows]
    if len(windows) > 1:
        classes, window = max(found, key=lambda item: (item[0] == CLASSES.index("brain")).sum())
        if (classes == CLASSES.index("brain")).any():
            window = _centred_window(classes, window, image.grid.shape)
            found = [(_classes(image, window, network), window)]
    classes, window = found[0]
    inside[content][window] = brain_and_csf(classes, image.grid)
    return inside


def brain_and_csf(classes: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the largest connected part of the brain, with the CSF in and around it, (D, H, W) boolean.

    :param classes: (D, H, W), indices of :data:`CLASSES`.
    :param grid: for the spacing.
    """
    brain = largest_component(classes == CLASSES.index("brain"))
    near = sitk.GetArrayFromImage(BrainMask(brain, grid).distance) < CSF_REACH_MM
    whole = brain | (near & (classes == CLASSES.index("csf")))
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(whole.astype(np.uint8)))
    return sitk.GetArrayFromImage(filled).astype(bool)


def _classes(image: PreparedImage, window: Window, network: BrainExtractionNetwork) -> np.ndarray:
    """Return the most probable class of each voxel of a window, from it and its mirror image."""
    block = image.tensor[(..., *window)]
    shape = block.shape[2:]
    missing = [-size % network.size_multiple for size in shape]
    padding = [width for part in reversed(missing) for width in (part // 2, part - part // 2)]
    # Left and right lie along the last axis.
    logits = network(functional.pad(torch.cat([block, block.flip(4)]), padding))
    starts = [part // 2 for part in missing]
    logits = logits[(..., *(slice(start, start + size) for start, size in zip(starts, shape, strict=True)))]
    return array_from_tensor(_most_probable(logits[0] + logits[1].flip(3)))


def _most_probable(logits: torch.Tensor) -> torch.Tensor:
    """Return the argmax along the first axis as uint8; for a few classes this takes a tenth of the time."""
    best, classes = logits[0], torch.zeros_like(logits[0], dtype=torch.uint8)
    for number, other in enumerate(logits[1:], start=1):
        classes.masked_fill_(other > best, number)
        best = torch.maximum(best, other)
    return classes


def _content(image: torch.Tensor) -> Window:
    """Return the box of an image (D, H, W) outside which there is hardly anything but air, with some room."""
    head, ranges = (image > AIR).float(), []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        filled = torch.nonzero(head.mean(dim=others) > FEW).flatten().tolist() or [0, image.shape[axis] - 1]
        ranges.append(slice(max(0, filled[0] - ROOM), min(image.shape[axis], filled[-1] + 1 + ROOM)))
    return tuple(ranges)


def _start_and_shape(window: Window) -> tuple[list[int], list[int]]:
    return [part.start for part in window], [part.stop - part.start for part in window]


def _windows(shape: tuple[int, int, int]) -> Iterator[Window]:
    """Cover an image by windows that overlap by half; one is enough unless the image is larger than a head."""
    starts = [
        [0] if size <= LARGEST_WINDOW else [*range(0, size - WINDOW, WINDOW // 2), size - WINDOW] for size in shape
    ]
    for start in product(*starts):
        yield tuple(
            slice(first, size if size <= LARGEST_WINDOW else first + WINDOW)
            for first, size in zip(start, shape, strict=True)
        )


def _centred_window(classes: np.ndarray, window: Window, shape: tuple[int, int, int]) -> Window:
    """Return the window whose middle is that of the brain, inside the image."""
    middle = np.argwhere(classes == CLASSES.index("brain")).mean(0) + [part.start for part in window]
    return tuple(
        slice(0, size)
        if size <= LARGEST_WINDOW
        else slice(start := int(np.clip(round(centre) - WINDOW // 2, 0, size - WINDOW)), start + WINDOW)
        for centre, size in zip(middle, shape, strict=True)
    )
