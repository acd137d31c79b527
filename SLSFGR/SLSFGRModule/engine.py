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


def startWorker(command=None):
    """Start a process for a job to come.

    :param command: program and arguments; by default the library's worker under Slicer's Python.
    :returns: :class:`SLSFGRLib.child.JobProcess`.
    """
    command = command or [shutil.which("PythonSlicer") or sys.executable, "-m", "SLSFGRLib.worker"]
    return importLibrary("SLSFGRLib.child").JobProcess(slicer.app.temporaryPath, command)


def canSegment():
    """Whether the network that segments is installed."""
    return importLibrary("SLSFGRLib.resources").can_segment()


def torchInstalled():
    """Whether PyTorch can be imported; does not import it."""
    return find_spec("torch") is not None


def requireTorch():
    """Do nothing if PyTorch is installed.

    :raises RuntimeError: it is not; the message says how to get it.
    """
    if not torchInstalled():
        text = _(
            "PyTorch is not installed. Install the PyTorch extension in the Extensions Manager, restart Slicer "
            "and press Register: SLSFGR then offers to install it."
        )
        raise RuntimeError(text)


def offerTorch():
    """Install PyTorch through the PyTorch extension if it is missing and the user agrees.

    :returns: whether PyTorch is installed now.
    :raises RuntimeError: the PyTorch extension is missing.
    """
    if torchInstalled():
        return True
    if find_spec("PyTorchUtils") is None:
        requireTorch()
    text = _("SLSFGR computes with PyTorch, which is downloaded and installed now. This can take some minutes.")
    if not slicer.util.confirmOkCancelDisplay(text, _("Install PyTorch")):
        return False
    logic = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
    logic.installTorch(askConfirmation=False, torchVersionRequirement=TORCH_REQUIREMENT)
    importlib.invalidate_caches()
    return torchInstalled()
