"""Nodes for tests, and the label table that they use."""

from types import SimpleNamespace

import numpy as np
import SimpleITK as sitk
import slicer

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def add_volume(image, name):
    """A volume node where Slicer would put the image that it reads from a file."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    matrix[:3] *= LPS_TO_RAS[:, None]
    return slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), matrix, name)


def structure(number, name, color, code, meaning, side=None):
    """A row of the label table."""
    code = SimpleNamespace(scheme="SCT", value=code, meaning=meaning)
    category = SimpleNamespace(scheme="SCT", value="123037004", meaning="Anatomical Structure")
    side = side and SimpleNamespace(scheme="SCT", value={"Left": "7771000", "Right": "24028007"}[side], meaning=side)
    terminology = SimpleNamespace(category=category, type=code, modifier=side)
    return SimpleNamespace(number=number, name=name, color=color, terminology=terminology)


CODED_TABLE = (
    structure(2, "Left cerebral white matter", (245, 245, 245), "68523003", "Cerebral White Matter", "Left"),
    structure(16, "Brain stem", (119, 159, 176), "119238007", "Brainstem"),
    structure(17, "Left hippocampus", (220, 216, 20), "5366008", "Hippocampus", "Left"),
    structure(53, "Right hippocampus", (220, 216, 20), "5366008", "Hippocampus", "Right"),
)
