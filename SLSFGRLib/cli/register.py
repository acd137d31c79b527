"""Register a moving brain image to a fixed one.

Writes into the folder given by --output:
  warped.nii.gz            the moving image on the fixed image's grid
  transform.h5             points of the fixed image to points of the moving image (ITK, LPS, mm)
  inverse_transform.h5     points of the moving image to points of the fixed image
  fixed_labels.nii.gz      the structures of the fixed image; with --moving-labels those labels, carried over
  moving_labels.nii.gz     the structures of the moving image; with --moving-labels those labels as they were given
  report.json report.html  figures and pictures
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.staging import staged_folder
from .console import ConsoleProgress

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..registration.result import RegistrationResult


# Share of the head that must lie where it belongs before registration for the pictures to explain themselves.
LITTLE_OVERLAP = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr register``."""
    parser.add_argument("fixed", type=Path, metavar="FIXED", help="the image that stays as it is")
    parser.add_argument("moving", type=Path, metavar="MOVING", help="the image that is brought to it")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--mode",
        choices=("fast", "standard", "accurate"),
        default="standard",
        help="how long to optimise (default: standard)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--initial-transform",
        type=Path,
        metavar="T",
        help="linear ITK transform of fixed to moving points to start from",
    )
    parser.add_argument("--no-affine", action="store_true", help="do not estimate an affine alignment first")
    parser.add_argument("--moving-labels", type=Path, metavar="L", help="label map of MOVING to carry over")
    parser.add_argument(
        "--model",
        metavar="M",
        help="sl_sfgr for the field of the network that segments, multimodal for contrasts that cannot be compared, "
        "li_fan to let its network learn on this pair, or a model file of slsfgr train",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr register``."""
    from ..evaluation.summary import summary
    from ..io.images import read_image, read_labels
    from ..io.transforms import read_transform
    from ..models.loading import load_model
    from ..registration.pipeline import register

    progress = ConsoleProgress(arguments.quiet)
    fixed, moving = read_image(arguments.fixed), read_image(arguments.moving)
    labels = read_labels(arguments.moving_labels) if arguments.moving_labels else None
    start = read_transform(arguments.initial_transform) if arguments.initial_transform else None
    model = load_model(arguments.model) if arguments.model else None
    with staged_folder(arguments.output) as folder:
        result = register(
            fixed,
            moving,
            arguments.mode,
            arguments.device,
            progress,
            initial_transform=start,
            affine=not arguments.no_affine,
            moving_labels=labels,
            model=model,
        )
        result.report |= {"fixed": str(arguments.fixed), "moving": str(arguments.moving)}
        write_results(result, fixed, moving, folder)
        names = sorted(path.name for path in folder.iterdir())
    progress.say(summary(result.report))
    for name in names:
        print(arguments.output / name)


def write_results(result: RegistrationResult, fixed: sitk.Image, moving: sitk.Image, folder: Path) -> None:
    """Write all files of a registration into a folder."""
    with ThreadPoolExecutor() as pool:
        # SimpleITK writes and compresses on one core; meanwhile the other one draws.
        writing = [pool.submit(write, result, folder) for write in (_write_transforms, _write_images)]
        _write_report(result, fixed, moving, folder)
        for future in writing:
            future.result()


def _write_transforms(result: RegistrationResult, folder: Path) -> None:
    from ..io.transforms import write_transform

    write_transform(result.transform, folder / "transform.h5")
    write_transform(result.inverse_transform, folder / "inverse_transform.h5")


def _write_images(result: RegistrationResult, folder: Path) -> None:
    import SimpleITK as sitk

    from ..io.images import smallest_label_type

    sitk.WriteImage(result.warped, str(folder / "warped.nii.gz"))
    for name in ("fixed_labels", "moving_labels"):
        labels = getattr(result, name)
        if labels is not None:
            sitk.WriteImage(smallest_label_type(labels), str(folder / f"{name}.nii.gz"))


def _write_report(result: RegistrationResult, fixed: sitk.Image, moving: sitk.Image, folder: Path) -> None:
    import SimpleITK as sitk

    from ..report import html_report, overview
    from ..spatial.resampling import resample_image

    before = resample_image(moving, fixed, sitk.Transform(3, sitk.sitkIdentity))
    if _overlap(before, result.warped) < LITTLE_OVERLAP:
        result.report["notes"].append(
            "As stored, the two heads hardly overlap in space; the pictures before show that."
        )
    (folder / "report.json").write_text(json.dumps(result.report, indent=2) + "\n")
    pictures = overview(fixed, before, result.warped, result.transform)
    (folder / "report.html").write_text(html_report(result.report, pictures), encoding="utf-8")


def _overlap(before: sitk.Image, after: sitk.Image) -> float:
    """The share of the registered head's voxels that were tissue before, too."""
    import SimpleITK as sitk

    arrays = [sitk.GetArrayViewFromImage(image) for image in (before, after)]
    tissue = [array > 0.1 * arrays[1].max() for array in arrays]
    return float((tissue[0] & tissue[1]).sum() / max(1, tissue[1].sum()))
