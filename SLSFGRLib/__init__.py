"""Registration and segmentation of brain MRI.

>>> import SimpleITK as sitk, SLSFGRLib
>>> result = SLSFGRLib.register(sitk.ReadImage("fixed.nii.gz"), sitk.ReadImage("moving.nii.gz"))
>>> sitk.WriteImage(result.warped, "warped.nii.gz")
>>> sitk.WriteTransform(result.transform, "transform.h5")

Importing the package is instant: torch is loaded when work begins.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import Cancelled, InputError
from .version import VERSION

if TYPE_CHECKING:
    from .evaluation.metrics import evaluate
    from .models.loading import load_model
    from .registration.align import align
    from .registration.deform import deform
    from .registration.fixed_brain import FixedBrain
    from .registration.pipeline import register
    from .registration.result import RegistrationResult, Solution, publish
    from .segmentation.brain_mask import brain_alone, brain_mask
    from .segmentation.pipeline import load_subject, segment
    from .segmentation.subject import Subject
    from .segmentation.volumes import volumes
    from .spatial.affine import Affine
    from .spatial.label_resampling import warp_labels
    from .spatial.resampling import resample_image

_LAZY = {
    "Affine": "spatial.affine",
    "FixedBrain": "registration.fixed_brain",
    "RegistrationResult": "registration.result",
    "Solution": "registration.result",
    "Subject": "segmentation.subject",
    "align": "registration.align",
    "brain_alone": "segmentation.brain_mask",
    "brain_mask": "segmentation.brain_mask",
    "deform": "registration.deform",
    "evaluate": "evaluation.metrics",
    "load_model": "models.loading",
    "load_subject": "segmentation.pipeline",
    "publish": "registration.result",
    "register": "registration.pipeline",
    "resample_image": "spatial.resampling",
    "segment": "segmentation.pipeline",
    "volumes": "segmentation.volumes",
    "warp_labels": "spatial.label_resampling",
}

__version__ = VERSION

__all__ = [
    "Affine",
    "Cancelled",
    "FixedBrain",
    "InputError",
    "RegistrationResult",
    "Solution",
    "Subject",
    "align",
    "brain_alone",
    "brain_mask",
    "deform",
    "evaluate",
    "load_model",
    "load_subject",
    "publish",
    "register",
    "resample_image",
    "segment",
    "volumes",
    "warp_labels",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
