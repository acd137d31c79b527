"""Build an unbiased template of a group of images, with a label atlas, on the same engine as a batch.

All images are aligned with the standard brain, and the mean of their sizes and shapes is taken out of the affine
transforms. In some rounds each image is deformed to the mean of all, and the mean of all fields is taken out of the
shape of the next mean. The work for one image is a case (:mod:`.group_steps`); what the images have in common is summed
up here from their files. Each round is kept until the end, so that a stopped run continues.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..io.images import read_image, smallest_label_type, write_image
from ..io.resources import can_segment, standard_brain_path
from ..io.staging import staged_folder
from ..models.loading import brain_extraction_model, default_model
from ..modes import DEFAULT_MODE
from ..preprocessing.prepare import SIZE_MULTIPLE, prepare
from ..report.group_template import write_group_report
from ..runtime.progress import ProgressCallback
from ..spatial.affine import Affine
from ..spatial.grid import Grid, image_from_array
from ..spatial.mean_transform import without_mean_stretch
from ..version import VERSION
from .batch import Runner, do_cases
from .case_record import RECORD, fingerprint
from .case_work import FAILED
from .cases import MIN_IMAGES, Case, require_group
from .group_means import BRAIN_INTENSITY, mean_intensity, mean_shape, most_frequent_labels, sharpness
from .group_space import GroupSpace, kept_intensities
from .group_steps import AFFINE_FILE, ALIGN, BRAIN_FILE, FIELD_FILE, LABELS_FILE, PUBLISH, WARP, WARPED_FILE

# Modes of the rounds; None stands for the mode that the user chose.
ROUNDS = ("fast", None, None)
# Around the box of the standard brain, which has a margin itself, in mm: heads differ.
MARGIN_MM = 4.0
# Images whose finest spacing in mm is below this get a template of 1 mm, as registrations work at.
COARSE_SPACING = 1.15
# Of a stopped run; removed at the end.
WORK = "work"
TEMPLATE_FILE, SHAPE_FILE, WHOLE_FILE = "template.npy", "shape.npy", "whole.json"
REPORT = "report.json"
OUTPUTS = (REPORT, "report.html", "template.nii.gz")
# How long the stages take in proportion; measured at 1 mm.
SHARES = {"align": 3.0, "average": 2.0, "fast": 5.0, "standard": 16.0, "accurate": 22.0, "publish": 9.0}


def build_group_template(
    cases: Sequence[Case],
    output: Path,
    run: Runner | None = None,
    progress: ProgressCallback | None = None,
    say: Callable[[str], None] | None = None,
) -> dict:
    """Build the template of some images and write it, with all transforms, into a folder.

    An image that fails stops no other; it is left out and reported. When the run is stopped, the next one continues.

    :param cases: the images, of the task :data:`SLSFGRLib.jobs.cases.TEMPLATE`. The settings of the first hold for all:
        ``device``, and ``mode``, that of the registrations after the first round.
    :param run: where the work is done; by default in this process, one image after the other.
    :param progress: called with the fraction done and a sentence.
    :param say: takes sentences for the user.
    :returns: the content of ``report.json``.
    :raises InputError: fewer than two images can be used.
    """
    require_group(cases)
    settings = {"mode": DEFAULT_MODE, "device": "auto"} | dict(cases[0].settings)
    builder = _Builder(cases, output, settings, run, progress, say or (lambda text: None))
    done = builder.finished()
    if done is not None:
        builder.say("The template is done already and is kept.")
        return done
    space, affines = builder.align()
    builder.average(space, affines)
    for number, of_round in enumerate(ROUNDS, 1):
        builder.deform(number, of_round or builder.mode, space, affines)
    return builder.publish(space, affines)


class _Builder:
    """The stages of a template; each depends on those before, and is kept for a later run."""

    def __init__(
        self,
        cases: Sequence[Case],
        output: Path,
        settings: Mapping[str, str],
        run: Runner | None,
        progress: ProgressCallback | None,
        say: Callable[[str], None],
    ) -> None:
        self.output, self.work, self.run, self.say = output, output / WORK, run, say
        self.settings, self.mode = settings, settings["mode"]
        # By name, so that the order of the table changes nothing.
        self.images = {case.title: case for case in sorted(cases, key=lambda case: case.title)}
        self.failed: dict[str, dict] = {}
        self.rounds: list[dict] = []
        self.notes: list[str] = []
        self.seconds = 0.0
        inputs = {name: fingerprint(case)["inputs"] for name, case in self.images.items()}
        self.made_from = _plain({"version": VERSION, "settings": dict(settings), "images": inputs})
        self._progress = _Stages(progress, [of_round or self.mode for of_round in ROUNDS])

    def finished(self) -> dict | None:
        """Return the report of an earlier run if it is of the same images, and its results are there."""
        report = _json(self.output / REPORT)
        if report is None or report.get("made_from") != self.made_from:
            return None
        done = [row["folder"] for row in report["cases"] if row["status"] != FAILED]
        paths = [*OUTPUTS, *(f"{folder}/transform.h5" for folder in done)]
        return report if all((self.output / path).is_file() for path in paths) else None

    def align(self) -> tuple[GroupSpace, dict[str, Affine]]:
        """Align all images; return the space of the mean size and shape, and the transforms from it, by name."""
        steps = {name: self._step(ALIGN, "align", name) for name in self.images}
        self._do("align", "Aligning", steps)
        found = {name: _json(self.output / steps[name].name / AFFINE_FILE) for name in self.images}
        self._note_contrasts([name for name, of_image in found.items() if not of_image["is_t1"]])
        standard = prepare(read_image(standard_brain_path())).grid
        matrices = [Affine(np.array(of_image["matrix"])) for of_image in found.values()]
        affines, to_standard = without_mean_stretch(matrices, standard.centre)
        lower, upper = _box_around(standard, to_standard.inverse())
        finest = min(of_image["spacing"] for of_image in found.values())
        space = GroupSpace.around(lower, upper, 1.0 if finest < COARSE_SPACING else round(finest, 3), SIZE_MULTIPLE)
        return space, dict(zip(found, affines, strict=True))

    def average(self, space: GroupSpace, affines: Mapping[str, Affine]) -> None:
        """Make the first template: the mean of the images after the affine transforms alone."""

        def combine(folders: list[Path], staging: Path) -> dict:
            np.save(staging / TEMPLATE_FILE, mean_intensity(folders))
            return {"mode": "affine", "mean_displacement_mm": None}

        self._round(0, "affine", space, affines, combine)

    def deform(self, number: int, mode: str, space: GroupSpace, affines: Mapping[str, Affine]) -> None:
        """Deform all images to the present template, and make the next one: their mean, in their mean shape."""

        def combine(folders: list[Path], staging: Path) -> dict:
            image, to_common, distance = mean_shape(folders)
            np.save(staging / TEMPLATE_FILE, image)
            np.save(staging / SHAPE_FILE, to_common)
            return {"mode": mode, "mean_displacement_mm": distance}

        self._round(number, mode, space, affines, combine)

    def publish(self, space: GroupSpace, affines: Mapping[str, Affine]) -> dict:
        """Write the results of each image, the template, its labels and the report; remove what a resume needs."""
        last = len(ROUNDS)
        steps = {
            name: self._step(
                PUBLISH,
                "publish",
                name,
                files=case.files,
                **self._settings(space, affines[name], last),
                field=str(self.work / f"round-{last}" / name / FIELD_FILE),
                to_common=str(self._folder(last) / SHAPE_FILE),
            )
            for name, case in self.images.items()
        }
        rows = self._do("publish", "Writing", steps)
        folders = {name: self.output / steps[name].name for name in self.images}
        earlier = _images_of(_json(self.output / REPORT))
        with staged_folder(self.output) as staging:
            report = self._report(space, rows) | self._write_template(space, list(folders.values()), staging)
            for name in earlier:
                shutil.rmtree(self.output / "cases" / name, ignore_errors=True)
            for name, folder in folders.items():
                _move(folder, self.output / "cases" / name)
            write_group_report(report, self.output, staging)
        shutil.rmtree(self.work, ignore_errors=True)
        return report

    def _round(
        self,
        number: int,
        mode: str,
        space: GroupSpace,
        affines: Mapping[str, Affine],
        combine: Callable[[list[Path], Path], dict],
    ) -> None:
        """Do the work of a round for all images and combine it, unless an earlier run has."""
        steps = {
            name: self._step(WARP, f"round-{number}", name, **self._settings(space, affines[name], number - 1, mode))
            for name in self.images
        }
        folder, depends_on = self._folder(number), _plain({name: fingerprint(case) for name, case in steps.items()})
        whole = _json(folder / WHOLE_FILE)
        if whole is None or whole["depends_on"] != depends_on:
            before = self.seconds
            title = f"Round {number} of {len(ROUNDS)}" if number else "Averaging"
            self._do(mode, title, steps)
            folders = [self.output / steps[name].name for name in self.images]
            with staged_folder(folder) as staging:
                figures = {"round": number} | combine(folders, staging) | {"seconds": self.seconds - before}
                whole = {"depends_on": depends_on, "figures": figures, "failed": self.failed}
                (staging / WHOLE_FILE).write_text(json.dumps(whole), encoding="utf-8")
            if number < len(ROUNDS):
                shutil.rmtree(self.work / f"round-{number}", ignore_errors=True)
        else:
            self._progress.skip(mode)
            self.seconds += whole["figures"]["seconds"]
            self._leave_out(whole["failed"])
        self.rounds.append(whole["figures"])

    def _folder(self, number: int) -> Path:
        """Return the folder with what a round gave."""
        return self.work / f"template-{number}"

    def _settings(self, space: GroupSpace, affine: Affine, before: int, mode: str = "") -> dict:
        """Return the settings of a step after the round ``before``; there is none before the first."""
        path = self._folder(before) / TEMPLATE_FILE
        known = {"template": "", "sha256": ""}
        if before >= 0:
            known = {"template": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        return space.settings() | {"affine": affine.matrix.tolist(), "mode": mode or self.mode} | known

    def _step(
        self, task: str, stage: str, name: str, files: Mapping[str, Path] | None = None, **settings: object
    ) -> Case:
        images = self.images[name].images
        return Case(task, f"{WORK}/{stage}/{name}", images, files or {}, dict(self.settings) | settings)

    def _do(self, share: str, title: str, steps: Mapping[str, Case]) -> dict[str, dict]:
        """Do a step for each image; return the lines of those that are done. Those that fail are left out from here."""
        progress = self._progress.begin(share, title)
        lines = do_cases(
            list(steps.values()), self.output, self.run, progress, lambda text: self.say(f"{title}: {text}")
        )
        rows = {name: row | {"name": name, "folder": f"cases/{name}"} for name, row in zip(steps, lines, strict=True)}
        self.seconds += sum(row.get("seconds", 0.0) for row in rows.values())
        self._leave_out({name: row for name, row in rows.items() if row["status"] == FAILED})
        return {name: row for name, row in rows.items() if name in self.images}

    def _leave_out(self, failed: Mapping[str, dict]) -> None:
        self.failed |= failed
        self.images = {name: case for name, case in self.images.items() if name not in failed}
        if len(self.images) < MIN_IMAGES:
            name, row = next(iter(self.failed.items()))
            raise InputError(
                f"{len(self.images)} of {len(self.images) + len(self.failed)} images can be used, and a template needs "
                f"{MIN_IMAGES}; the first problem is {name}: {row['problem']}"
            )

    def _note_contrasts(self, others: list[str]) -> None:
        """Note if some images look like T1 and others do not."""
        if 0 < len(others) < len(self.images):
            fewer = sorted(min(others, [name for name in self.images if name not in others], key=len))
            self.notes.append(
                f"{len(fewer)} of {len(self.images)} images seem to have another contrast than the others: "
                f"{', '.join(fewer[:5])}{', ...' if len(fewer) > 5 else ''}. A template needs images of one contrast."
            )

    def _write_template(self, space: GroupSpace, folders: list[Path], staging: Path) -> dict:
        """Write the template, its labels and the mask of its brain; return what the report says of their sharpness."""
        array = mean_intensity(folders)
        write_image(space.image(array), staging / "template.nii.gz")
        for file, name in ((LABELS_FILE, "template_labels.nii.gz"), (BRAIN_FILE, "template_brain_mask.nii.gz")):
            paths = [folder / file for folder in folders if (folder / file).is_file()]
            if paths:
                labels = image_from_array(most_frequent_labels(paths), space.written)
                write_image(smallest_label_type(labels), staging / name)
        inside = _inside(staging / "template_brain_mask.nii.gz", array, space)
        for of_round in self.rounds:
            kept = np.load(self._folder(of_round["round"]) / TEMPLATE_FILE)
            of_round["sharpness"] = sharpness(kept, inside)
        single = np.mean([sharpness(kept_intensities(folder / WARPED_FILE), inside) for folder in folders])
        first = np.load(self._folder(0) / TEMPLATE_FILE)
        write_image(space.image(first), staging / "affine_average.nii.gz")
        return {"sharpness": sharpness(array, inside), "sharpness_of_one_image": float(single)}

    def _report(self, space: GroupSpace, rows: Mapping[str, dict]) -> dict:
        models = [brain_extraction_model(), default_model()] if can_segment() else []
        roles = ("brain extraction", "segmentation")
        return {
            "images": len(rows) + len(self.failed),
            "used": len(rows),
            "mode": self.mode,
            "spacing_mm": space.spacing,
            "size": list(space.written.shape[::-1]),
            "rounds": self.rounds,
            "notes": self.notes,
            "seconds": {"total": self.seconds},
            "models": [model.description(role) for model, role in zip(models, roles, strict=False) if model],
            "versions": {"slsfgr": VERSION, "SimpleITK": sitk.__version__},
            "cases": [*self.failed.values(), *rows.values()],
            "made_from": self.made_from,
        }


class _Stages:
    """The progress of all stages as one.

    :param modes: of the rounds.
    """

    def __init__(self, callback: ProgressCallback | None, modes: Sequence[str]) -> None:
        self._callback = callback
        self._total = sum(SHARES[name] for name in ("align", "average", *modes, "publish"))
        self._before = self._share = 0.0

    def begin(self, share: str, title: str) -> ProgressCallback | None:
        """Begin a stage; return its own callback."""
        self.skip(share)
        before, part = self._before - self._share, self._share
        callback = self._callback
        if callback is None:
            return None
        return lambda fraction, message: callback(before + fraction * part, f"{title}: {message}")

    def skip(self, share: str) -> None:
        """Count a stage that need not be done."""
        self._share = SHARES["average" if share == "affine" else share] / self._total
        self._before += self._share


def _plain(content: dict) -> dict:
    """Return content as it is read from JSON."""
    return json.loads(json.dumps(content))


def _json(path: Path) -> dict | None:
    """Read an object from a JSON file; None if it is not there or not whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _images_of(report: dict | None) -> list[str]:
    """Return the names of the images that the template of a report was made from; none if it is another report."""
    names = (report or {}).get("made_from", {}).get("images", {})
    return [name for name in names if ".." not in Path(name).parts and not Path(name).is_absolute()]


def _box_around(grid: Grid, transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a box around the box of a grid as a transform moves it, with a margin, LPS mm."""
    ends = np.array([[-0.5, size - 0.5] for size in grid.shape])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3)
    points = transform.apply(Affine(grid.matrix).apply(corners))
    return points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM


def _inside(mask: Path, array: np.ndarray, space: GroupSpace) -> np.ndarray:
    """Return the voxels of the brain on the working grid, (D, H, W)."""
    if not mask.is_file():
        return array > BRAIN_INTENSITY
    blank = image_from_array(np.zeros(space.shape, np.uint8), space.working)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    resampled = sitk.Resample(read_image(mask), blank, identity, sitk.sitkNearestNeighbor, 0)
    return sitk.GetArrayFromImage(resampled) > 0


def _move(source: Path, target: Path) -> None:
    """Move an image's results to their place, without what only the template was made from."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.suffix != ".npy" and path.name != RECORD:
            path.replace(target / path.name)
