"""Synthetic training images from label maps: any contrast, any resolution, and exact partial-volume labels.

The method is that of SynthSeg: a label map is deformed at random, each structure draws an intensity, and the image is
degraded as a scanner degrades it. B. Billot et al.: A learning strategy for contrast-agnostic MRI segmentation. MIDL
2020; SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining. Medical Image
Analysis 86, 2023. Other than there, labels are read at eight points of each voxel, which gives partial-volume labels;
besides random contrasts there are those of T1, T2, PD, FLAIR and ultrasound; and pairs have a common reference image.
"""

from .label_maps import LabelMap, align_label_maps, load_label_maps
from .samples import Pair, Sample, Synthesiser, partial_volume_labels
from .settings import Synthesis

__all__ = [
    "LabelMap",
    "Pair",
    "Sample",
    "Synthesis",
    "Synthesiser",
    "align_label_maps",
    "load_label_maps",
    "partial_volume_labels",
]
