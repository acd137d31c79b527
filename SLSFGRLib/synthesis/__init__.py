"""Training images made from label maps: any contrast, any resolution, and labels that are exact."""

from .label_maps import LabelMap, in_one_frame, load_label_maps
from .samples import CHANNELS, Pair, Sample, draw_group, draw_pair, draw_sample, fractions
from .settings import Synthesis

__all__ = [
    "CHANNELS",
    "LabelMap",
    "Pair",
    "Sample",
    "Synthesis",
    "draw_group",
    "draw_pair",
    "draw_sample",
    "fractions",
    "in_one_frame",
    "load_label_maps",
]
