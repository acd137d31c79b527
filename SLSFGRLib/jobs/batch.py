"""Register every image of a folder to one image, from file to file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import SimpleITK as sitk

from ..errors import InputError
from ..io.images import IMAGE_ENDINGS, read_image
from ..io.staging import staged_folder
from ..report.results import write_results
from ..runtime.progress import ProgressCallback
from .job import RegistrationJob

if TYPE_CHECKING:
    from ..registration.fixed_brain import FixedBrain


@dataclass(frozen=True)
class FolderCase:
    """The outcome for one image of a folder.

    :param path: the moving image.
    :param output: the folder with its results; None if it could not be registered.
    :param report: as in ``report.json``.
    :param problem: why it could not be registered, in one sentence.
    """

    path: Path
    output: Path | None = None
    report: dict = field(default_factory=dict)
    problem: str = ""


def register_folder(
    fixed: sitk.Image,
    folder: Path,
    output: Path,
    progress: ProgressCallback | None = None,
    library: ModuleType | None = None,
    **options: object,
) -> list[FolderCase]:
    """Register each image file of a folder to one image, into a folder of its own below ``output``.

    An image that cannot be registered does not stop the others. The fixed image is prepared and segmented once.

    :param library: a module with a function ``register``; this library by default.
    :param options: fields of :class:`SLSFGRLib.jobs.job.RegistrationJob`.
    """
    from ..registration.fixed_brain import FixedBrain

    paths = sorted(path for path in folder.iterdir() if path.name.endswith(IMAGE_ENDINGS))
    brain = FixedBrain()
    folders = [output / path.name.partition(".")[0] for path in paths]
    return [
        _register_file(fixed, path, output, brain, progress, library, options)
        for path, output in zip(paths, folders, strict=True)
    ]


def _register_file(
    fixed: sitk.Image,
    path: Path,
    output: Path,
    brain: FixedBrain,
    progress: ProgressCallback | None,
    library: ModuleType | None,
    options: dict,
) -> FolderCase:
    try:
        moving = read_image(path)
        result = RegistrationJob(fixed, moving, **options).run(progress, library, brain)
        with staged_folder(output) as scratch:
            report = write_results(result, fixed, moving, scratch, moving_name=str(path))
    except InputError as error:
        return FolderCase(path, problem=str(error))
    return FolderCase(path, output, report)
