"""How long the panel keeps its user waiting, beyond the engine: ``python Testing/benchmarks/slicer_panel.py``.

Drives the real panel on two real brains at 1 mm with the true engine in a true child process, and prints seconds of
the clock and of the processor. On a machine that does other work, too, only those of the processor tell much.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slicer_extension"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import SimpleITK as sitk
import slicer
from nodes import add_volume
from stand_ins import slicer_module

module = slicer_module.load("SLSFGR")

BRAINS = Path(__file__).resolve().parents[3] / "shared" / "data" / "malc"
WORKER_LOADS = 20.0  # seconds in which the process that stands by has loaded torch, while a user still looks


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    for role, default in (("fixed", "1000_t1.nii.gz"), ("moving", "1001_t1.nii.gz")):
        parser.add_argument(role, nargs="?", type=Path, default=BRAINS / default)
    parser.add_argument("--mode", default="fast", choices=("fast", "standard", "accurate"))
    arguments = parser.parse_args()
    slicer_module.new_scene()
    widget = module.SLSFGRWidget()
    report("panel opens", *timed(widget.setup))
    volumes = [add_volume(sitk.ReadImage(str(path)), path.name) for path in (arguments.fixed, arguments.moving)]
    widget.ui.modeComboBox.currentIndex = ("fast", "standard", "accurate").index(arguments.mode)
    widget.ui.fixedVolumeSelector.setCurrentNode(volumes[0])
    widget.ui.movingVolumeSelector.setCurrentNode(volumes[1])
    measure_cancel(widget)
    for name in ("first run", "second run, updating the nodes"):
        measure_run(widget, name)
    widget.cleanup()


def measure_run(widget: object, name: str) -> None:
    """Register once; what is left of the time without the engine's own is the panel's."""
    let_live(WORKER_LOADS)
    published = instrumented(widget, "_publish")
    begin = time.perf_counter()
    pressed = timed(widget.ui.registerButton._object.click)
    let_live(3600.0, until=lambda: widget.ui.registerButton.text == "Register")
    clock = time.perf_counter() - begin
    if not published:
        sys.exit(widget.ui.statusLabel.text)
    outcome = published.pop()
    print(f"\n{name}: {widget.ui.resultLabel.text}")
    report("  press, until the panel answers again", *pressed)
    report("  publishing into the scene", *outcome)
    engine = widget.engineSeconds
    print(f"{'  from the press to nodes, engine left out':<50} {clock - engine:6.2f} s of {clock:.1f} s")


def measure_cancel(widget: object) -> None:
    """Cancel in the middle; the time until the process is gone and the panel ready."""
    widget.ui.registerButton._object.click()
    let_live(3600.0, until=lambda: widget.ui.progressBar.value > 0)
    let_live(2.0)
    begin = time.perf_counter()
    widget.ui.registerButton._object.click()
    let_live(60.0, until=lambda: widget.ui.registerButton.text == "Register")
    report("Cancel, until the process is gone", time.perf_counter() - begin, float("nan"))


def instrumented(widget: object, name: str) -> list[tuple[float, float]]:
    """Have a method's time put into a list, and the engine's own seconds kept."""
    method, taken = getattr(type(widget), name).__get__(widget), []

    def wrapped(result: object) -> None:
        widget.engineSeconds = result.report["seconds"]["total"]
        taken.append(timed(lambda: method(result)))

    setattr(widget, name, wrapped)
    return taken


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of this process's processor that some work takes."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def let_live(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the panel live for some seconds, or until something is so."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and not until():
        slicer.app.processEvents()
        time.sleep(0.005)


def report(name: str, clock: float, processor: float) -> None:
    """Print a line of the table."""
    print(f"{name:<50} {clock:6.2f} s, {processor:6.2f} s of the processor")


if __name__ == "__main__":
    main()
