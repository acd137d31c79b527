"""One pass of a network over an image: the segmentation of the image and of its mirror image, averaged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from ..io.label_table import mirrored_channels
from ..networks import SLSFGRNetwork
from ..networks.sl_sfgr import Encoding
from ..spatial.arrays import tensor_from_array
from ..spatial.grid import Grid
from .described_brain import DescribedBrain

# Subtracted from a logit to exclude a structure; others differ by less.
IMPOSSIBLE = 50.0

Box = tuple[slice, ...]


@dataclass(frozen=True)
class NetworkPass:
    """One segmentation of an image: logits and their softmax.

    :param shown: the image that the network was shown.
    :param encoding: its features, if they are to be kept.
    """

    logits: torch.Tensor
    posteriors: torch.Tensor
    shown: torch.Tensor
    encoding: Encoding | None

    @classmethod
    def of(
        cls, shown: torch.Tensor, network: SLSFGRNetwork, far: torch.Tensor | None, keep: bool = False
    ) -> NetworkPass:
        """Segment what is shown to the network.

        :param far: (1, 1, d, h, w), boolean, where no structure may be found; None for nowhere.
        :param keep: the features, too.
        """
        # Left and right lie along the last axis.
        both, box = _pad_around(torch.cat([shown, shown.flip(4)]), network.size_multiple)
        encoding = network.encode(both) if keep else None
        logits = _mean_with_mirror_image(encoding.logits if keep else network.segment(both), box)
        logits = logits if far is None else _without_structures(logits, far)
        return cls(logits, _softmax(logits), shown, encoding.features_of(0) if keep else None)

    def averaged_with(self, other: NetworkPass) -> NetworkPass:
        """Return the same with the mean of both passes' logits."""
        logits = (self.logits + other.logits) / 2.0
        return replace(self, logits=logits, posteriors=_softmax(logits))

    def without_structures(self, where: torch.Tensor) -> NetworkPass:
        """Return the same with background alone in some voxels.

        :param where: (1, 1, d, h, w), boolean.
        """
        logits = _without_structures(self.logits, where)
        return replace(self, logits=logits, posteriors=_softmax(logits))

    def described(self, network: SLSFGRNetwork, grid: Grid) -> DescribedBrain:
        """Return what the network registers by.

        :param grid: of the segmentation.
        """
        shown, box = _pad_around(self.shown, network.size_multiple)
        padded = grid.cropped([-part.start for part in box], shown.shape[2:])
        return DescribedBrain(network.adapt(self.encoding), shown, padded, box)


def _without_structures(logits: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Return logits that exclude all structures in some voxels.

    :param where: (1, 1, d, h, w), boolean.
    """
    is_structure = (torch.arange(logits.shape[1], device=logits.device) > 0).view(1, -1, 1, 1, 1)
    return torch.addcmul(logits, where.to(logits.dtype), is_structure.to(logits.dtype), value=-IMPOSSIBLE)


def _mean_with_mirror_image(logits: torch.Tensor, box: Box) -> torch.Tensor:
    """Return the mean of the logits of an image and of its mirror image, (1, 1 + structures, d, h, w).

    :param logits: of both, padded.
    :param box: of the image in its padding.
    """
    # Channels last, as they lie in memory; a product with a permutation is faster than an index along the last axis.
    logits = logits.movedim(1, -1)[(slice(None), *box)]
    sides = tensor_from_array(mirrored_channels(), torch.long, logits.device)
    swap = functional.one_hot(sides).to(logits.dtype)
    return functional.linear(logits[1:].flip(3), swap / 2.0).add_(logits[:1], alpha=0.5).movedim(-1, 1)


def _pad_around(image: torch.Tensor, multiple: int) -> tuple[torch.Tensor, Box]:
    """Continue the edges of an image to sizes that are multiples of a number; return it and the box of the image.

    The image stays in the middle: with all of the padding at the far ends the Dice with manual labels is 0.001 lower.
    """
    missing = [-size % multiple for size in image.shape[2:]]
    box = tuple(slice(part // 2, part // 2 + size) for part, size in zip(missing, image.shape[2:], strict=True))
    widths = [width for part in reversed(missing) for width in (part // 2, part - part // 2)]
    return (functional.pad(image, widths, mode="replicate") if any(widths) else image), box


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    # Along the last axis, as the channels lie in memory, the softmax takes a third of the time.
    return logits.movedim(1, -1).softmax(dim=-1).movedim(-1, 1)
