"""The structures that are segmented: one table for network, files, report and Slicer.

``Resources/labels.csv`` has the columns of Slicer's own colour tables, so that Slicer can load it as it is, and two
more: ``Merged``, the FreeSurfer numbers that count as this structure, and ``Tissue``, its tissue class (CSF, GM or WM).
The order of its rows is the order of the network's channels; channel 0 is the background, row i is channel i + 1.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..errors import InputError
from .resources import resource_path

# Above every number in FreeSurfer's own table.
NUMBERS = 2**14
# So many voxels are counted at a time: few enough for the processor's cache.
AT_ONCE = 2**18
# Slicer's name for the list that our codes are in.
SLICER_TERMINOLOGY = "Segmentation category and type - DICOM master list"


@dataclass(frozen=True)
class Code:
    """An entry of a medical terminology, for example (SCT, 10200004, Liver)."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Terminology:
    """What a structure is called in DICOM and in Slicer's terminologies.

    :param modifier: left or right; None for a structure in the middle.
    """

    category: Code
    type: Code
    modifier: Code | None

    def slicer_entry(self) -> str:
        """As Slicer's segments keep it: category, type and side; no anatomic region."""
        codes = (self.category, self.type, self.modifier)
        triples = [f"{code.scheme}^{code.value}^{code.meaning}" if code else "^^" for code in codes]
        return "~".join([SLICER_TERMINOLOGY, *triples, "", "^^", "^^"])


@dataclass(frozen=True)
class Structure:
    """A structure that is segmented.

    :param number: FreeSurfer's, and the value in label maps.
    :param color: red, green, blue, from 0 to 255.
    :param merged: other FreeSurfer numbers that count as this structure.
    :param tissue: what it mostly consists of: ``CSF``, ``GM`` or ``WM``.
    """

    number: int
    name: str
    color: tuple[int, int, int]
    terminology: Terminology
    merged: tuple[int, ...]
    tissue: str

    @property
    def side(self) -> str:
        """``left``, ``right``, or an empty string for a structure in the middle."""
        return self.terminology.modifier.meaning.lower() if self.terminology.modifier else ""

    @property
    def unsided_name(self) -> str:
        """The name without left or right, in small letters, such as ``lateral ventricle``."""
        return self.name.removeprefix("Left ").removeprefix("Right ").lower()


@cache
def read_label_table() -> tuple[Structure, ...]:
    """Return the structures in the order of the network's channels, without the background."""
    with resource_path("labels.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_structure(row) for row in csv.DictReader(file))


def present_structures(labels: np.ndarray) -> list[Structure]:
    """Return the structures that a label map holds, in the order of their numbers.

    :param labels: unsigned integers, any shape.
    :raises InputError: there is a label that the table does not hold.
    """
    by_number = {structure.number: structure for structure in read_label_table()}
    flat, found = labels.ravel(), set()
    for start in range(0, flat.size, AT_ONCE):  # counting makes integers of 64 bits of them
        found |= set(np.flatnonzero(np.bincount(flat[start : start + AT_ONCE])).tolist())
    numbers = sorted(found - {0})
    unknown = [str(number) for number in numbers if number not in by_number]
    if unknown:
        raise InputError(f"the label table does not hold the labels {', '.join(unknown)}; install SLSFGR again.")
    return [by_number[number] for number in numbers]


def channel_lookup() -> np.ndarray:
    """Return the channel of each FreeSurfer number: uint8, shape (NUMBERS,); 0 for what is not in the table.

    A few numbers, like those of the corpus callosum, stand with the left and with the right structure, since
    they have no side of their own. They get the left one's channel here; see :func:`unsided_numbers`.
    """
    lookup = np.zeros(NUMBERS, dtype=np.uint8)
    for channel, structure in reversed(list(enumerate(read_label_table(), start=1))):
        lookup[[structure.number, *structure.merged]] = channel
    return lookup


def unsided_numbers() -> dict[int, tuple[int, int]]:
    """Return the FreeSurfer numbers without a side, each with the channels of the left and the right structure."""
    owners: dict[int, list[int]] = {}
    for channel, structure in enumerate(read_label_table(), start=1):
        for number in structure.merged:
            owners.setdefault(number, []).append(channel)
    return {number: tuple(channels) for number, channels in owners.items() if len(channels) == 2}


def mirrored_channels() -> np.ndarray:
    """Return the channel of each channel's mirror image, with left and right swapped: int64, (channels,)."""
    table = read_label_table()
    channel_of = {(structure.side, structure.terminology.type): number for number, structure in enumerate(table, 1)}
    other = {"left": "right", "right": "left", "": ""}
    return np.array([0] + [channel_of[other[item.side], item.terminology.type] for item in table])


def _structure(row: dict[str, str]) -> Structure:
    modifier = _code(row, "TypeModifier")
    return Structure(
        number=int(row["LabelValue"]),
        name=row["Name"],
        color=(int(row["Color_R"]), int(row["Color_G"]), int(row["Color_B"])),
        terminology=Terminology(
            _code(row, "Category"), _code(row, "Type"), modifier=modifier if modifier.value else None
        ),
        merged=_numbers(row["Merged"]),
        tissue=row["Tissue"],
    )


def _code(row: dict[str, str], kind: str) -> Code:
    return Code(row[f"{kind}_CodingScheme"], row[f"{kind}_CodeValue"], row[f"{kind}_CodeMeaning"])


def _numbers(text: str) -> tuple[int, ...]:
    """Read ``25 251-255`` as 25, 251, 252, ... 255."""
    numbers: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)
