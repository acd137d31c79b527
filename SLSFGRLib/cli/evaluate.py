"""Judge a transform by label maps of both images: Dice, 95 % surface distance, folding.

Dice and distance are given for each label and as means over labels; folding is the share of labelled fixed
voxels where the transform's Jacobian determinant is not positive.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


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
    found = evaluate(fixed, moving, read_transform(arguments.transform))
    summary = {
        "mean_dice": found.mean_dice,
        "mean_surface_distance_95_mm": found.mean_surface_distance_95,
        "folding_percent": found.folding_percent,
        "log_jacobian_deviation": found.log_jacobian_deviation,
    }
    if arguments.json:
        by_label = {
            str(label): {"dice": dice, "surface_distance_95_mm": found.surface_distance_95.get(label)}
            for label, dice in found.dice.items()
        }
        print(json.dumps(summary | {"labels": by_label}, indent=2))
        return
    print("label     Dice  95 % distance (mm)")
    for label, dice in found.dice.items():
        distance = found.surface_distance_95.get(label)
        print(f"{label:5d}  {dice:7.4f}  " + ("-" if distance is None else f"{distance:.2f}"))
    print(f" mean  {found.mean_dice:7.4f}  {found.mean_surface_distance_95:.2f}")
    print(f"folding in the labelled region: {found.folding_percent:.4f} %")
    print(f"standard deviation of log Jacobian: {found.log_jacobian_deviation:.3f}")
