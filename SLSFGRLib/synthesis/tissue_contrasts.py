"""The tissue classes of synthetic images, and their intensity in six contrasts.

There are more classes than the network segments. The first are the channels of the label table, in their order; the
others are parts of a structure that have another intensity, and everything in the head that is not segmented.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..io.label_table import channel_lookup, mirrored_channels, read_label_table


@dataclass(frozen=True)
class IntensityProfile:
    """The typical intensity of a tissue in six contrasts; in each of them the brightest tissue has about 1.

    :param group: the kind of tissue: fluid, grey, white, outside or background.
    :param texture: standard deviation of the intensity within it.
    """

    group: str
    t1: float
    t2: float
    pd: float
    flair: float
    ultrasound: float
    ct: float
    texture: float


# Chosen, not measured: from general knowledge of relaxation times of adults at 1.5 to 3 T, and of ultrasound of the
# exposed brain, where sulci with their vessels are bright and ventricles are black; CT is (HU + 1000) / 2000.
INTENSITY_PROFILES = {
    "background": IntensityProfile("background", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "cerebral white matter": IntensityProfile("white", 1.0, 0.38, 0.74, 0.58, 0.55, 0.515, 0.04),
    "cerebral cortex": IntensityProfile("grey", 0.58, 0.56, 0.93, 0.78, 0.4, 0.52, 0.08),
    "lateral ventricle": IntensityProfile("fluid", 0.13, 1.0, 0.9, 0.1, 0.05, 0.505, 0.02),
    "cerebellar white matter": IntensityProfile("white", 0.96, 0.4, 0.76, 0.6, 0.5, 0.515, 0.05),
    "cerebellar cortex": IntensityProfile("grey", 0.6, 0.53, 0.92, 0.75, 0.65, 0.52, 0.13),
    "thalamus": IntensityProfile("grey", 0.82, 0.46, 0.85, 0.68, 0.45, 0.52, 0.07),
    "caudate": IntensityProfile("grey", 0.68, 0.5, 0.92, 0.74, 0.5, 0.52, 0.04),
    "putamen": IntensityProfile("grey", 0.73, 0.47, 0.9, 0.71, 0.42, 0.52, 0.04),
    "pallidum": IntensityProfile("white", 0.91, 0.33, 0.78, 0.57, 0.6, 0.52, 0.05),
    "third ventricle": IntensityProfile("fluid", 0.17, 0.95, 0.9, 0.14, 0.06, 0.505, 0.04),
    "fourth ventricle": IntensityProfile("fluid", 0.17, 0.95, 0.9, 0.14, 0.06, 0.505, 0.04),
    "brain stem": IntensityProfile("white", 0.92, 0.43, 0.79, 0.63, 0.3, 0.515, 0.07),
    "hippocampus": IntensityProfile("grey", 0.63, 0.57, 0.93, 0.8, 0.35, 0.52, 0.07),
    "amygdala": IntensityProfile("grey", 0.62, 0.56, 0.94, 0.81, 0.36, 0.52, 0.04),
    "cerebrospinal fluid": IntensityProfile("fluid", 0.17, 0.92, 0.88, 0.14, 0.75, 0.505, 0.08),
    "accumbens": IntensityProfile("grey", 0.67, 0.53, 0.92, 0.76, 0.42, 0.52, 0.04),
    "ventral diencephalon": IntensityProfile("white", 0.87, 0.41, 0.8, 0.64, 0.35, 0.515, 0.08),
    "choroid plexus": IntensityProfile("grey", 0.42, 0.8, 0.95, 0.6, 1.0, 0.525, 0.1),
    "white matter lesion": IntensityProfile("grey", 0.82, 0.55, 0.92, 0.95, 0.8, 0.512, 0.06),
    "optic chiasm": IntensityProfile("white", 0.85, 0.45, 0.78, 0.62, 0.6, 0.515, 0.03),
    "artery": IntensityProfile("outside", 0.5, 0.12, 0.3, 0.2, 0.9, 0.53, 0.2),
    "eye": IntensityProfile("outside", 0.2, 0.95, 0.85, 0.15, 0.05, 0.507, 0.04),
    "soft tissue": IntensityProfile("outside", 0.75, 0.45, 0.6, 0.55, 0.6, 0.5, 0.3),
    "eye muscle": IntensityProfile("outside", 0.55, 0.3, 0.65, 0.5, 0.4, 0.525, 0.08),
    "mucosa": IntensityProfile("outside", 0.5, 0.65, 0.7, 0.55, 0.5, 0.52, 0.2),
    "skin": IntensityProfile("outside", 0.8, 0.4, 0.6, 0.5, 0.8, 0.51, 0.18),
    "spinal cord": IntensityProfile("outside", 0.86, 0.43, 0.8, 0.65, 0.35, 0.515, 0.05),
    "vein": IntensityProfile("outside", 0.35, 0.25, 0.4, 0.3, 0.2, 0.53, 0.12),
    "cortical bone": IntensityProfile("outside", 0.12, 0.08, 0.12, 0.1, 1.0, 1.0, 0.05),
    "cancellous bone": IntensityProfile("outside", 0.7, 0.4, 0.5, 0.45, 0.7, 0.72, 0.2),
    "optic nerve": IntensityProfile("outside", 0.8, 0.42, 0.75, 0.6, 0.3, 0.515, 0.05),
}

# FreeSurfer's number -> name of its profile: parts of structures, which keep their channel ...
PARTS = {
    31: "choroid plexus",
    63: "choroid plexus",
    25: "white matter lesion",
    57: "white matter lesion",
    85: "optic chiasm",
}
SAME_PART = {136: 31, 137: 31, 163: 63, 164: 63, 78: 25, 79: 57}
# ... and the rest of the head, numbered as in SynthSeg's label maps.
OUTSIDE = {
    502: "artery",
    506: "eye",
    507: "soft tissue",
    508: "eye muscle",
    509: "mucosa",
    511: "skin",
    512: "spinal cord",
    514: "vein",
    515: "cortical bone",
    516: "cancellous bone",
    530: "optic nerve",
}


@dataclass(frozen=True)
class Classes:
    """The classes of a label map, as arrays with one row for each.

    :param names: of the intensity profiles.
    :param channel: the channel of the label table, uint8.
    :param mirrored_channel: the same after left and right are swapped, uint8.
    :param of_number: the class of each FreeSurfer number, uint8, as :func:`SLSFGRLib.io.label_table.channel_lookup`.
    """

    names: tuple[str, ...]
    channel: np.ndarray
    mirrored_channel: np.ndarray
    of_number: np.ndarray


def channel_count() -> int:
    """Return the number of channels of the label table, the background included."""
    return len(read_label_table()) + 1


@cache
def classes() -> Classes:
    """Return background, the structures of the label table, their parts, and the rest of the head."""
    names = ["background"] + [_name_without_side(structure.name) for structure in read_label_table()]
    of_number = channel_lookup()
    channel = list(range(len(names)))
    for number, name in (PARTS | OUTSIDE).items():
        channel.append(int(of_number[number]))
        of_number[number] = len(names)
        names.append(name)
    for number, part in SAME_PART.items():
        of_number[number] = of_number[part]
    channels = np.array(channel, dtype=np.uint8)
    return Classes(tuple(names), channels, mirrored_channels()[channels].astype(np.uint8), of_number)


def _name_without_side(name: str) -> str:
    return name.removeprefix("Left ").removeprefix("Right ").lower()
