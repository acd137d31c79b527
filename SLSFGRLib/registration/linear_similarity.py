"""Similarity of scattered or blocked samples of two images in some poses, with what a Gauss-Newton step needs.

Both measures return, for the intensities of the moving image at fixed samples, a value to maximise, its gradient and a
positive curvature for each sample. The curvature is that of a Gaussian model of the residuals: of the moving
intensity given the fixed one's bin (mutual information), or given a line in each block (local correlation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

BINS = 32
# Smallest standard deviation of the moving intensities in a bin of the fixed ones, as a fraction of the range.
MIN_SPREAD = 0.02
# Variance of faint noise in both images, as in SLSFGRLib.losses.lncc, and the fraction of variance that no block
# explains. Chosen: noise of 3 % of the range; blocks that correlate by 0.97 count as perfect.
NOISE_VARIANCE, UNEXPLAINED = 1e-3, 0.05
# Weight of the mutual information beside that of the blocks. Between contrasts of real heads, blocks alone follow
# distortions and fat shifts of single places; mutual information alone is half as exact.
HISTOGRAM_WEIGHT = 0.3
# Of a block's samples, so many must be inside the moving image.
MIN_INSIDE = 0.7


@dataclass(frozen=True)
class Linearisation:
    """A similarity around each of B poses.

    :param value: (B,), to maximise.
    :param gradient: (B, P), with respect to the parameters.
    :param curvature: (B, P, P), positive.
    """

    value: torch.Tensor
    gradient: torch.Tensor
    curvature: torch.Tensor

    def plus(self, other: Linearisation, weight: float) -> Linearisation:
        """Return the sum of this similarity and a weight times another."""
        return Linearisation(
            self.value + weight * other.value,
            self.gradient + weight * other.gradient,
            self.curvature + weight * other.curvature,
        )


class Similarity(Protocol):
    """A similarity of the fixed samples that it was made with."""

    def __call__(self, values: torch.Tensor, jacobian: torch.Tensor, inside: torch.Tensor) -> Linearisation:
        """Compare.

        :param values: (B, N) moving intensities from 0 to 1 in B poses.
        :param jacobian: (B, N, P), their derivatives with respect to the parameters.
        :param inside: (B, N), whether the sample is inside the moving image.
        """


class MutualInformation:
    """Mutual information of scattered samples, with cubic Parzen windows (Mattes et al. 2003).

    :param fixed: (N,) intensities from 0 to 1.
    """

    def __init__(self, fixed: torch.Tensor) -> None:
        self.bins = (fixed * BINS).long().clamp(0, BINS - 1)

    def __call__(self, values: torch.Tensor, jacobian: torch.Tensor, inside: torch.Tensor) -> Linearisation:
        """Return mutual information in nats over the samples inside; see :class:`Similarity`."""
        bins, poses, weights = self.bins, len(values), inside.to(values.dtype)
        count = weights.sum(1).clamp(min=1.0)[:, None]
        # Three more bins, into which the windows of the outermost values reach.
        width = BINS + 3
        place = values * (BINS - 1) + 1.0
        first = place.floor().clamp(1, BINS)
        window, slope = _cubic(place - first)
        tables = torch.arange(poses, device=values.device)[:, None] * (BINS * width)
        nearest = torch.arange(-1, 3, device=values.device)[:, None, None]
        cells = (tables + bins * width + first.long() + nearest).flatten()
        joint = torch.bincount(cells, (window * weights).flatten(), minlength=poses * BINS * width)
        joint = joint.view(poses, BINS, width) / count[..., None]
        rows, sums = joint.sum(2, keepdim=True), joint.sum(1, keepdim=True)
        ratio = (joint / (rows * sums).clamp(min=1e-12)).clamp(min=1e-6).log()
        slopes = (ratio.flatten().index_select(0, cells).view_as(slope) * slope).sum(0) * weights * (BINS - 1) / count
        centres = (torch.arange(width, device=values.device) - 1.0) / (BINS - 1)
        given = rows[..., 0].clamp(min=1e-12)
        mean = (joint * centres).sum(2) / given
        spread = (joint * (centres - mean[..., None]) ** 2).sum(2) / given + MIN_SPREAD**2
        weighted = jacobian * (weights / (count * spread[:, bins]))[..., None]
        return Linearisation(
            (joint * ratio).sum((1, 2)).double(),
            (slopes[:, None] @ jacobian)[:, 0].double(),
            (weighted.mT @ jacobian).double(),
        )


def _cubic(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cubic B-spline's weights of the four nearest bins, and their derivatives, (4, B, N) each.

    :param t: (B, N), fractions of a bin.
    """
    rest = 1.0 - t
    weights = [rest**3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (3 * rest**3 - 6 * rest**2 + 4) / 6, t**3 / 6]
    slopes = [-(rest**2) / 2, (3 * t**2 - 4 * t) / 2, -(3 * rest**2 - 4 * rest) / 2, t**2 / 2]
    return torch.stack(weights), torch.stack(slopes)


