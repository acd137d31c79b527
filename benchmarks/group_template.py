"""Build a group template of real brains at 2 mm, and compare labels in its space with pairwise registration.

``python -m benchmarks.group_template FOLDER`` reduces brains of ../shared/data/malc to 2 mm, runs ``slsfgr template``
on them, and prints its sharpness. For those of the ten pairs that are in the group it prints the mean Dice of all
manual labels of two brains: after affine registration alone, in the space of the template, and after registering one to
the other directly. What is there already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import SLSFGRLib
from SLSFGRLib.evaluation.metrics import dice_by_label
from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.io.transforms import read_transform, transform_parts
from SLSFGRLib.spatial.affine import Affine

from .data import BRAINS, TEN_PAIRS
from .image_variants import write
from .processes import timed

FACTOR = 2
Warp = Callable[[str], sitk.Image]


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for brains and results")
    parser.add_argument("--brains", type=int, default=10)
    parser.add_argument("--pairs", type=int, help="only so many of the pairs")
    parser.add_argument("--mode", default="standard")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    names = sorted({name for pair in TEN_PAIRS for name in pair.split("-")})[: arguments.brains]
    images = {name: reduced(name, arguments.folder / "brains") for name in names}
    template = built(images, arguments.folder, arguments.mode, arguments.threads)
    print_rounds(json.loads((template / "report.json").read_text(encoding="utf-8")))
    pairs = [pair.split("-") for pair in TEN_PAIRS if set(pair.split("-")) <= set(names)]
    print_dice(pairs[: arguments.pairs], arguments.folder, template, arguments.mode)


def reduced(name: str, folder: Path) -> Path:
    """Write a brain and its labels at half of the resolution, unless that was done; return the brain's path."""
    path, labels = folder / f"{name}_t1.nii.gz", folder / f"{name}_labels.nii.gz"
    if not (path.exists() and labels.exists()):
        image = sitk.BinShrink(sitk.ReadImage(str(BRAINS / path.name), sitk.sitkFloat32), [FACTOR] * 3)
        given = read_labels(BRAINS / labels.name)
        write(sitk.Resample(given, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt16), labels)
        write(image, path)
    return path


def built(images: dict[str, Path], folder: Path, mode: str, threads: int) -> Path:
    """Run the command; return the folder of the template."""
    output, table = folder / "template", folder / "brains.csv"
    lines = [f"{path.resolve()},{name}\n" for name, path in images.items()]
    table.write_text("image,name\n" + "".join(lines), encoding="utf-8")
    words = ["template", str(table), "--output", str(output), "--mode", mode, "--device", "cpu"]
    with (folder / "template.log").open("w") as log:
        costs = timed([sys.executable, "-m", "SLSFGRLib", *words, "--threads", str(threads)], log, threads)
    print(", ".join(f"{name} {value:.1f}" for name, value in costs.items()))
    return output


def print_rounds(report: dict) -> None:
    """Print the sharpness of each average relative to the first, and the mean displacements."""
    first = report["rounds"][0]["sharpness"]
    for of_round in report["rounds"]:
        shift = of_round["mean_displacement_mm"]
        shown = "" if shift is None else f", mean displacement {shift:.3f} mm"
        print(f"round {of_round['round']} ({of_round['mode']}): sharpness {of_round['sharpness'] / first:.3f}{shown}")
    print(f"template {report['sharpness'] / first:.3f}, one image {report['sharpness_of_one_image'] / first:.3f}")


def print_dice(pairs: list[list[str]], folder: Path, template: Path, mode: str) -> None:
    """Print the mean Dice of the manual labels of each pair in three ways."""
    space = read_image(template / "template.nii.gz")

    def labels(name: str) -> sitk.Image:
        return read_labels(folder / "brains" / f"{name}_labels.nii.gz")

    def deformed(name: str) -> sitk.Image:
        return SLSFGRLib.warp_labels(labels(name), _transform(template, name), space)

    def affine(name: str) -> sitk.Image:
        return SLSFGRLib.warp_labels(labels(name), linear_part(_transform(template, name)).to_itk(), space)

    print("pair: affine, in the template's space, direct")
    figures = []
    for pair in pairs:
        figures.append((_between(pair, affine), _between(pair, deformed), _direct(pair, folder, labels, mode)))
        print(f"{'-'.join(pair)}: {', '.join(f'{value:.3f}' for value in figures[-1])}", flush=True)
    print(f"mean: {', '.join(f'{value:.3f}' for value in np.mean(figures, axis=0))}")


def linear_part(transform: sitk.Transform) -> Affine:
    """Return a transform without its displacement field."""
    parts = [part for part in transform_parts(transform) if isinstance(part, np.ndarray)]
    affines = [Affine.from_parts(part[:, :3], part[:, 3]) for part in parts]
    return reduce(Affine.then, affines[::-1])


def _transform(template: Path, name: str) -> sitk.Transform:
    return read_transform(template / "cases" / name / "transform.h5")


def _between(pair: list[str], warp: Warp) -> float:
    """Return the mean Dice of the labels of two brains that are warped to one space."""
    one, other = (sitk.GetArrayFromImage(warp(name)) for name in pair)
    return float(np.mean(list(dice_by_label(one, other).values())))


def _direct(pair: list[str], folder: Path, labels: Warp, mode: str) -> float:
    """Register the second brain of a pair to the first, unless that was done; return the mean Dice."""
    path = folder / "direct" / f"{'-'.join(pair)}.h5"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        images = [read_image(folder / "brains" / f"{name}_t1.nii.gz") for name in pair]
        result = SLSFGRLib.register(*images, mode, "cpu", transform="deformable")
        sitk.WriteTransform(result.transform, str(path))
    fixed, moving = map(labels, pair)
    return SLSFGRLib.evaluate(fixed, moving, read_transform(path)).mean_dice


if __name__ == "__main__":
    main()
