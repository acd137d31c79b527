"""How unlike two images are: each measure is a callable ``(warped, fixed) -> scalar``, at least zero.

Images are (B, 1, D, H, W) with values in [0, 1]; the scalar is a mean over the batch, to be minimised.
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