class BlockCorrelation:
    """The local correlation of blocks of samples, as the information that one block gives about the other.

    It is ``-log(1 - r^2) / 2``, the mutual information of Gaussian variables with correlation ``r``: blocks that match
    well count more than those that show something in one image only.

    :param fixed: (blocks, samples) intensities from 0 to 1.
    """

    def __init__(self, fixed: torch.Tensor) -> None:
        self.fixed = fixed

    def __call__(self, values: torch.Tensor, jacobian: torch.Tensor, inside: torch.Tensor) -> Linearisation:
        """Return the mean information of the blocks inside; see :class:`Similarity`."""
        poses = [self._in_one_pose(*samples) for samples in zip(values, jacobian, inside, strict=True)]
        return Linearisation(*(torch.stack(parts) for parts in zip(*poses, strict=True)))

    def _in_one_pose(
        self, values: torch.Tensor, jacobian: torch.Tensor, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return value, gradient and curvature."""
        fixed, count = self.fixed, self.fixed.shape[1]
        moving, weights = values.view_as(fixed), inside.view_as(fixed).float()
        usable = weights.mean(1) > MIN_INSIDE
        fixed, moving, weights = fixed[usable], moving[usable], weights[usable]
        jacobian = jacobian.view(-1, count, jacobian.shape[1])[usable]
        total = weights.sum(1, keepdim=True)
        f = (fixed - (weights * fixed).sum(1, keepdim=True) / total) * weights
        m = (moving - (weights * moving).sum(1, keepdim=True) / total) * weights
        j = (jacobian - (weights[..., None] * jacobian).sum(1, keepdim=True) / total[..., None]) * weights[..., None]
        noise = NOISE_VARIANCE * total[:, 0]
        ff, mm, fm = (f * f).sum(1) + noise, (m * m).sum(1) + noise, (f * m).sum(1)
        explained = fm**2 / (ff * mm)
        rest = 1.0 - explained + UNEXPLAINED
        # d(r^2) / dm = 2 fm / (ff mm) f - 2 r^2 / mm m
        slope = ((fm / (ff * mm))[:, None] * f - (explained / mm)[:, None] * m) / rest[:, None]
        number = max(len(fixed), 1)
        gradient = torch.einsum("bs,bsp->p", slope, j) / number
        along = torch.einsum("bs,bsp->bp", f, j)
        scale = explained / mm / rest
        flat = (j * scale.sqrt()[:, None, None]).flatten(0, 1)
        curvature = flat.T @ flat - (along * (scale / ff)[:, None]).T @ along
        value = -0.5 * rest.log().sum() / number
        return value.double(), gradient.double(), (curvature / number).double()


class BlocksAndHistogram:
    """The local correlation of blocks, and a weight times the mutual information of all their samples.

    :param fixed: (blocks, samples) intensities from 0 to 1.
    """

    def __init__(self, fixed: torch.Tensor) -> None:
        self.blocks, self.histogram = BlockCorrelation(fixed), MutualInformation(fixed.flatten())

    def __call__(self, values: torch.Tensor, jacobian: torch.Tensor, inside: torch.Tensor) -> Linearisation:
        """Return the weighted sum of both; see :class:`Similarity`."""
        arguments = values, jacobian, inside
        return self.blocks(*arguments).plus(self.histogram(*arguments), HISTOGRAM_WEIGHT)
