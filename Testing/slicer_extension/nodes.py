"""Nodes for tests."""

from unittest.mock import patch

import numpy as np
import SimpleITK as sitk
import slicer

import SLSFGRLib

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def add_volume(image, name):
    """A volume node where Slicer would put the image that it reads from a file."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    matrix[:3] *= LPS_TO_RAS[:, None]
    return slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), matrix, name)


def with_library(library, work, *arguments, **options):
    """Do some work with an object that has ``register`` and ``segment`` in place of the library's own functions."""
    functions = {name: getattr(library, name) for name in ("register", "segment") if hasattr(library, name)}
    with patch.multiple(SLSFGRLib, **functions):
        return work(*arguments, **options)
