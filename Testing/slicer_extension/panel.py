"""The panel as a user drives it: the real .ui and widget, drawn by Qt without a screen, and real child processes."""

import sys
import time
from pathlib import Path

import slicer
from nodes import add_volume
from phantoms import affine_matrix, empty_image, half_head, head_image
from stand_ins import slicer_module

from SLSFGRLib.jobs.process import JobRunner

SLSFGRWidget = slicer_module.load("SLSFGR").SLSFGRWidget

FOLDER = Path(__file__).resolve().parent


class RecordingRunner(JobRunner):
    """Runs ``panel_workers.py`` instead of the library's worker, and records the jobs."""

    def __init__(self, how):
        super().__init__(slicer.app.temporaryPath, worker_command(how))
        self.jobs = []

    def start(self, job, *callbacks):
        self.jobs.append(job)
        super().start(job, *callbacks)


class FakeInstaller:
    """Stands for PyTorch and its extension."""

    def __init__(self):
        self.installed, self.extension, self.agrees, self.asked = True, True, True, 0
        self.while_installing = lambda: None

    def isInstalled(self):  # noqa: N802 - the names are the module's
        return self.installed

    def canInstall(self):  # noqa: N802
        return self.extension

    def install(self):
        self.asked += 1
        # Slicer handles events after each line that pip prints, so that users can press what is not disabled.
        for _ in range(3):
            slicer.app.processEvents()
            self.while_installing()
        self.installed = self.agrees

    def reasonNotToCompute(self):  # noqa: N802
        return "" if self.installed else "PyTorch is missing."


def open_panel(installer=None):
    widget = SLSFGRWidget(runner=RecordingRunner("finish"), installer=installer or FakeInstaller())
    slicer_module.open_widget(widget)
    widget.parent.window.resize(420, 760)
    widget.parent.window.show()
    return widget


def worker_command(how):
    return [sys.executable, str(FOLDER / "panel_workers.py"), how]


def use_worker(widget, how):
    widget.exit()  # ends the standby process
    widget.runner.command = worker_command(how)
    widget.enter()


def reopen(widget):
    """Go to another module and back."""
    widget.exit()
    widget.enter()


def small_head(shift=0.0, spacing=7.0):
    image = empty_image((24, 28, 26), spacing=(spacing,) * 3, centre=(3, -4, 5))
    return head_image(image, affine_matrix(shift=(shift, 0.0, 0.0)))[0]


def choose_volumes(widget, images=None):
    """Select two volumes 5 mm apart.

    :param images: these, in place of small heads.
    """
    images = images or (small_head(), small_head(-5.0))
    volumes = [add_volume(image, name) for image, name in zip(images, ("T1 2024", "T1 2026"), strict=True)]
    widget.ui.fixedVolumeSelector.setCurrentNode(volumes[0])
    widget.ui.movingVolumeSelector.setCurrentNode(volumes[1])
    return volumes


def choose_half_heads(widget):
    """As :func:`choose_volumes`, for the library itself, which resamples images to 1 mm."""
    return choose_volumes(widget, (half_head(), half_head((-5.0, 0.0, 0.0))))


def press(button):
    """As the mouse does: a button that is disabled or hidden does nothing."""
    assert button.visible
    button._object.click()


def wait_until(condition, seconds=300):
    end = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < end, "timed out"
        slicer.app.processEvents()
        time.sleep(0.005)


def run_to_the_end(widget, button=None):
    press(button or widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register")


def begin(widget):
    press(widget.ui.registerButton)
    wait_until(lambda: "Deforming" in widget.ui.progressBar.format)


def nodes_of_scene():
    """Return the names of the nodes that a user sees in the data tree."""
    nodes = (slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes()))
    shown = [node for node in nodes if node.IsA("vtkMRMLDisplayableNode") or node.IsA("vtkMRMLTableNode")]
    return {node.GetName() for node in shown if not node.GetHideFromEditors()}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def worker_of(folder):
    return int(next(Path(folder).glob("SLSFGR-*/pid")).read_text())
