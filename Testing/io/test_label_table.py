import csv
from collections import Counter

import numpy as np
import pytest

from SLSFGRLib import InputError
from SLSFGRLib.io.label_table import (
    channel_lookup,
    mirrored_channels,
    present_structures,
    read_label_table,
    unsided_numbers,
)
from SLSFGRLib.io.resources import resource_path
from SLSFGRLib.synthesis.tissue_contrasts import INTENSITY_PROFILES

TABLE = read_label_table()
ANATOMY = ("SCT", "123037004", "Anatomical Structure")
SIDES = {"left": ("SCT", "7771000", "Left"), "right": ("SCT", "24028007", "Right")}


def as_tuple(code):
    return code.scheme, code.value, code.meaning


def test_numbers_names_and_codes_are_there_and_unique():
    assert len({item.number for item in TABLE}) == len({item.name for item in TABLE}) == len(TABLE) == 30
    assert 0 not in {item.number for item in TABLE}
    for item in TABLE:
        assert as_tuple(item.terminology.category) == ANATOMY
        assert all(as_tuple(item.terminology.type))
        assert all(0 <= value <= 255 for value in item.color)


def test_an_entry_for_slicer_has_category_type_and_side():
    (hippocampus,) = (item for item in TABLE if item.number == 17)
    (stem,) = (item for item in TABLE if item.number == 16)
    anatomy = "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~"
    assert hippocampus.terminology.slicer_entry() == anatomy + "SCT^5366008^Hippocampus~SCT^7771000^Left~~^^~^^"
    assert stem.terminology.slicer_entry().endswith("~^^~~^^~^^")


def test_sides_agree_in_name_and_code():
    for item in TABLE:
        if item.side:
            assert item.name.lower().startswith(item.side + " ")
            assert as_tuple(item.terminology.modifier) == SIDES[item.side]
        else:
            assert item.terminology.modifier is None
            assert not item.name.lower().startswith(("left", "right"))


def test_tissue_is_the_one_that_synthesised_images_show():
    # The brain stem and the pallidum, for example, are mostly white matter.
    groups = {"CSF": "fluid", "GM": "grey", "WM": "white"}
    assert {item.name: groups[item.tissue] for item in TABLE} == {
        item.name: INTENSITY_PROFILES[item.unsided_name].group for item in TABLE
    }
    assert {item.tissue for item in TABLE} == set(groups)


def test_unsided_name_has_neither_side_nor_capitals():
    names = {item.number: item.unsided_name for item in TABLE}
    assert (names[4], names[43], names[14]) == ("lateral ventricle", "lateral ventricle", "third ventricle")
    assert all(name == name.lower() for name in names.values())


def test_each_side_mirrors_the_other():
    mirrored = mirrored_channels()
    assert np.array_equal(mirrored[mirrored], np.arange(len(TABLE) + 1))
    other = {"left": "right", "right": "left", "": ""}
    for channel, item in enumerate(TABLE, start=1):
        twin = TABLE[mirrored[channel] - 1]
        assert twin.side == other[item.side]
        assert twin.terminology.type == item.terminology.type
        assert twin.color == item.color
    assert mirrored[channel_lookup()[17]] == channel_lookup()[53]


def test_merged_numbers_belong_to_one_structure_or_to_both_sides():
    owners = Counter(number for item in TABLE for number in item.merged)
    twice = {number for number, count in owners.items() if count > 1}
    assert twice == unsided_numbers().keys()
    assert {72, 77, 251, 255} <= twice
    for left, right in unsided_numbers().values():
        assert (TABLE[left - 1].side, TABLE[right - 1].side) == ("left", "right")
        assert mirrored_channels()[left] == right
    assert not owners.keys() & {item.number for item in TABLE}


def test_structures_of_a_label_map_are_found_and_unknown_labels_named():
    labels = np.zeros((4, 5, 6), np.uint16)
    labels[1], labels[2, 3] = 53, 17
    assert [item.name for item in present_structures(labels)] == ["Left hippocampus", "Right hippocampus"]
    assert present_structures(labels * 0) == []
    labels[0, 0, :2] = 9001, 9000
    with pytest.raises(InputError, match="does not hold the labels 9000, 9001; install"):
        present_structures(labels)


def test_lookup_gives_each_number_its_channel():
    lookup = channel_lookup()
    for channel, item in enumerate(TABLE, start=1):
        assert lookup[item.number] == channel
        assert set(lookup[[number for number in item.merged if number not in unsided_numbers()]]) <= {channel}
    names = {number: TABLE[lookup[number] - 1].name for number in (5, 63, 25, 57, 1035, 2001, 12101, 85)}
    assert names == {
        5: "Left lateral ventricle",
        63: "Right lateral ventricle",
        25: "Left cerebral white matter",
        57: "Right cerebral white matter",
        1035: "Left cerebral cortex",
        2001: "Right cerebral cortex",
        12101: "Right cerebral cortex",
        85: "Cerebrospinal fluid",
    }
    assert not lookup[[0, 1, 507, 515]].any()


def test_the_file_has_the_columns_that_slicer_reads():
    with resource_path("labels.csv").open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    needed = ["LabelValue", "Name", "Color_R", "Color_G", "Color_B"]
    for kind in ("Category", "Type", "TypeModifier"):
        needed += [f"{kind}_{part}" for part in ("CodingScheme", "CodeValue", "CodeMeaning")]
    assert columns == [*needed, "Merged", "Tissue"]
