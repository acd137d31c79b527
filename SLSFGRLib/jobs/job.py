"""Work that can be done here or handed to another process: a registration, or segmentations.

Making, saving and loading a job needs no torch; running it does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import SimpleITK as sitk

from ..io.transforms import transform_from_parts
from ..runtime.progress import ProgressCallback
from ..version import VERSION
from .exchange import load_in_steps, load_values, save_in_steps, save_values

if TYPE_CHECKING:
    from ..models.model import Model
    from ..registration.fixed_brain import FixedBrain
    from ..registration.result import RegistrationResult

# The regions that a user may mark, each on any grid.
REGIONS = ("fixed_mask", "moving_mask", "fixed_lesion", "moving_lesion")
# The attributes of a result's provenance, and where its report has them.
PROVENANCE = {
    "Version": ("versions", "slsfgr"),
    "Transform": ("transform",),
    "Mode": ("mode",),
    "Device": ("device",),
    "DiceBefore": ("dice_before",),
    "DiceAfter": ("dice_after",),
    "FoldingPercent": ("folding_percent",),
}


@dataclass(frozen=True)
class JobResult:
    """The result of a job; None for what was not asked for or could not be computed.

    :param warped: the moving image on the fixed image's grid.
    :param transform: points of the fixed image to points of the moving image, LPS mm. In a result that was loaded it is
        a list of parts, as :func:`.transform_parts` gives it: making ITK's transform of a field takes a second.
    :param inverse_transform: points of the moving image to points of the fixed image, likewise.
    :param fixed_labels: label map on the fixed image's grid.
    :param moving_labels: label map on the moving image's grid.
    :param jacobian: determinant of the transform's Jacobian at each fixed voxel.
    :param report: figures, as in ``report.json``, and ``volumes_ml``: by image and structure.
    :param page: the report with pictures, in HTML.
    """

    warped: sitk.Image | None = None
    transform: sitk.Transform | list | None = None
    inverse_transform: sitk.Transform | list | None = None
    fixed_labels: sitk.Image | None = None
    moving_labels: sitk.Image | None = None
    jacobian: sitk.Image | None = None
    report: dict = field(default_factory=dict)
    page: str | None = None

    def provenance(self) -> dict[str, str]:
        """Return how the result came about, as texts to note beside it; ``none`` where the report does not say.

        ``Model`` and ``ModelSHA256`` list all models and templates that took part, separated by semicolons.
        """
        models = self.report.get("models") or []
        texts = {
            "Model": "; ".join(f"{model['name']} ({model['role']})" for model in models) or "none",
            "ModelSHA256": "; ".join(str(model["sha256"]) for model in models) or "none",
        }
        for name, keys in PROVENANCE.items():
            value = self.report
            for key in keys:
                value = (value or {}).get(key)
            texts[name] = "none" if value is None else str(value)
        return texts

    def save(self, folder: Path) -> None:
        """Write the result into a folder, which is made."""
        save_values(vars(self), folder)

    @classmethod
    def load(cls, folder: Path) -> JobResult:
        """Read what :meth:`save` wrote."""
        *_, result = cls.load_in_steps(folder)
        return result

    @classmethod
    def load_in_steps(cls, folder: Path) -> Iterator[JobResult | None]:
        """As :meth:`load`, but stop again and again; the last step gives the result, the others None."""
        values = {}
        for named in load_in_steps(folder):
            values |= [named] if named else []
            yield None
        yield cls(**values)


@dataclass(frozen=True)
class RegistrationJob:
    """Register a pair; the fields are arguments of :func:`SLSFGRLib.register`.

    :param mode: ``fast``, ``standard`` or ``accurate``.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param initial_transform: fixed to moving points; linear.
    :param start_from_segmentation: begin at the structures of both images, where they can be segmented.
    :param model: as for :func:`SLSFGRLib.load_model`, by name; empty for none.
    :param jacobian: also make an image of the Jacobian determinant.
    :param transform: ``auto``, ``rigid``, ``affine`` or ``deformable``.
    :param fixed_mask: where the fixed image may be compared; likewise ``moving_mask``.
    :param fixed_lesion: what has no counterpart in the moving image; likewise ``moving_lesion``.
    :param names: what the page of the report calls both images; None for no page.
    :param affine: estimate an affine alignment first.
    :param moving_labels: a label map of the moving image to warp, instead of segmenting.
    """

    TASK: ClassVar[str] = "register"
    fixed: sitk.Image
    moving: sitk.Image
    mode: str = "standard"
    device: str = "auto"
    initial_transform: sitk.Transform | None = None
    start_from_segmentation: bool = True
    model: str = ""
    jacobian: bool = False
    transform: str = "auto"
    fixed_mask: sitk.Image | None = None
    moving_mask: sitk.Image | None = None
    fixed_lesion: sitk.Image | None = None
    moving_lesion: sitk.Image | None = None
    names: Sequence[str] | None = None
    affine: bool = True
    moving_labels: sitk.Image | None = None

    def run(
        self,
        progress: ProgressCallback | None = None,
        library: ModuleType | None = None,
        fixed_brain: FixedBrain | None = None,
    ) -> JobResult:
        """Register.

        :param library: what has ``register``; by default this library.
        :param fixed_brain: of the jobs before; where it is of the same fixed image, that is not prepared again.
        :raises InputError: as :func:`SLSFGRLib.register`.
        """
        register = (library or import_module("SLSFGRLib")).register
        options = {
            "mode": self.mode,
            "transform": self.transform,
            "initial_transform": self.initial_transform,
            "start_from_segmentation": self.start_from_segmentation,
            "progress": progress,
        }
        options |= {name: getattr(self, name) for name in REGIONS if getattr(self, name) is not None}
        if fixed_brain is not None:
            options["fixed_brain"] = fixed_brain
        if not self.affine:
            options["affine"] = False
        if self.moving_labels is not None:
            options["moving_labels"] = self.moving_labels
        if self.model:
            options["model"] = import_module("SLSFGRLib.models.loading").load_model(self.model)
        result = register(self.fixed, self.moving, device=self.device, **options)
        jacobian = None
        if self.jacobian:
            jacobian = import_module("SLSFGRLib.evaluation.metrics").jacobian_image(result.transform, self.fixed)
        return JobResult(
            result.warped,
            result.transform,
            result.inverse_transform,
            result.fixed_labels,
            result.moving_labels,
            jacobian,
            result.report | {"volumes_ml": _volumes_ml(fixed=result.fixed_labels, moving=result.moving_labels)},
            self._page(result) if self.names else None,
        )

    def _page(self, result: RegistrationResult) -> str:
        from ..report.results import report_and_page

        return report_and_page(result, self.fixed, self.moving, *self.names)[1]


@dataclass(frozen=True)
class SegmentationJob:
    """Segment one image or both of a pair.

    :param model: as for :func:`SLSFGRLib.load_model`, by name; empty for the bundled one.
    """

    TASK: ClassVar[str] = "segment"
    fixed: sitk.Image | None = None
    moving: sitk.Image | None = None
    device: str = "auto"
    model: str = ""

    def run(
        self,
        progress: ProgressCallback | None = None,
        library: ModuleType | None = None,
        fixed_brain: FixedBrain | None = None,
    ) -> JobResult:
        """Segment what is there.

        :param library: what has ``segment``; by default this library.
        :param fixed_brain: not used.
        :raises InputError: as :func:`SLSFGRLib.segment`.
        """
        segment = (library or import_module("SLSFGRLib")).segment
        images = {name: image for name, image in (("fixed", self.fixed), ("moving", self.moving)) if image is not None}
        begin = time.perf_counter()
        options = {"model": import_module("SLSFGRLib.models.loading").load_model(self.model)} if self.model else {}
        labels = {
            name: segment(image, self.device, _part_of(progress, number, len(images)), **options)
            for number, (name, image) in enumerate(images.items())
        }
        return JobResult(
            fixed_labels=labels.get("fixed"),
            moving_labels=labels.get("moving"),
            report=_segmentation_report(self.device, time.perf_counter() - begin, options.get("model"))
            | {"volumes_ml": _volumes_ml(**labels)},
        )


def _segmentation_report(device: str, seconds: float, model: Model | None) -> dict:
    """Return the part of a registration's report that segmentations have, too."""
    from ..models.loading import default_model
    from ..runtime.devices import choose_device, describe_device

    return {
        "device": describe_device(choose_device(device)),
        "seconds": {"total": seconds},
        "models": [(model or default_model()).description("segmentation")],
        "versions": {"slsfgr": VERSION},
    }


