"""Measure how long the Slicer module keeps Slicer's main thread busy: ``python -m benchmarks.main_thread``.

Each step that runs in one go is measured on its own, on random volumes of 256 x 256 x 256 voxels, with Slicer's own
nodes (slicer-core). The most that the module allows itself is 0.3 s.
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
from SLSFGRLib.jobs.job import JobResult, save_job

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Testing" / part) for part in ("", "slicer_extension")]

T = TypeVar("T")
FIELD_SHAPE = (180, 220, 190)  # a box around a brain, at 1 mm


def main() -> None:
    """Print the seconds of each step."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=256, help="voxels along each axis (default: 256)")
    size = arguments.parse_args().size

    from nodes import add_volume
    from stand_ins import slicer_module

    logic = slicer_module.load("SLSFGR").SLSFGRLogic()
    output_nodes = slicer_module.load("SLSFGRModule.output_nodes")
    comparison = slicer_module.load("SLSFGRModule.comparison")
    slicer_module.new_scene()
    generator = np.random.default_rng(0)
    image = sitk.GetImageFromArray(generator.integers(0, 1000, 3 * (size,)).astype(np.int16))
    volumes = add_volume(image, "fixed"), add_volume(image, "moving")
    with tempfile.TemporaryDirectory() as folder:
        job = timed("copy both volumes", lambda: logic.prepareRegistration(*volumes))
        timed("write the job", lambda: save_job(job, Path(folder) / "job"))
        nodes = None
        for run in ("first run", "second run"):
            result_of(image, generator).save(Path(folder) / run)
            *_, result = steps(f"{run}: read part", JobResult.load_in_steps(Path(folder) / run))
            *_, nodes = steps(f"{run}: node", output_nodes.publishInSteps(result, *volumes, nodes))
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


def timed(name: str, work: Callable[[], T]) -> T:
    """Do some work and print how long it took, by the clock and by the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    print(f"{name:28} {time.perf_counter() - clock:6.3f} s, processor {time.process_time() - processor:6.3f} s")
    return result


if __name__ == "__main__":
    main()
