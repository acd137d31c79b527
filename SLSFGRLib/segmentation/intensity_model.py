"""A Gaussian intensity model of the structures, fitted to the very image that is segmented.

A mixture of Gaussians, one for each structure and its mirror image and one for all CSF. Its prior in each voxel is
the network's posterior probability (Van Leemput et al. 1999, with the network in the place of the atlas). It needs no
labels and fits any contrast. It moves borders to where the image has them, finer than the network's voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch.nn import functional

from ..io.label_table import read_label_table

ITERATIONS = 4
# Voxels are weighted by this power of their posterior: partial-volume voxels say little about either structure.
WEIGHT_POWER = 2.0
# Lower bound of a standard deviation, for intensities from 0 to 1; chosen, near the noise of a good T1.
MIN_DEVIATION = 0.03
# Clips the Mahalanobis distance, so that outliers such as vessels and lesions favour no structure.
MAX_MAHALANOBIS = 3.0
# Voxels that the network gives this posterior of background are left out: there are too many of them.
SURE_BACKGROUND = 0.98
PRIOR_COUNT = 1e-3
MIN_PRIOR = 1e-30
# The structures that represent CSF, GM and WM.
TYPICAL_STRUCTURES = ("cerebrospinal fluid", "cerebral cortex", "cerebral white matter")
# Between these the intensity alone decides.
FULL_WEIGHT_STRUCTURES = (
    "cerebral white matter",
    "cerebral cortex",
    "cerebellar white matter",
    "cerebellar cortex",
)
# For all others the log-likelihood is blended with that of white matter: their contrast to it is low, and the network,
# which uses the surroundings, is more reliable (docs/develop/experiments.md).
LIKELIHOOD_WEIGHT = 0.7
# In contrasts other than T1 all likelihoods count so much: there intensities vary more within a structure, relative to
# the differences of structures. Chosen on ten real images and four brains (docs/develop/experiments.md).
OTHER_CONTRASTS_WEIGHT = 0.6
VENTRICLES = ("lateral ventricle", "third ventricle", "fourth ventricle")
VENTRICLE_NEIGHBOURS = ("cerebral white matter", "cerebral cortex", "thalamus", "caudate", "hippocampus")
# Mean intensities of CSF, GM and WM in prepared T1 images: the mean of four brains of OASIS-1.
T1_INTENSITIES = (0.26, 0.52, 0.86)
# Tissues whose mean intensities differ by less than this cannot be told apart.
MIN_CONTRAST = 0.01
# Contrast of WM to GM from which an image is taken for T1: in FLAIR images that were taken for T1 it was up to 0.1.
MIN_T1_CONTRAST = 0.15


@dataclass(frozen=True)
class Mixture:
    """What the network says of the components of the mixture: the structures, each with its mirror image, and all CSF.

    :param used: (N,), the numbers of the voxels that take part; sure background does not.
    :param expected: (C, N), the network's posterior of each component in them; the first is background.
    """

    used: torch.Tensor
    expected: torch.Tensor

    @classmethod
    def of(cls, posteriors: torch.Tensor) -> Mixture:
        """Return the mixture of a segmentation.

        :param posteriors: (1, K, D, H, W), of the channels of the label table.
        """
        used = torch.nonzero(posteriors[0, 0].flatten() < SURE_BACKGROUND).flatten()
        components = torch.tensor(_mixture_components(), device=posteriors.device)
        # Voxels along the last axis: a softmax along a short axis takes ten times as long.
        rows = posteriors[0].movedim(0, -1).flatten(0, 2)[used]
        return cls(used, functional.one_hot(components).float().t() @ rows.t())

    @cached_property
    def _prior(self) -> torch.Tensor:
        return self.expected.clamp(min=MIN_PRIOR).log()

    def values(self, image: torch.Tensor) -> torch.Tensor:
        """Return the intensities of an image in the voxels that take part, (N,)."""
        return image.flatten()[self.used]

    def posteriors(self, model: IntensityModel, values: torch.Tensor) -> torch.Tensor:
        """Return the posterior of each component, (C, N), given the intensities, too.

        :param model: of the components.
        """
        return (self._prior + model.log_likelihood(slice(None), values)).softmax(0)


@dataclass(frozen=True)
class IntensityModel:
    """A Gaussian for the intensity of every channel of the label table.

    :param mean: (K,).
    :param variance: (K,).
    """

    mean: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def fit(cls, posteriors: torch.Tensor, image: torch.Tensor) -> IntensityModel:
        """Fit the model to an image by expectation maximisation.

        :param posteriors: (1, K, D, H, W), of the channels of the label table.
        :param image: (1, 1, D, H, W), from 0 to 1, on the same grid.
        """
        mixture = Mixture.of(posteriors)
        values = mixture.values(image)
        model = cls.weighted(mixture.expected, values)
        for _ in range(ITERATIONS - 1):
            model = cls.weighted(mixture.posteriors(model, values), values)
        return model.of_channels()

    def of_channels(self) -> IntensityModel:
        """Return the Gaussian of each channel of the label table, from those of the mixture's components."""
        components = torch.tensor(_mixture_components(), device=self.mean.device)
        return IntensityModel(self.mean[components], self.variance[components])

    @classmethod
    def weighted(cls, posteriors: torch.Tensor, values: torch.Tensor) -> IntensityModel:
        """Estimate the Gaussians from (K, N) posteriors of voxels with (N,) intensities."""
        weights = posteriors**WEIGHT_POWER
        # Sums, not matrix products: the rounding errors of the latter are too large for a variance.
        count = weights.sum(dim=1) + PRIOR_COUNT
        mean = (weights * values).sum(dim=1) / count
        variance = (weights * values.square()).sum(dim=1) / count - mean.square()
        return cls(mean, variance.clamp(min=MIN_DEVIATION**2))

    def log_likelihood(self, channel: int | slice, values: torch.Tensor) -> torch.Tensor:
        """Return the log-likelihood of a channel for (N,) intensities, up to a constant that all channels share.

        :param channel: for K channels the result is (K, N).
        """
        return log_likelihood(values, self.mean[channel, None], self.variance[channel, None])

    def log_likelihood_ratio(self, channel: int, values: torch.Tensor) -> torch.Tensor:
        """Return what the intensity adds to the network's logit of a channel, up to a common constant.

        :param values: (N, ...) intensities of voxels.
        """
        return self._weight * self._contrast_to_white_matter(channel, values)

    def _contrast_to_white_matter(self, channel: int, values: torch.Tensor) -> torch.Tensor:
        """Return the log-likelihood of a channel, blended with that of white matter where the network knows better."""
        own, name = self.log_likelihood(channel, values), channel_names()[channel]
        if name in FULL_WEIGHT_STRUCTURES:
            return own
        reference = self._log_likelihood_of("cerebral white matter", values)
        if name in VENTRICLES:
            # CSF against the tissue around it, whichever it is, gets the full weight.
            neighbours = [self._log_likelihood_of(tissue, values) for tissue in VENTRICLE_NEIGHBOURS]
            reference = reference + own - torch.stack(neighbours).amax(dim=0)
        return torch.lerp(reference, own, LIKELIHOOD_WEIGHT)

    @cached_property
    def _weight(self) -> float:
        return 1.0 if self.is_t1_like else OTHER_CONTRASTS_WEIGHT

    def _log_likelihood_of(self, name: str, values: torch.Tensor) -> torch.Tensor:
        return self.log_likelihood(channel_names().index(name), values)

    @property
    def is_t1_like(self) -> bool:
        """Whether CSF, GM and WM are as different, and in the order, as in a T1 image."""
        csf, grey, white = self.tissues()[0].tolist()
        return csf < grey and white - grey > MIN_T1_CONTRAST

    @property
    def tissue_order(self) -> tuple[int, ...]:
        """CSF (0), GM (1) and WM (2), the darkest first."""
        return tuple(self.tissues()[0].argsort().tolist())

    @property
    def has_t1_order(self) -> bool:
        """Whether CSF is the darkest and WM the brightest, as in T1, however small the differences."""
        return self.tissue_order == (0, 1, 2)

    @property
    def is_grey_between(self) -> bool:
        """Whether GM lies between CSF and WM, as in T1 and T2; in FLAIR and PD it is the brightest."""
        return self.tissue_order[1] == 1

    @property
    def can_map_to_t1(self) -> bool:
        """Whether CSF, GM and WM are present and differ."""
        # An absent tissue has mean 0, as the background has.
        mean, _ = self.tissues()
        return bool((torch.cat([mean.new_zeros(1), mean.sort().values]).diff() > MIN_CONTRAST).all())

    def map_to_t1(self, image: torch.Tensor) -> torch.Tensor:
        """Map an image of any shape, from 0 to 1, to the intensities of a T1 image, piecewise linearly."""
        known, order = self.tissues()[0].sort()
        known = torch.cat([known.new_zeros(1), known])
        target = torch.cat([known.new_zeros(1), known.new_tensor(T1_INTENSITIES)[order]])
        above = torch.searchsorted(known, image).clamp(1, len(known) - 1)
        fraction = ((image - known[above - 1]) / (known[above] - known[above - 1])).clamp(0.0, 1.0)
        return torch.lerp(target[above - 1], target[above], fraction)

    def tissues(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the means and the variances of CSF, GM and WM, (3,) each."""
        channels = [channel_names().index(name) for name in TYPICAL_STRUCTURES]
        return self.mean[channels], self.variance[channels]


def log_likelihood(values: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Return a Gaussian's log-likelihood up to a constant, with the distance clipped at :data:`MAX_MAHALANOBIS`."""
    distance = (values - mean).square() / variance
    return -0.5 * (distance.clamp(max=MAX_MAHALANOBIS**2) + variance.log())


@cache
def deep_channels() -> list[int]:
    """Return the channels of the deep solid structures: neither CSF nor cortex nor white matter by name."""
    return [
        channel
        for channel, structure in enumerate(read_label_table(), start=1)
        if structure.tissue != "CSF" and not structure.unsided_name.endswith(("cortex", "white matter"))
    ]


@cache
def channel_names() -> tuple[str, ...]:
    """Return the name of each channel of the label table without its side; ``background`` first."""
    return ("background", *(structure.unsided_name for structure in read_label_table()))


@cache
def _mixture_components() -> list[int]:
    """Return the number of the Gaussian of each channel: one for both sides, and one for all CSF."""
    names = ["background", *("CSF" if item.tissue == "CSF" else item.unsided_name for item in read_label_table())]
    return [list(dict.fromkeys(names)).index(name) for name in names]
