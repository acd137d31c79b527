"""Apply a transform to an image, a label map or a list of points.

Images and label maps are resampled on the grid of --reference. With transform.h5, INPUT lies in the space of the
moving image and --reference is the fixed image; with inverse_transform.h5 it is the other way round.

Points (.csv, .fcsv, .mrk.json) are mapped in the opposite direction, as in every program based on ITK: transform.h5
maps points of the fixed image to the moving image, inverse_transform.h5 points of the moving image to the fixed image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from ..io.staging import staged_file

SHARED_OPTIONS = ()
INTERPOLATIONS = ("linear", "nearest", "bspline", "sinc")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr apply``."""
    parser.add_argument("transform", type=Path, metavar="TRANSFORM", help="ITK transform file")
    parser.add_argument("input", type=Path, metavar="INPUT", help="image, label map or point list")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="file to write")
    parser.add_argument("--reference", type=Path, metavar="IMAGE", help="image that defines the grid of the output")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--labels", action="store_true", help="INPUT is a label map: keep its exact values")
    how.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="linear",
        help="of an image: bspline (cubic) and sinc (windowed) blur less than linear, and may go beyond the image's "
        "values at sharp edges (default: linear)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr apply``."""
    from ..io.points import is_point_list
    from ..io.transforms import read_transform

    transform = read_transform(arguments.transform)
    if is_point_list(arguments.input):
        _apply_to_points(arguments, transform)
    elif arguments.reference is None:
        raise InputError(f"{arguments.input}: an image needs --reference, the image that defines the output's grid.")
    else:
        _apply_to_image(arguments, transform)
    print(arguments.output)


def _apply_to_points(arguments: argparse.Namespace, transform: object) -> None:
    from ..io.points import read_points
    from ..spatial.grid import moved_points

    points = read_points(arguments.input)
    with staged_file(arguments.output) as path:
        points.with_positions(moved_points(transform, points.positions)).write(path)


def _apply_to_image(arguments: argparse.Namespace, transform: object) -> None:
    from ..io.images import read_image, read_labels, smallest_label_type, write_image
    from ..spatial.label_resampling import warp_labels
    from ..spatial.resampling import resample_image

    reference = read_image(arguments.reference)
    if arguments.labels:
        result = smallest_label_type(warp_labels(read_labels(arguments.input), transform, reference))
    else:
        result = resample_image(read_image(arguments.input), reference, transform, arguments.interpolation)
    with staged_file(arguments.output) as path:
        write_image(result, path)
