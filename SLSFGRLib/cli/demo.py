"""Register a template brain with a deformed copy in another contrast, and report the recovery error.

Uses the MNI152 template bundled with the package nilearn; nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..io.staging import staged_folder
from ..modes import DEFORMABLE
from .console import ConsoleProgress

if TYPE_CHECKING:
    import numpy as np
    import SimpleITK as sitk

    from ..registration.result import RegistrationResult
    from .demo_pair import DemoPair

SHARED_OPTIONS = ("mode", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr demo``."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="folder for the results (default: demo-output)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr demo``."""
    import SimpleITK as sitk

    from ..io.images import write_image
    from ..registration.pipeline import register
    from ..report.results import write_results
    from .demo_pair import make_pair

    pair = make_pair()
    with staged_folder(arguments.output) as folder, ConsoleProgress(arguments.quiet) as progress:
        write_image(pair.fixed, folder / "fixed.nii.gz")
        write_image(pair.moving, folder / "moving.nii.gz")
        result = register(pair.fixed, pair.moving, arguments.mode, arguments.device, progress, transform=DEFORMABLE)
        names = {"fixed_name": "MNI152 T1 template", "moving_name": "deformed copy with T2-like contrast"}
        write_results(result, pair.fixed, pair.moving, folder, **names)
        before, after = pair.error(sitk.Transform(3, sitk.sitkIdentity)), pair.error(result.transform)
        _draw(pair, result, before, after, folder / "demo.png")
    _print_summary(pair, result, before, after)
    print(f"Picture: {arguments.output / 'demo.png'}   Report: {arguments.output / 'report.html'}")


def _print_summary(pair: DemoPair, result: RegistrationResult, before: np.ndarray, after: np.ndarray) -> None:
    """Print the recovery error, Dice, folding and time."""
    import SimpleITK as sitk

    start, end = (_dice(pair, transform) for transform in (sitk.Transform(3, sitk.sitkIdentity), result.transform))
    names = {1: "cerebrospinal fluid", 2: "grey matter", 3: "white matter"}
    brain = after > 0
    print("Registered a T1 template with a deformed and rotated copy of itself with T2-like contrast.")
    print(
        f"  mean error against the known deformation, in the brain: {before[brain].mean():.1f} mm before, "
        f"{after[brain].mean():.2f} mm after"
    )
    for label, name in names.items():
        print(f"  Dice, {name}: {start.get(label, 0.0):.3f} before, {end.get(label, 0.0):.3f} after")
    print(
        f"  folding: {result.report['folding_percent']:.4f} %   time: {result.report['seconds']['total']:.1f} s "
        f"on {result.report['device']}"
    )


def _dice(pair: DemoPair, transform: sitk.Transform) -> dict[int, float]:
    """Return the Dice coefficient of each tissue."""
    import SimpleITK as sitk

    from ..evaluation.metrics import dice_by_label
    from ..spatial.label_resampling import warp_labels

    maps = pair.fixed_labels, warp_labels(pair.moving_labels, transform, pair.fixed_labels)
    return dice_by_label(*(sitk.GetArrayViewFromImage(labels) for labels in maps))


def _draw(pair: DemoPair, result: RegistrationResult, before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Draw the two images, the warped image, and the error before and after registration."""
    import SimpleITK as sitk

    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InputError(
            "the demo needs the package matplotlib; install it with: pip install 'slsfgr[demo]'."
        ) from error
    images = [sitk.GetArrayViewFromImage(image) for image in (pair.fixed, pair.moving, result.warped)]
    titles = ("fixed", "moving", "warped")
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    axes = figure.subplots(2, 5)
    middle = [size // 2 for size in images[0].shape]
    for row, cut in enumerate((lambda array: array[middle[0]], lambda array: array[:, middle[1]])):
        for column, image in enumerate(images):
            axes[row, column].imshow(cut(image), cmap="gray", origin="lower" if row else "upper")
        for column, error in ((3, before), (4, after)):
            shown = axes[row, column].imshow(
                cut(error), cmap="magma", vmax=3.0 if column == 4 else None, origin="lower" if row else "upper"
            )
            figure.colorbar(shown, ax=axes[row, column], shrink=0.8)
    brain = after > 0
    errors = [
        f"error before (mm)\nmean {before[brain].mean():.1f}",
        f"error after (mm)\nmean {after[brain].mean():.2f}",
    ]
    for column, title in enumerate((*titles, *errors)):
        axes[0, column].set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)
