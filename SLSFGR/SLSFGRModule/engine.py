"""The way from Slicer to SLSFGRLib. Nothing is imported before the first registration."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

from slicer.i18n import tr as _


def registerWithLibrary(fixedImage, movingImage, **options):
    """Call ``SLSFGRLib.register``. Touches neither MRML nor Qt.

    :raises RuntimeError: PyTorch is not installed.
    """
    if find_spec("torch") is None:
        raise RuntimeError(
            _(
                "PyTorch is not installed. Install the PyTorch extension in the Extensions Manager, restart, "
                "then open its module PyTorch Utils and press the button there."
            )
        )
    return importLibrary().register(fixedImage, movingImage, **options)


def importLibrary():
    """Import SLSFGRLib: installed beside this module or, in a source checkout, one folder higher."""
    if find_spec("SLSFGRLib") is None:
        sys.path.append(str(Path(__file__).resolve().parents[2]))
    return importlib.import_module("SLSFGRLib")
