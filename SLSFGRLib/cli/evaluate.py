"""Evaluate a transform with label maps or landmarks of both images.

From label maps: Dice and HD95 (the 95th percentile of the surface distance) for each label and as means over the
labels, and folding, the percentage of labelled fixed voxels where the Jacobian determinant of the transform is not
positive.

From landmarks (.csv, .fcsv, .mrk.json): the target registration error, the distance of each mapped fixed point from its
counterpart in the moving image. Points belong together by their names if both lists have the same ones, else by order.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .console import print_table

if TYPE_CHECKING:
    import SimpleITK as sitk

    from ..evaluation.metrics import Evaluation

SHARED_OPTIONS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr evaluate``."""
    parser.add_argument(
        "fixed_labels", type=Path, nargs="?", metavar="FIXED_LABELS", help="label map of the fixed image"
    )
    parser.add_argument(
        "moving_labels", type=Path, nargs="?", metavar="MOVING_LABELS", help="label map of the moving image"
    )
    parser.add_argument("--fixed-points", type=Path, metavar="P", help="landmarks in the fixed image")
    parser.add_argument("--moving-points", type=Path, metavar="P", help="the same landmarks in the moving image")
    parser.add_argument(
        "--transform", type=Path, required=True, metavar="T", help="ITK transform of fixed to moving points"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr evaluate``."""
    from ..evaluation.metrics import evaluate
    from ..io.images import read_labels
    from ..io.transforms import read_transform

    labels, points = _given(arguments)
    maps = [read_labels(path) for path in labels]
    transform = read_transform(arguments.transform)
    evaluation = evaluate(*maps, transform) if maps else None
    errors = _errors_by_landmark(*points, transform) if points else {}
    if arguments.json:
        figures = _as_json(evaluation) if evaluation else {}
        if errors:
            figures["target_registration_error_mm"] = _summary(errors) | {"landmarks": errors}
        print(json.dumps(figures, indent=2))
        return
    if evaluation:
        _print(evaluation)
    if errors:
        _print_errors(errors)


def _given(arguments: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Return the paths of the label maps and of the landmarks; each pair may be left out, but not both.

    :raises InputError: one of a pair is missing, or everything.
    """
    labels = [path for path in (arguments.fixed_labels, arguments.moving_labels) if path]
    points = [path for path in (arguments.fixed_points, arguments.moving_points) if path]
    if len(labels) == 1 or len(points) == 1 or not labels + points:
        raise InputError("give two label maps, or --fixed-points with --moving-points.")
    return labels, points


def _errors_by_landmark(fixed: Path, moving: Path, transform: sitk.Transform) -> dict[str, float]:
    """Return the target registration error in mm of each landmark by its name."""
    from ..evaluation.metrics import target_registration_errors
    from ..io.points import paired_points

    names, *positions = paired_points(fixed, moving)
    return dict(zip(names, target_registration_errors(*positions, transform).tolist(), strict=True))


def _summary(errors: dict[str, float]) -> dict[str, float]:
    return {"mean": sum(errors.values()) / len(errors), "max": max(errors.values())}


def _as_json(evaluation: Evaluation) -> dict:
    return {
        "mean_dice": evaluation.mean_dice,
        "mean_surface_distance_95_mm": evaluation.mean_surface_distance_95,
        "folding_percent": evaluation.folding_percent,
        "log_jacobian_deviation": evaluation.log_jacobian_deviation,
        "labels": {
            str(label): {"dice": dice, "surface_distance_95_mm": evaluation.surface_distance_95.get(label)}
            for label, dice in evaluation.dice.items()
        },
    }


def _print(evaluation: Evaluation) -> None:
    distances = {label: f"{distance:.2f}" for label, distance in evaluation.surface_distance_95.items()}
    print_table(
        ("label", "Dice", "HD95 (mm)"),
        [(str(label), f"{dice:.4f}", distances.get(label, "-")) for label, dice in evaluation.dice.items()],
        ("mean", f"{evaluation.mean_dice:.4f}", f"{evaluation.mean_surface_distance_95:.2f}"),
    )
    print(f"folding in the labelled region: {evaluation.folding_percent:.4f} %")
    print(f"standard deviation of the log Jacobian determinant: {evaluation.log_jacobian_deviation:.3f}")


def _print_errors(errors: dict[str, float]) -> None:
    found = _summary(errors)
    print_table(
        ("landmark", "target registration error (mm)"),
        [(name, f"{error:.2f}") for name, error in errors.items()],
        ("mean", f"{found['mean']:.2f}"),
    )
    print(f"largest target registration error: {found['max']:.2f} mm")
