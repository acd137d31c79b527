"""Preparation of images: cropped to the head or the brain, at about 1 mm, with intensities from 0 to 1."""

from .brain_mask import BrainMask
from .head_box import head_box
from .prepare import FINEST_SPACING, PREPARATION, PreparedImage, prepare, prepare_whole

__all__ = ["FINEST_SPACING", "PREPARATION", "BrainMask", "PreparedImage", "head_box", "prepare", "prepare_whole"]
