"""Do one case of a batch, in whichever process: read, register or segment, write, and say how it went."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import SimpleITK as sitk

from ..errors import InputError
from ..io.images import read_image, read_labels, smallest_label_type, write_image
from ..io.staging import staged_folder
from ..io.transforms import read_transform
from ..report.results import THUMBNAIL, write_results, write_segmentation
from ..runtime.memory import MEMORY_IS_FULL, is_out_of_memory
from ..runtime.progress import ProgressCallback
from .case_record import fingerprint, finished_row, write_record
from .cases import REGISTER, SEGMENT, Case
from .job import REGIONS, RegistrationJob, SegmentationJob

if TYPE_CHECKING:
    from ..registration.fixed_brain import FixedBrain

DONE, FAILED = "done", "failed"
# Takes a case, a progress callback and a module with ``register`` and ``segment``.
Work = Callable[[Case, ProgressCallback | None, ModuleType | None], Callable[[Path], dict]]
# A registration uses all threads that it may; a second one in the same process would only slow both down.
_ONE_AT_A_TIME = threading.Lock()


def do_case(
    case: Case,
    output: Path,
    progress: ProgressCallback | None = None,
    library: ModuleType | None = None,
) -> dict:
    """Do a case unless it is done already; whatever is wrong with it becomes part of the result.

    :param output: the folder of the batch.
    :param library: a module with ``register`` and ``segment``; this library by default.
    :returns: its line in the table of results: ``name``, ``status``, ``problem`` and figures.
    """
    begin = time.perf_counter()
    stop = _Stop(progress)
    try:
        with _ONE_AT_A_TIME:
            row, _ = finished_row(case, output)
            if row is not None:
                return row
            return _done(case, output, stop if progress else None, library, begin)
    except Exception as error:
        if stop.error is not None:
            raise stop.error from None
        return failed_row(case, _sentence(error)) | {"seconds": round(time.perf_counter() - begin, 1)}


def failed_row(case: Case, problem: str) -> dict:
    """Return the line of a case that could not be done.

    :param problem: why, in one sentence.
    """
    return _named_row(case) | {"status": FAILED, "problem": problem}


class _Stop:
    """A progress callback that remembers the error by which the user stops the batch."""

    def __init__(self, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self.error: BaseException | None = None

    def __call__(self, fraction: float, message: str) -> None:
        try:
            self._callback(fraction, message)
        except BaseException as error:
            self.error = error
            raise


def _done(
    case: Case, output: Path, progress: ProgressCallback | None, library: ModuleType | None, begin: float
) -> dict:
    depends_on = fingerprint(case)
    write = _work_of(case.task)(case, progress, library)
    with staged_folder(output / case.name) as folder:
        report = write(folder)
        for path in list(folder.iterdir()):
            path.rename(folder / case.file_name(path.name))
        seconds = round(time.perf_counter() - begin, 1)
        row = _named_row(case) | {"status": DONE, "problem": ""} | _figures(report) | {"seconds": seconds}
        row |= {
            f"{image}: {name} (mL)": round(volume, 4)
            for image, volumes in report.get("volumes_ml", {}).items()
            for name, volume in volumes.items()
        }
        write_record(case, depends_on, row, folder)
    return row


def _work_of(task: str) -> Work:
    """Return what does a case: a function that computes, and returns what writes the results into a folder."""
    if task in (REGISTER, SEGMENT):
        return _register if task == REGISTER else _segment
    # Needs torch.
    from .group_steps import STEPS

    return STEPS[task]


def _register(case: Case, progress: ProgressCallback | None, library: ModuleType | None) -> Callable[[Path], dict]:
    """Register; return what writes the result into a folder and returns the report."""
    fixed, moving = _known_image(case.images["fixed"]), read_image(case.images["moving"])
    settings, files = case.settings, case.files
    # Those of the fixed image are read once, since a fixed brain is known again by them.
    regions = {name: _known_image(files[name]) for name in REGIONS if name in files}
    job = RegistrationJob(
        fixed,
        moving,
        settings["mode"],
        settings["device"],
        read_transform(files["initial_transform"]) if "initial_transform" in files else None,
        model=settings["model"],
        jacobian=settings["jacobian"],
        transform=settings["transform"],
        affine=not settings["no_affine"],
        moving_labels=read_labels(files["moving_labels"]) if "moving_labels" in files else None,
        **regions,
    )
    result = job.run(progress, library, _fixed_brain())
    names = {f"{role}_name": _name(image) for role, image in case.images.items()}

    def write(folder: Path) -> dict:
        report = write_results(result, fixed, moving, folder, **names, thumbnail=True)
        if result.jacobian is not None:
            write_image(result.jacobian, folder / "jacobian.nii.gz")
        return report

    return write


def _segment(case: Case, progress: ProgressCallback | None, library: ModuleType | None) -> Callable[[Path], dict]:
    """Segment, likewise."""
    image = read_image(case.images["image"])
    job = SegmentationJob(image, device=case.settings["device"], model=case.settings["model"])
    result = job.run(progress, library)
    labels = smallest_label_type(result.fixed_labels)
    volumes = {"image": result.report["volumes_ml"]["fixed"]}
    result.report["volumes_ml"] = volumes
    return lambda folder: write_segmentation(labels, image, result.report, folder)


@lru_cache(maxsize=1)
def _fixed_brain() -> FixedBrain:
    """Return what this process knows about the fixed image of its last registration."""
    from ..registration.fixed_brain import FixedBrain

    return FixedBrain()


def _known_image(image: Path | sitk.Image) -> sitk.Image:
    """Return an image that many cases have, read once as long as its file stays the same."""
    return image if isinstance(image, sitk.Image) else _read_once(image, image.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_once(path: Path, _changed_ns: int) -> sitk.Image:
    return read_image(path)


def _named_row(case: Case) -> dict:
    report = "report.html" if case.task == REGISTER else "volumes.csv"
    files = {"report": case.file_name(report), "thumbnail": case.file_name(THUMBNAIL)}
    images = {role: _name(image) for role, image in case.images.items()}
    return {"name": case.title, "folder": case.name} | files | images


def _name(image: Path | sitk.Image) -> str | None:
    return str(image) if isinstance(image, Path) else None


def _figures(report: Mapping) -> dict:
    """Return the figures of a report that the table of results has, in its order."""
    figures = {name: report[name] for name in ("transform", "mode") if name in report}
    for name in ("dice_before", "dice_after", "similarity_before", "similarity_after", "folding_percent"):
        if report.get(name) is not None:
            figures[name] = round(float(report[name]), 5)
    if report.get("sd_log_jacobian") is not None:
        figures["sd_log_jacobian"] = round(float(report["sd_log_jacobian"]), 5)
    if report.get("displacement_mm"):
        figures["mean_displacement_mm"] = round(float(report["displacement_mm"]["mean"]), 3)
    return figures | {"device": report.get("device"), "warnings": " ".join(report.get("notes") or [])}


def _sentence(error: Exception) -> str:
    """Return why a case failed, in a sentence."""
    if isinstance(error, InputError):
        return str(error)
    if is_out_of_memory(error):
        return MEMORY_IS_FULL
    if isinstance(error, OSError):
        return f"{error.filename or 'output'}: {error.strerror or error}; check the file, the folder and the disk."
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}; please report this."
