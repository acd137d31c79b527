"""A pair of volume nodes that are a known shift apart, and a stand-in for the library that knows it."""

from types import SimpleNamespace

import numpy as np
import SimpleITK as sitk
from nodes import add_volume, with_library
from panel_workers import REPORT, labelled
from phantoms import empty_image, filled, head_image, positions
from stand_ins import slicer_module

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic

SIZE, SPACING = (34, 40, 36), (5.0, 4.5, 5.5)
CENTRE = (3.0, -4.0, 5.0)
SHIFT_LPS = np.array([6.0, -9.0, 4.0])


def add_pair(direction):
    """Add a fixed and a moving volume of the same head, on like grids that are about 12 mm apart.

    :param direction: (3, 3), one column for each image axis, LPS.
    """
    fixed = head_image(empty_image(SIZE, SPACING, direction, centre=CENTRE))[0]
    moving = sitk.Image(fixed)
    moving.SetOrigin((np.array(fixed.GetOrigin()) + SHIFT_LPS).tolist())
    return add_volume(fixed, "before"), add_volume(moving, "after")


class ShiftLibrary:
    """A stand-in for SLSFGRLib: knows that the moving image is 10 mm away, and finds structures by intensity."""

    def __init__(self, bend=0.0):
        self.bend = bend

    def register(self, fixed, moving, mode, device, progress, **options):
        forward, inverse = (bent_shift(sign, fixed, self.bend) for sign in (1.0, -1.0))
        return SimpleNamespace(
            warped=sitk.Resample(moving, fixed, forward, sitk.sitkLinear, 0.0, moving.GetPixelID()),
            transform=forward,
            inverse_transform=inverse,
            fixed_labels=labelled(fixed),
            moving_labels=labelled(moving),
            report=REPORT | {"mode": mode},
        )

    def segment(self, image, device, progress):
        return labelled(image)


def bent_shift(sign, image, bend):
    """The shift, and on top of it a smooth bend of some mm; in one composite as the library makes them."""
    shift = sitk.TranslationTransform(3, (sign * SHIFT_LPS).tolist())
    field = filled(image, (sign * bend * np.sin(positions(image)[..., ::-1] / 25.0)).astype(np.float64), vector=True)
    return sitk.CompositeTransform([shift, sitk.DisplacementFieldTransform(field)])


def register(volumes, bend=0.0, **options):
    return with_library(ShiftLibrary(bend), SLSFGRLogic().register, *volumes, **options)


def image_of(volume_node):
    return slicer_module.load("SLSFGRModule.itk_conversion").imageFromVolumeNode(volume_node)