def _volumes_ml(**labels: sitk.Image | None) -> dict[str, dict[str, float]]:
    """Return the volume by structure for each label map that there is."""
    from ..segmentation.volumes import volumes

    return {
        image: {structure.name: structure.volume_mm3 / 1000.0 for structure in volumes(label_map)}
        for image, label_map in labels.items()
        if label_map is not None
    }


Job = RegistrationJob | SegmentationJob


def save_job_in_steps(job: Job, folder: Path, before: Job | None = None) -> Iterator[None]:
    """Write a job into a folder, which is made; stop after each piece of an image.

    :param before: the job that was written last for the same process: images of it are not written again.
    """
    return save_in_steps(vars(job) | {"task": job.TASK}, folder, vars(before) if before else {})


def save_job(job: Job, folder: Path, before: Job | None = None) -> None:
    """As :func:`save_job_in_steps`, in one go."""
    for _step in save_job_in_steps(job, folder, before):
        pass


def load_job(folder: Path, before: Job | None = None) -> Job:
    """Read what :func:`save_job` wrote."""
    values = load_values(folder, vars(before) if before else {})
    if values.get("initial_transform"):
        values["initial_transform"] = transform_from_parts(values["initial_transform"])
    kinds = {kind.TASK: kind for kind in (RegistrationJob, SegmentationJob)}
    return kinds[values.pop("task")](**values)


def _part_of(progress: ProgressCallback | None, number: int, count: int) -> ProgressCallback | None:
    """Return the progress callback of one of several equal parts."""
    if progress is None:
        return None
    return lambda fraction, message: progress((number + fraction) / count, message)
