"""Structures that label protocols have in common."""

import numpy as np
import SimpleITK as sitk

from benchmarks.label_protocols import STRUCTURES, manual_structures, merged
from SLSFGRLib.io.label_table import read_label_table


def test_labels_are_merged_to_the_number_of_their_structure():
    labels = sitk.GetImageFromArray(np.array([[[0, 4, 5], [6, 7, 4]]], np.uint16))
    labels.SetOrigin((1.0, 2.0, 3.0))
    found = merged(labels, [(7,), (4, 5)])
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(found), [[[0, 2, 2], [0, 1, 2]]])
    assert found.GetOrigin() == (1.0, 2.0, 3.0)


def test_the_vermis_belongs_to_the_nearer_half_of_the_cerebellum():
    row = np.zeros((3, 3, 12), np.uint8)
    row[1, 1] = [38, 38, 71, 72, 73, 73, 71, 72, 73, 71, 39, 39]
    found = sitk.GetArrayViewFromImage(manual_structures(sitk.GetImageFromArray(row)))[1, 1]
    right, left = (list(STRUCTURES).index(f"{side} cerebellum") + 1 for side in ("right", "left"))
    assert list(found) == [right] * 6 + [left] * 6


def test_numbers_of_the_structures_are_those_of_the_label_table():
    names = {structure.number: structure.name.lower().replace("-", " ") for structure in read_label_table()}
    for structure, (_, ours) in STRUCTURES.items():
        side = structure.partition(" ")[0]
        assert all(side not in ("left", "right") or names[number].startswith(side) for number in ours)
    used = [number for pair in STRUCTURES.values() for number in pair[0]]
    assert len(used) == len(set(used))
