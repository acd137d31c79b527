"""Access to SLSFGRLib and PyTorch. The library is imported when it is first needed, PyTorch only to compute."""

import importlib
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import slicer
import slicer.packaging
from slicer.i18n import tr as _

TORCH_REQUIREMENT = ">=2.1"


class LazyImport:
    """A module that is imported when it is first used: Slicer starts faster. Slicer has the same from 5.13 on.

    :param name: of the module.
    """

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        return getattr(importlib.import_module(self._name), attribute)


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
    """PyTorch in Slicer's Python, and its installation through the PyTorch extension."""

    def isInstalled(self):
        """Return whether PyTorch is there, complete and new enough; do not import it."""
        spec = find_spec("torch")
        isComplete = spec is not None and spec.origin is not None  # a folder that pip left behind has no origin
        return isComplete and slicer.packaging.pip_check(f"torch{TORCH_REQUIREMENT}")

    def canInstall(self):
        """Return whether the PyTorch extension, which installs PyTorch, is there."""
        return find_spec("PyTorchUtils") is not None

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
            text = _("PyTorch {version} is not installed. Press Register in the panel to install it.")
        else:
            text = _(
                "PyTorch {version} is not installed. Install the PyTorch extension in the Extensions Manager, restart "
                "Slicer and press Register: SLSFGR then offers to install PyTorch."
            )
        return text.format(version=TORCH_REQUIREMENT)
