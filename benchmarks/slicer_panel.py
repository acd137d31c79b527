"""Measure how long the panel keeps its user waiting, beyond the engine: ``python -m benchmarks.slicer_panel``.

Drives the real panel on two real brains at 1 mm with the real engine in a child process, and prints seconds of the
clock and of the processor. On a busy machine only the latter can be relied on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from .data import ROOT, TEN_PAIRS, pair_of_brains

sys.path.insert(0, str(ROOT / "Testing" / "slicer_extension"))

import SimpleITK as sitk
import slicer
from nodes import add_volume
from stand_ins import slicer_module

module = slicer_module.load("SLSFGR")
Run = slicer_module.load("SLSFGRModule.run").Run

MODES = ("fast", "standard", "accurate")
WORKER_LOADS = 20.0  # seconds in which the waiting process loads torch


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--mode", default="fast", choices=MODES)
    pair = pair_of_brains(TEN_PAIRS[0])
    slicer_module.new_scene()
    widget = module.SLSFGRWidget()
    report("panel opens", *timed(widget.setup))
    widget.ui.modeComboBox.currentIndex = MODES.index(parser.parse_args().mode)
    for path, selector in ((pair.fixed, widget.ui.fixedVolumeSelector), (pair.moving, widget.ui.movingVolumeSelector)):
        selector.setCurrentNode(add_volume(sitk.ReadImage(str(path)), path.name))
    measure_cancel(widget)
    for name in ("first run", "second run, updating the nodes"):
        measure_run(widget, name)
    widget.cleanup()


def measure_cancel(widget: object) -> None:
    """Cancel in the middle and report the time until the process is gone and the panel ready."""
    widget.ui.registerButton._object.click()
    process_events(until=lambda: widget.ui.progressBar.value > 0)
    process_events(seconds=2.0)
    widget.ui.registerButton._object.click()
    report("Cancel, until the process is gone", *timed(lambda: wait_for_end(widget)))


def measure_run(widget: object, name: str) -> None:
    """Register once and report the panel's share of the time, which is what remains without the engine's."""
    process_events(seconds=WORKER_LOADS)
    on_published, poll, reports, polls = widget.onPublished, Run.poll, [], []

    def note_report(nodes: object, pair: object) -> None:
        reports.append(nodes.report)
        on_published(nodes, pair)

    widget.onPublished = note_report
    Run.poll = lambda run: polls.append(timed(lambda: poll(run)))
    pressed = timed(widget.ui.registerButton._object.click)
    waited, processor = timed(lambda: wait_for_end(widget))
    widget.onPublished, Run.poll = on_published, poll
    if not reports:
        sys.exit(widget.ui.statusLabel.text)
    print(f"\n{name}: {widget.ui.resultLabel.text}")
    report("  press, until the panel answers again", *pressed)
    report("  longest call of the timer", *max(polls, key=lambda seconds: seconds[1]))
    whole = pressed[0] + waited
    report("  from the press to nodes, engine left out", whole - reports[0]["seconds"]["total"], processor)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the clock and of this process's processor that some work takes."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def wait_for_end(widget: object) -> None:
    """Process events until the panel is ready for another run."""
    process_events(until=lambda: widget.ui.registerButton.text == "Register")


def process_events(seconds: float = 3600.0, until: Callable[[], bool] = lambda: False) -> None:
    """Process the panel's events for some seconds, or until a condition holds."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and not until():
        slicer.app.processEvents()
        time.sleep(0.005)


def report(name: str, clock: float, processor: float) -> None:
    """Print a line of the table."""
    print(f"{name:<50} {clock:6.2f} s, {processor:6.2f} s of the processor")


if __name__ == "__main__":
    main()
