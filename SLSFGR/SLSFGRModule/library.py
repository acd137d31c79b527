"""The way from Slicer to SLSFGRLib. The library is imported when it is first needed, torch when it works."""

import importlib
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import slicer
from slicer.i18n import tr as _

TORCH_REQUIREMENT = ">=2.1"


def importLibrary(name="SLSFGRLib"):
    """Import SLSFGRLib or a module of it: installed beside this one or, in a source checkout, one folder higher."""
    if find_spec("SLSFGRLib") is None:
        sys.path.append(str(Path(__file__).resolve().parents[2]))
    return importlib.import_module(name)


def jobRunner():
    """Return a :class:`SLSFGRLib.jobs.process.JobRunner` that runs the library's worker under Slicer's Python."""
    command = [shutil.which("PythonSlicer") or sys.executable, "-m", "SLSFGRLib.jobs.worker"]
    return importLibrary("SLSFGRLib.jobs.process").JobRunner(slicer.app.temporaryPath, command)


def torchInstalled():
    """Whether PyTorch can be imported; does not import it."""
    return find_spec("torch") is not None


def reasonWithoutTorch(offer=False):
    """Why nothing can be computed, in one sentence for the user; empty where PyTorch is installed.

    :param offer: if it is not, let the PyTorch extension ask whether to install it, and do so.
    """
    if not torchInstalled() and find_spec("PyTorchUtils") is None:
        return _(
            "PyTorch is not installed. Install the PyTorch extension in the Extensions Manager, restart Slicer "
            "and press Register: SLSFGR then offers to install it."
        )
    if not torchInstalled() and offer:
        logic = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
        logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT)
        importlib.invalidate_caches()
    return "" if torchInstalled() else _("PyTorch is not installed. Press Register in the panel to install it.")
