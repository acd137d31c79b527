"""Normalised mutual information of whole images (Studholme et al. 1999), with soft histograms."""

from __future__ import annotations

import torch


def soft_bins(values: torch.Tensor, bins: int) -> torch.Tensor:
    """Distribute each value over its two nearest bins: (..., N) in [0, 1] to (..., N, bins)."""
    position = values.clamp(0, 1)[..., None] * (bins - 1)
    centres = torch.arange(bins, dtype=values.dtype, device=values.device)
    return (1.0 - (position - centres).abs()).clamp(min=0)


def normalised_mutual_information(first: torch.Tensor, second: torch.Tensor, bins: int = 24) -> torch.Tensor:
    """Return ``(H(first) + H(second)) / H(first, second)``: 1 for independent values, 2 for a one-to-one relation.

    :param first: (B, N), or (B, N, bins) as :func:`soft_bins` returns.
    :param second: likewise.
    :returns: (B,).
    """
    first = first if first.dim() == 3 else soft_bins(first, bins)
    second = second if second.dim() == 3 else soft_bins(second, bins)
    joint = first.transpose(1, 2) @ second
    joint = joint / joint.sum(dim=(1, 2), keepdim=True)
    # For two images without any contrast the result is 1, not 0 / 0.
    flat = 1e-6
    return (_entropy(joint.sum(2)) + _entropy(joint.sum(1)) + flat) / (_entropy(joint.flatten(1)) + flat)


def _entropy(probability: torch.Tensor) -> torch.Tensor:
    return -(probability * (probability + 1e-10).log()).sum(-1)


class MutualInformation:
    """The dissimilarity ``2 - NMI``: 1 for unrelated images, near 0 for a one-to-one relation of intensities.

    It does not quite reach 0, since values between two bins are counted in both.

    :param bins: of each image's histogram.
    :param samples: number of voxels that are drawn from larger images, with a fixed seed, to limit time and memory.
    """

    def __init__(self, bins: int = 24, samples: int = 200_000) -> None:
        self.bins = bins
        self.samples = samples

    def __call__(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return the mean over the batch for (B, 1, D, H, W) images."""
        warped, fixed = warped.float().flatten(1), fixed.float().flatten(1)
        if warped.shape[1] > self.samples:
            generator = torch.Generator().manual_seed(0)
            chosen = torch.randint(warped.shape[1], (self.samples,), generator=generator).to(warped.device)
            warped, fixed = warped[:, chosen], fixed[:, chosen]
        return (2.0 - normalised_mutual_information(warped, fixed, self.bins)).mean()
