"""The loss of a registration: dissimilarity and regularisation of the fields at every resolution (Li & Fan 2018)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..errors import InputError
from ..spatial.fields import resize_field, warp
from . import MEASURES
from .regularisation import PENALTIES

RESOLUTIONS = 3


@dataclass(frozen=True)
class MultiResolutionObjective:
    """A weighted sum over the fields of ``similarity(warped, fixed) + regularisation_weight * penalty(field)``.

    Each field is resampled to the size of the images first, so that all losses are comparable.

    :param similarity: ``(warped, fixed) -> scalar``, to be minimised.
    :param penalty: ``field -> scalar``.
    :param level_weights: of the fields from coarse to fine. Two re-implementations of the paper use (1, 0.6, 0.3) and
        disagree on the order; here the finest field, which is the result, has the largest weight.
    """

    similarity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    penalty: Callable[[torch.Tensor], torch.Tensor]
    regularisation_weight: float
    level_weights: tuple[float, ...] = (0.3, 0.6, 1.0)

    @classmethod
    def from_names(
        cls, similarity: str, penalty: str, regularisation_weight: float, level_weights: tuple[float, ...]
    ) -> MultiResolutionObjective:
        """Return the objective with the measure and penalty of these names.

        :raises InputError: there is no such measure or penalty, or not one weight for each resolution.
        """
        if len(level_weights) != RESOLUTIONS:
            raise InputError(f"level_weights: has {len(level_weights)} numbers; {RESOLUTIONS} are needed.")
        for kind, name, known in (("similarity", similarity, MEASURES), ("penalty", penalty, PENALTIES)):
            if name not in known:
                raise InputError(f"{kind} {name!r}: there is none of this name; use one of {', '.join(known)}.")
        return cls(MEASURES[similarity](), PENALTIES[penalty], regularisation_weight, level_weights)

    def __call__(
        self, fields: list[torch.Tensor], moving: torch.Tensor, fixed: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the terms and their weighted sum.

        :param fields: (B, 3, ...) from coarse to fine, each in its own voxels.
        :param moving: (B, 1, D, H, W) on the fixed image's grid.
        :returns: scalars ``similarity`` and ``penalty`` (both of the finest field) and ``loss``.
        """
        loss = moving.new_zeros(())
        for weight, field in zip(self.level_weights, fields, strict=True):
            full = resize_field(field, fixed.shape[2:])
            similarity = self.similarity(warp(moving, full), fixed)
            penalty = self.penalty(full)
            loss = loss + weight * (similarity + self.regularisation_weight * penalty)
        return {"similarity": similarity, "penalty": penalty, "loss": loss}
