"""Access to SLSFGRLib and PyTorch. The library is imported when it is first needed, PyTorch only to compute."""

import importlib
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import slicer
from slicer.i18n import tr as _

TORCH_REQUIREMENT = ">=2.1"


def importLibrary(name="SLSFGRLib"):
    """Import SLSFGRLib or one of its modules.

    The library is installed beside this module; in a source checkout it is one folder higher.
    """
    if find_spec("SLSFGRLib") is None:
        sys.path.append(str(Path(__file__).resolve().parents[2]))
    return importlib.import_module(name)


def jobRunner():
    """Return a :class:`SLSFGRLib.jobs.process.JobRunner` that runs the library's worker with Slicer's Python."""
    command = [shutil.which("PythonSlicer") or sys.executable, "-m", "SLSFGRLib.jobs.worker"]
    return importLibrary("SLSFGRLib.jobs.process").JobRunner(slicer.app.temporaryPath, command)


class TorchInstaller:
    """PyTorch in Slicer's Python, and its installation through the PyTorch extension.

    :param findSpec: finds modules without importing them, as :func:`importlib.util.find_spec`.
    """

    def __init__(self, findSpec=find_spec):
        self._findSpec = findSpec

    def isInstalled(self):
        """Return whether PyTorch can be imported; do not import it."""
        return self._findSpec("torch") is not None

    def canInstall(self):
        """Return whether the PyTorch extension, which installs PyTorch, is there."""
        return self._findSpec("PyTorchUtils") is not None

    def install(self):
        """Let the PyTorch extension ask the user whether to install PyTorch, and install it."""
        logic = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
        logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT)
        importlib.invalidate_caches()

    def reasonNotToCompute(self):
        """Return why nothing can be computed, in a sentence for the user; empty if PyTorch is installed."""
        if self.isInstalled():
            return ""
        if self.canInstall():
            return _("PyTorch is not installed. Press Register in the panel to install it.")
        return _(
            "PyTorch is not installed. Install the PyTorch extension in the Extensions Manager, restart Slicer "
            "and press Register: SLSFGR then offers to install PyTorch."
        )
