"""Losses of images, fields and labels.

The dissimilarity measures of images in :data:`MEASURES` are callables ``(warped, fixed) -> scalar``: images are
(B, 1, D, H, W) with values in [0, 1]; the scalar is at least zero, a mean over the batch, and to be minimised.
"""

from .lncc import LocalCorrelation
from .mind import MindSelfSimilarity
from .mutual_information import MutualInformation
from .ncc import GlobalCorrelation
from .ngf import NormalisedGradients

MEASURES = {
    "lncc": LocalCorrelation,
    "ncc": GlobalCorrelation,
    "mind": MindSelfSimilarity,
    "mi": MutualInformation,
    "ngf": NormalisedGradients,
}

__all__ = [
    "MEASURES",
    "GlobalCorrelation",
    "LocalCorrelation",
    "MindSelfSimilarity",
    "MutualInformation",
    "NormalisedGradients",
]
