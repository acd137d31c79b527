"""Register a moving brain image to a fixed one.

Writes into the folder given by --output:
  warped.nii.gz            the moving image on the fixed image's grid
  transform.h5             maps points of the fixed image to points of the moving image (ITK, LPS, mm); linear for
                           --transform rigid or affine
  inverse_transform.h5     its inverse: maps points of the moving image to points of the fixed image
  fixed_labels.nii.gz      the structures of the fixed image; with --moving-labels that label map, warped
  moving_labels.nii.gz     the structures of the moving image; with --moving-labels that label map, unchanged
  jacobian.nii.gz          with --jacobian: the Jacobian determinant of the transform at each voxel of the fixed image,
                           above 1 where the moving image shows a larger volume
  report.json report.html  measurements, and a page with pictures
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..io.staging import staged_folder
from ..runtime.process import load_torch_without_compiler
from .console import ConsoleProgress

SHARED_OPTIONS = ("transform", "mode", "device", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr register``."""
    parser.add_argument(
        "fixed", type=Path, metavar="FIXED", help="the image that stays in place, or mni152: the bundled standard brain"
    )
    parser.add_argument("moving", type=Path, metavar="MOVING", help="the image that is warped onto FIXED")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--initial-transform",
        type=Path,
        metavar="T",
        help="linear ITK transform of fixed to moving points to start from",
    )
    parser.add_argument("--no-affine", action="store_true", help="skip the affine registration")
    parser.add_argument("--jacobian", action="store_true", help="also write an image of the local change of volume")
    parser.add_argument("--moving-labels", type=Path, metavar="L", help="label map of MOVING to warp onto FIXED")
    for image in ("fixed", "moving"):
        parser.add_argument(
            f"--{image}-mask", type=Path, metavar="M", help=f"compare only these voxels of {image.upper()}; on any grid"
        )
        parser.add_argument(
            f"--{image}-lesion",
            type=Path,
            metavar="L",
            help=f"what {image.upper()} shows here has no counterpart, such as a tumour: it is not compared. Between "
            "two people the other side of the brain stands in for it, otherwise the deformation continues through it",
        )
    parser.add_argument(
        "--model",
        metavar="M",
        help="network that gives the displacement field: sl_sfgr (bundled; it also segments), multimodal (bundled; for "
        "contrasts that cannot be compared, such as MRI and ultrasound), li_fan (instance optimisation without "
        "pretraining), or a model file of slsfgr train (default: no network, the field is optimised directly)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr register``."""
    from ..evaluation.summary import summary
    from ..io.images import read_image, read_labels, write_image
    from ..io.resources import MULTIMODAL, SEGMENTATION_MODEL, image_path
    from ..io.transforms import read_transform
    from ..jobs.job import REGIONS

    # Loading torch takes a second of one core; meanwhile the other one reads.
    with ThreadPoolExecutor(max_workers=1) as pool:
        images = pool.map(read_image, (image_path(arguments.fixed), arguments.moving))
        # Another model may be trained further on the pair.
        if arguments.model in (None, SEGMENTATION_MODEL, MULTIMODAL):
            load_torch_without_compiler()
        from ..evaluation.metrics import jacobian_image
        from ..models.loading import load_model
        from ..registration.pipeline import register
        from ..report.results import write_results
    fixed, moving = images
    labels = read_labels(arguments.moving_labels) if arguments.moving_labels else None
    start = read_transform(arguments.initial_transform) if arguments.initial_transform else None
    model = load_model(arguments.model) if arguments.model else None
    paths = {name: getattr(arguments, name) for name in REGIONS}
    regions = {name: read_image(path) for name, path in paths.items() if path}
    with staged_folder(arguments.output) as folder, ConsoleProgress(arguments.quiet) as progress:
        result = register(
            fixed,
            moving,
            arguments.mode,
            arguments.device,
            progress,
            transform=arguments.transform,
            initial_transform=start,
            affine=not arguments.no_affine,
            moving_labels=labels,
            model=model,
            **regions,
        )
        report = write_results(
            result, fixed, moving, folder, fixed_name=str(arguments.fixed), moving_name=str(arguments.moving)
        )
        if arguments.jacobian:
            write_image(jacobian_image(result.transform, fixed), folder / "jacobian.nii.gz")
        names = sorted(path.name for path in folder.iterdir())
    progress.say(summary(report))
    for name in names:
        print(arguments.output / name)
