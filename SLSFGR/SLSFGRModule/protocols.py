"""What the widget expects of its collaborators; tests give it others than Slicer does."""

from collections.abc import Callable
from typing import Any, Protocol


class Runner(Protocol):
    """Runs one job at a time outside of Slicer's process, as :class:`SLSFGRLib.jobs.process.JobRunner` does."""

    def stand_by(self, ready: bool) -> None:
        """Have a process ready for the next job, or none."""

    def start(self, job: Any, on_progress: Callable, on_log: Callable, on_end: Callable) -> None:
        """Start a job; :meth:`poll` calls the callbacks."""

    def poll(self) -> None:
        """Call the callbacks with what is new."""

    def cancel(self) -> None:
        """End the job; a later :meth:`poll` reports its end."""

    def release(self) -> None:
        """Free the memory of the last job: no other follows that could use what is known about its fixed image."""

    def discard(self) -> None:
        """End the job, and call no callback any more."""


class Installer(Protocol):
    """Installs PyTorch, as :class:`.library.TorchInstaller` does."""

    def isInstalled(self) -> bool:
        """Return whether PyTorch is installed."""

    def canInstall(self) -> bool:
        """Return whether PyTorch can be installed from here."""

    def install(self) -> None:
        """Ask the user whether to install PyTorch, and install it."""

    def reasonNotToCompute(self) -> str:
        """Return why nothing can be computed; empty if PyTorch is installed."""
