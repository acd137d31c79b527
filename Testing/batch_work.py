"""What the workers of the tests of batches do instead of registering; they import this file."""

import os
import time
from types import SimpleNamespace

import SimpleITK as sitk

from SLSFGRLib.jobs import case_work
from SLSFGRLib.jobs.case_work import do_case

# What a real registration keeps of its fixed image loads torch, which takes seconds in each worker.
case_work._fixed_brain = lambda: None


class QuickLibrary:
    """Registers by doing nothing, and remembers what it was given."""

    def __init__(self):
        self.calls = []

    def register(self, fixed, moving, mode, progress, **options):
        self.calls.append(options | {"mode": mode})
        progress and progress(0.5, "Working")
        identity = sitk.TranslationTransform(3)
        report = {"similarity_after": float(sitk.GetArrayViewFromImage(moving).mean()), "notes": [], "device": "cpu"}
        return SimpleNamespace(
            warped=moving,
            transform=identity,
            inverse_transform=identity,
            fixed_labels=None,
            moving_labels=None,
            report=report,
        )


def slowly(case, output, _version, _threads):
    """Do a case without computing, in a second, so that a test can kill the process in its middle."""
    (output / f"{case.name}-{os.getpid()}.begun").touch()
    time.sleep(1.0)
    return do_case(case, output, library=QuickLibrary())


def die_on_three(case, output, _version, _threads):
    """Do a case, but end the process on one of them, as a crash of a driver would."""
    if case.name == "three":
        os._exit(1)
    return do_case(case, output, library=QuickLibrary())
