"""Evaluate a transform with label maps of both images: Dice, HD95, folding.

Dice and HD95 (the 95th percentile of the surface distance) are given for each label and as means over the labels.
Folding is the percentage of labelled fixed voxels where the Jacobian determinant of the transform is not positive.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .console import print_table

if TYPE_CHECKING:
    from ..evaluation.metrics import Evaluation

SHARED_OPTIONS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr evaluate``."""
    parser.add_argument("fixed_labels", type=Path, metavar="FIXED_LABELS", help="label map of the fixed image")
    parser.add_argument("moving_labels", type=Path, metavar="MOVING_LABELS", help="label map of the moving image")
    parser.add_argument(
        "--transform", type=Path, required=True, metavar="T", help="ITK transform of fixed to moving points"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr evaluate``."""
    from ..evaluation.metrics import evaluate
    from ..io.images import read_labels
    from ..io.transforms import read_transform

    fixed, moving = read_labels(arguments.fixed_labels), read_labels(arguments.moving_labels)
    evaluation = evaluate(fixed, moving, read_transform(arguments.transform))
    if arguments.json:
        print(json.dumps(_as_json(evaluation), indent=2))
    else:
        _print(evaluation)


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
