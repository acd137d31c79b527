"""Measure how long the Slicer module keeps Slicer's main thread busy: ``python -m benchmarks.main_thread``.

Each step that runs in one go is measured on its own, on random volumes with Slicer's own nodes (slicer-core), and the
temporary files of a run are weighed. The most that the module allows itself is 0.3 s, for 256 x 256 x 256 voxels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs.job import JobResult, save_job_in_steps

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Testing" / part) for part in ("", "slicer_extension")]

T = TypeVar("T")
FIELD_SHAPE = (180, 220, 190)  # a box around a brain, at 1 mm


def main() -> None:
    """Print the seconds of each step."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, nargs=3, default=(256, 256, 256), help="voxels along each axis")
    arguments.add_argument("--type", default="int16", help="of a voxel, such as float64 (default: int16)")
    options = arguments.parse_args()

    from nodes import add_volume
    from stand_ins import slicer_module

    logic = slicer_module.load("SLSFGR").SLSFGRLogic()
    output_nodes = slicer_module.load("SLSFGRModule.output_nodes")
    comparison = slicer_module.load("SLSFGRModule.comparison")
    slicer_module.new_scene()
    generator = np.random.default_rng(0)
    voxels = generator.integers(0, 1000, options.size[::-1], dtype=np.int16)
    image = sitk.GetImageFromArray(voxels.astype(options.type))
    volumes = add_volume(image, "fixed"), add_volume(image, "moving")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        *_, job = steps("prepare the job", logic.prepareRegistrationInSteps(*volumes))
        longest("write a piece of the job", save_job_in_steps(job, folder / "job"))
        weigh("the job", folder / "job")
        nodes = None
        for run in ("first run", "second run"):
            result_of(image, generator).save(folder / run)
            result = longest(f"{run}: read a piece", JobResult.load_in_steps(folder / run))
            *_, nodes = steps(f"{run}: node", output_nodes.publishInSteps(result, *volumes, nodes))
        weigh("the result", folder / run)
    apply_transform = slicer_module.load("SLSFGRModule.apply_transform")
    direction = nodes.transformNode, nodes.inverseTransformNode, volumes[0]
    for node in (volumes[1], nodes.movingSegmentationNode):
        longest(f"apply to a {node.GetName()}", apply_transform.applyTransformInSteps(node, *direction))
    timed("show", lambda: comparison.showComparison(volumes[0], nodes.warpedVolumeNode, 0.5, False))
    timed("checkerboard", lambda: comparison.makeCheckerboard(volumes[0], nodes.warpedVolumeNode))


def result_of(image: sitk.Image, generator: np.random.Generator) -> JobResult:
    """Return a result with deformations, of all 30 structures."""
    transforms = []
    for _ in range(2):
        field = generator.normal(size=(*FIELD_SHAPE, 3))
        displacement = sitk.DisplacementFieldTransform(sitk.GetImageFromArray(field, isVector=True))
        transforms.append(sitk.CompositeTransform([sitk.AffineTransform(3), displacement]))
    structures = read_label_table()
    numbers = np.array([structure.number for structure in structures], dtype=np.uint16)
    slices = numbers[np.arange(image.GetSize()[2]) % len(numbers)]
    labels = np.broadcast_to(slices[:, None, None], image.GetSize()[::-1]).copy()
    label_map = sitk.GetImageFromArray(labels)
    volumes = {structure.name: 1.0 for structure in structures}
    report = {"volumes_ml": {"fixed": volumes, "moving": volumes}}
    return JobResult(image, *transforms, label_map, label_map, None, report, page="x" * 1_500_000)


def steps(name: str, generator: Iterator[T]) -> Iterator[T]:
    """Measure each step of a generator."""
    for number in range(1, 100):
        try:
            yield timed(f"{name} {number}", lambda: next(generator))
        except StopIteration:
            return


def longest(name: str, generator: Iterator[T]) -> T | None:
    """Print how many steps a generator takes, and how long the longest takes; return the last value."""
    seconds, value = [], None
    while True:
        clock, processor = time.perf_counter(), time.process_time()
        try:
            value = next(generator)
        except StopIteration:
            break
        finally:
            seconds.append((time.perf_counter() - clock, time.process_time() - processor))
    print_seconds(f"{name}, longest of {len(seconds)}", *max(seconds, key=lambda both: both[1]))
    return value


def weigh(name: str, folder: Path) -> None:
    """Print the room that a folder takes."""
    print(f"{name}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.0f} MB in temporary files")


def timed(name: str, work: Callable[[], T]) -> T:
    """Do some work and print how long it took, by the clock and by the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    print_seconds(name, time.perf_counter() - clock, time.process_time() - processor)
    return result


def print_seconds(name: str, clock: float, processor: float) -> None:
    """Print a line of the table."""
    print(f"{name:45} {clock:6.3f} s, processor {processor:6.3f} s")


if __name__ == "__main__":
    main()
