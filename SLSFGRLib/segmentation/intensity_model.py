"""How bright each structure is in the very image that is segmented, learned from the image itself.

A mixture of Gaussians, one for each structure and its mirror image and one for all fluid, whose prior in each voxel
is what the network sees there (Van Leemput et al. 1999, with the network in the atlas's place). It needs no labels
and fits any contrast. It moves borders to where the image has them, finer than the network's voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch.nn import functional

from ..io.label_table import read_label_table
from ..synthesis.tissue_contrasts import INTENSITY_PROFILES, classes

ITERATIONS = 4
# Voxels at a border, in which two structures mix, say little about either: surer ones count for more.
SURENESS_POWER = 2.0
# The image's brightness goes from 0 to 1; less spread than this is chance.
SMALLEST_DEVIATION = 0.03
# In standard deviations: a vessel or a lesion looks like no structure, and must not be given to the next best.
FARTHEST = 3.0
# Of voxels in which the network sees nothing but background, there are too many.
SURE_BACKGROUND = 0.98
FEW_VOXELS = 1e-3
SMALLEST_SHARE = 1e-30
# What a tissue looks like.
TYPICAL = {
    "fluid": "cerebrospinal fluid",
    "grey matter": "cerebral cortex",
    "white matter": "cerebral white matter",
}
# Between these, brightness decides in full.
TOLD_BY_BRIGHTNESS = ("cerebral white matter", "cerebral cortex", "cerebellar white matter", "cerebellar cortex")
# What has fibres running through it, or ends in a mixture, differs little from white matter: there the network, which
# sees the surroundings, knows more. Its own brightness counts by this share, that of white matter by the rest.
OWN_SHARE = 0.7
VENTRICLES = ("lateral ventricle", "third ventricle", "fourth ventricle")
BESIDE_VENTRICLES = ("cerebral white matter", "cerebral cortex", "thalamus", "caudate", "hippocampus")
# Of what is in TYPICAL, in prepared T1 images (the mean of four brains of OASIS-1).
IN_T1 = (0.26, 0.52, 0.86)
# Tissues whose brightness differs by less cannot be told apart by it.
LEAST_CONTRAST = 0.05


@dataclass(frozen=True)
class StructureBrightness:
    """A Gaussian for the brightness of every channel of the label table.

    :param mean: (K,).
    :param variance: (K,).
    """

    mean: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def fitted(cls, shares: torch.Tensor, image: torch.Tensor) -> StructureBrightness:
        """Fit to an image by expectation maximisation.

        :param shares: (1, K, D, H, W), of the channels of the label table in each voxel.
        :param image: (1, 1, D, H, W), from 0 to 1, on the same grid.
        """
        counted = torch.nonzero(shares[0, 0].flatten() < SURE_BACKGROUND).flatten()
        kinds, values = torch.as_tensor(_kinds(), device=image.device), image.flatten()[counted]
        # With the voxels along the last axis: a softmax along a short one takes ten times as long.
        expected = functional.one_hot(kinds).float().t() @ shares[0].movedim(0, -1).flatten(0, 2)[counted].t()
        prior = expected.clamp(min=SMALLEST_SHARE).log()
        found = cls._of(expected, values)
        for _ in range(ITERATIONS - 1):
            found = cls._of((prior + found.log_likelihood(slice(None), values)).softmax(0), values)
        return cls(found.mean[kinds], found.variance[kinds])

    @classmethod
    def _of(cls, shares: torch.Tensor, values: torch.Tensor) -> StructureBrightness:
        """From (K, N) shares in voxels with (N,) values."""
        weights = shares**SURENESS_POWER
        # Sums, not matrix products: the latter add up rounding errors, which the spread cannot bear.
        count = weights.sum(dim=1) + FEW_VOXELS
        mean = (weights * values).sum(dim=1) / count
        spread = (weights * values.square()).sum(dim=1) / count - mean.square()
        return cls(mean, spread.clamp(min=SMALLEST_DEVIATION**2))

    def log_likelihood(self, channel: int | slice, image: torch.Tensor) -> torch.Tensor:
        """Of a channel, given the brightness of voxels, up to a constant that all channels share.

        :param channel: of K channels, the result for (N,) voxels is (K, N).
        """
        return log_likelihood(image, self.mean[channel, None], self.variance[channel, None])

    def _likelihood_of(self, look: str, image: torch.Tensor) -> torch.Tensor:
        """Of what a channel looks like, a key of ``INTENSITY_PROFILES``, in place of its number."""
        return self.log_likelihood(_looks().index(look), image)

    def evidence(self, channel: int, image: torch.Tensor) -> torch.Tensor:
        """What the brightness says for a channel, to be added to the network's logits; up to a common constant.

        :param image: (N, ...), the brightness of voxels.
        """
        own, name = self.log_likelihood(channel, image), _looks()[channel]
        if name in TOLD_BY_BRIGHTNESS:
            return own
        common = self._likelihood_of("cerebral white matter", image)
        if name in VENTRICLES:
            # Fluid against the tissue about it, whichever it is, is told in full by the brightness.
            beside = [self._likelihood_of(tissue, image) for tissue in BESIDE_VENTRICLES]
            common = common + own - torch.stack(beside).amax(dim=0)
        return torch.lerp(common, own, OWN_SHARE)

    @property
    def calls_for_t1(self) -> bool:
        """Whether fluid, grey and white matter are there and differ, but are not in the order of a T1 image."""
        typical, _ = self.typical()
        # What is not there has a brightness of 0, that of the background.
        differ = torch.cat([typical.new_zeros(1), typical.sort().values]).diff() > LEAST_CONTRAST
        return bool(differ.all()) and not bool((typical.diff() > 0).all())

    def as_t1(self, image: torch.Tensor) -> torch.Tensor:
        """The image with the brightness that its fluid, grey and white matter have in T1 images.

        What is between two of them in brightness stays so, in proportion.

        :param image: of any shape, from 0 to 1.
        """
        known, order = self.typical()[0].sort()
        known = torch.cat([known.new_zeros(1), known])
        wanted = torch.cat([known.new_zeros(1), known.new_tensor(IN_T1)[order]])
        above = torch.searchsorted(known, image).clamp(1, len(known) - 1)
        share = ((image - known[above - 1]) / (known[above] - known[above - 1])).clamp(0.0, 1.0)
        return torch.lerp(wanted[above - 1], wanted[above], share)

    def typical(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The means and the variances of what is in :data:`TYPICAL`, (3,) each."""
        channels = [_looks().index(name) for name in TYPICAL.values()]
        return self.mean[channels], self.variance[channels]


def log_likelihood(image: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Of a Gaussian, given the brightness of voxels, up to a common constant; no voxel is farther than FARTHEST."""
    distance = (image - mean).square() / variance
    return -0.5 * (distance.clamp(max=FARTHEST**2) + variance.log())


@cache
def deep_channels() -> list[int]:
    """The channels of the label table that are neither cortex nor white matter nor fluid, but within the brain."""
    solid = (number for number, name in enumerate(_looks()) if INTENSITY_PROFILES[name].group in ("grey", "white"))
    return [number for number in solid if not _looks()[number].endswith(("cortex", "white matter"))]


def _looks() -> tuple[str, ...]:
    """What each channel of the label table looks like, a key of ``INTENSITY_PROFILES``."""
    return classes().names[: len(read_label_table()) + 1]


@cache
def _kinds() -> list[int]:
    """For each channel of the label table the number of what it is made of."""
    tissues = ["fluid" if INTENSITY_PROFILES[name].group == "fluid" else name for name in _looks()]
    return [list(dict.fromkeys(tissues)).index(tissue) for tissue in tissues]
