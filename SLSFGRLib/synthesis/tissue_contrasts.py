"""The kinds of tissue that a synthesised image tells apart: more than the network is asked to segment.

A class map holds the index of one of these in each voxel. The first are the channels of the label table, in
their order; further ones are parts of a structure that look different from the rest of it, and everything in
the head that is not segmented.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..io.label_table import channel_lookup, mirrored_channels, read_label_table


@dataclass(frozen=True)
class Look:
    """Typical brightness of a kind of tissue in five contrasts; in each of them bright tissue has about 1.

    :param group: the coarse kind of tissue: fluid, grey, white or outside.
    :param texture: standard deviation of the brightness within it.
    """

    group: str
    t1: float
    t2: float
    pd: float
    flair: float
    ultrasound: float
    texture: float


# From general knowledge: of relaxation times, at 1.5 to 3 T, in adults; and of what is bright in ultrasound of the open
# brain, where the folds with the vessels in them shine and the ventricles are black.
LOOKS = {
    "background": Look("background", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "cerebral white matter": Look("white", 1.0, 0.38, 0.74, 0.58, 0.55, 0.04),
    "cerebral cortex": Look("grey", 0.58, 0.56, 0.93, 0.78, 0.4, 0.08),
    "lateral ventricle": Look("fluid", 0.13, 1.0, 0.9, 0.1, 0.05, 0.02),
    "cerebellar white matter": Look("white", 0.96, 0.4, 0.76, 0.6, 0.5, 0.05),
    "cerebellar cortex": Look("grey", 0.6, 0.53, 0.92, 0.75, 0.65, 0.13),
    "thalamus": Look("grey", 0.82, 0.46, 0.85, 0.68, 0.45, 0.07),
    "caudate": Look("grey", 0.68, 0.5, 0.92, 0.74, 0.5, 0.04),
    "putamen": Look("grey", 0.73, 0.47, 0.9, 0.71, 0.42, 0.04),
    "pallidum": Look("white", 0.91, 0.33, 0.78, 0.57, 0.6, 0.05),
    "third ventricle": Look("fluid", 0.17, 0.95, 0.9, 0.14, 0.06, 0.04),
    "fourth ventricle": Look("fluid", 0.17, 0.95, 0.9, 0.14, 0.06, 0.04),
    "brain stem": Look("white", 0.92, 0.43, 0.79, 0.63, 0.3, 0.07),
    "hippocampus": Look("grey", 0.63, 0.57, 0.93, 0.8, 0.35, 0.07),
    "amygdala": Look("grey", 0.62, 0.56, 0.94, 0.81, 0.36, 0.04),
    "cerebrospinal fluid": Look("fluid", 0.17, 0.92, 0.88, 0.14, 0.75, 0.08),
    "accumbens": Look("grey", 0.67, 0.53, 0.92, 0.76, 0.42, 0.04),
    "ventral diencephalon": Look("white", 0.87, 0.41, 0.8, 0.64, 0.35, 0.08),
    "choroid plexus": Look("grey", 0.42, 0.8, 0.95, 0.6, 1.0, 0.1),
    "white matter lesion": Look("grey", 0.82, 0.55, 0.92, 0.95, 0.8, 0.06),
    "optic chiasm": Look("white", 0.85, 0.45, 0.78, 0.62, 0.6, 0.03),
    "artery": Look("outside", 0.5, 0.12, 0.3, 0.2, 0.9, 0.2),
    "eye": Look("outside", 0.2, 0.95, 0.85, 0.15, 0.05, 0.04),
    "soft tissue": Look("outside", 0.75, 0.45, 0.6, 0.55, 0.6, 0.3),
    "eye muscle": Look("outside", 0.55, 0.3, 0.65, 0.5, 0.4, 0.08),
    "mucosa": Look("outside", 0.5, 0.65, 0.7, 0.55, 0.5, 0.2),
    "skin": Look("outside", 0.8, 0.4, 0.6, 0.5, 0.8, 0.18),
    "spinal cord": Look("outside", 0.86, 0.43, 0.8, 0.65, 0.35, 0.05),
    "vein": Look("outside", 0.35, 0.25, 0.4, 0.3, 0.2, 0.12),
    "cortical bone": Look("outside", 0.12, 0.08, 0.12, 0.1, 1.0, 0.05),
    "cancellous bone": Look("outside", 0.7, 0.4, 0.5, 0.45, 0.7, 0.2),
    "optic nerve": Look("outside", 0.8, 0.42, 0.75, 0.6, 0.3, 0.05),
}

# FreeSurfer's number of a part -> what it looks like: parts of structures, which keep their channel ...
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
    """The classes of a class map, as arrays with one row for each.

    :param names: what each looks like, a key of ``LOOKS``.
    :param channel: the channel of the label table, uint8.
    :param mirrored_channel: the same after left and right are swapped, uint8.
    :param of_number: the class of each FreeSurfer number, uint8, as :func:`channel_lookup`.
    """

    names: tuple[str, ...]
    channel: np.ndarray
    mirrored_channel: np.ndarray
    of_number: np.ndarray


@cache
def classes() -> Classes:
    """The classes: background, the structures of the label table, their parts, the rest of the head."""
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
