"""Make the pictures of the panel and of the views for the documentation: ``python tools/screenshots.py``.

The script drives the real panel as a user does, on the demo's pair of brains: the MNI152 template and the same brain
with a known deformation and another contrast. Slicer's own slice logic and displayable managers draw the views from
the nodes that the module made. It needs no screen and takes some minutes.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Testing" / "slicer_extension"))

import numpy as np
import slicer
from nodes import add_volume
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from rendering import render_in_3d, render_slice
from stand_ins import slicer_module

from SLSFGRLib.cli.demo_pair import make_pair
from SLSFGRLib.io.resources import can_segment

SLSFGRWidget = slicer_module.load("SLSFGR").SLSFGRWidget

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "Resources" / "Screenshots"
WORKERS = [sys.executable, str(REPOSITORY / "Testing" / "slicer_extension" / "panel_workers.py")]
PANEL = (400, 800)
DEFORMABLE = 3  # in the list of transforms
SLICE = 222
FIELD_OF_VIEW = 205.0  # mm
GAP = 10
TITLE_HEIGHT = 26
CENTER = (0.0, -18.0, 12.0)
ORIENTATIONS = {"Axial": 10.0, "Coronal": -20.0, "Sagittal": 12.0}  # offset of each slice in mm, RAS


def main() -> None:
    """Drive the panel through its states and save the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    scene = slicer_module.new_scene()
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    widget = slicer_module.open_widget(SLSFGRWidget())
    widget.parent.window.resize(*PANEL)
    widget.parent.window.show()
    states = {"Nothing selected": picture_of(widget)}
    add_volumes(widget)
    states["Ready"] = picture_of(widget)
    states["Advanced"] = advanced(widget)
    before = slices(slicer_module.slice_views()[0])
    states |= run_and_cancel(widget)
    states["A problem"] = run_with_a_problem(widget)
    press_register_and_wait(widget)
    states["Finished"] = picture_of(widget)
    first = {name: states[name] for name in ("Nothing selected", "Ready", "Running", "Finished")}
    save(titled(first), folder / "panel.png")
    save(comparison(widget, before), folder / "compare.png")
    widget.ui.fadeSlider.value = 100
    show_segmentations(widget, True)
    save(in_a_row([picture_of(widget), in_a_column(slices(slicer_module.slice_views()[0]))]), folder / "SLSFGR.png")
    others = {name: states[name] for name in ("Advanced", "Cancelled", "A problem")}
    if can_segment():
        others["Segmented only"] = segment_only(widget)
        save(segmentation(widget, scene), folder / "segmentation.png")
    save(titled(others), folder / "panel-more.png")
    widget.cleanup()


def add_volumes(widget: SLSFGRWidget) -> None:
    """Add the demo's pair to the scene, select it, and show both volumes."""
    pair = make_pair()
    fixed, moving = add_volume(pair.fixed, "T1"), add_volume(pair.moving, "T2")
    widget.ui.fixedVolumeSelector.setCurrentNode(fixed)
    widget.ui.movingVolumeSelector.setCurrentNode(moving)
    widget.ui.transformTypeComboBox.currentIndex = DEFORMABLE  # by its images the pair is one head
    slicer.util.setSliceViewerLayers(background=fixed, foreground=moving, foregroundOpacity=0.5)


def advanced(widget: SLSFGRWidget) -> QImage:
    """Return the panel with the section Advanced open and a trained model selected."""
    sections = widget.ui.outputsCollapsibleButton, widget.ui.advancedCollapsibleButton
    for section in sections:
        section.collapsed = not section.collapsed
    widget.ui.modelPathLineEdit.currentPath = "/data/my-model/model.pt"
    picture = picture_of(widget)
    widget.ui.modelPathLineEdit.currentPath = ""
    for section in sections:
        section.collapsed = not section.collapsed
    return picture


def run_and_cancel(widget: SLSFGRWidget) -> dict[str, QImage]:
    """Return the panel in the middle of a run, and after the run was cancelled."""
    widget.ui.registerButton._object.click()
    wait_until(lambda: widget.ui.progressBar.format.startswith("Deforming") and widget.ui.progressBar.value >= 50)
    running = picture_of(widget)
    widget.ui.registerButton._object.click()
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    return {"Running": running, "Cancelled": picture_of(widget)}


def run_with_a_problem(widget: SLSFGRWidget) -> QImage:
    """Return the panel after the library refused an image."""
    true_one = widget.runner.command
    use_worker(widget, [*WORKERS, "refuse"])
    press_register_and_wait(widget)
    picture = picture_of(widget)
    use_worker(widget, true_one)
    return picture


def use_worker(widget: SLSFGRWidget, command: list[str]) -> None:
    """Run the next jobs with another program."""
    widget.exit()  # ends the standby process
    widget.runner.command = command
    widget.enter()


def press_register_and_wait(widget: SLSFGRWidget) -> None:
    """Register, and print the outcome."""
    widget.ui.registerButton._object.click()
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    print(widget.ui.resultLabel.text or widget.ui.statusLabel.text)


def comparison(widget: SLSFGRWidget, before: list[QImage]) -> QImage:
    """Return the views before registration, and as the slider and the check box show them after it."""
    show_segmentations(widget, False)
    view, columns = slicer_module.slice_views()[0], {"Before": before}
    for title, faded in (("Fixed", 0), ("Warped", 100)):
        widget.ui.fadeSlider.value = faded
        columns[title] = slices(view)
    widget.ui.checkerboardCheckBox.checked = True
    columns["Checkerboard"] = slices(view)
    widget.ui.checkerboardCheckBox.checked = False
    widget.ui.gridCheckBox.checked = True
    columns["Deformation grid"] = slices(view)
    widget.ui.gridCheckBox.checked = False
    return titled({title: in_a_column(column) for title, column in columns.items()})


def segment_only(widget: SLSFGRWidget) -> QImage:
    """Return the panel after Segment only."""
    widget.ui.segmentButton._object.click()
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    return picture_of(widget)


def segmentation(widget: SLSFGRWidget, scene: slicer.vtkMRMLScene) -> QImage:
    """Return the fixed brain's segments in slices and in 3-D."""
    widget.ui.fadeSlider.value = 0
    node = show_segmentations(widget, True)
    shown = slices(slicer_module.slice_views()[0])
    node.CreateClosedSurfaceRepresentation()
    size = 2 * SLICE + GAP
    outside = image_of(render_in_3d(scene, 50.0, 15.0, size))
    for side in ("Left", "Right"):
        for tissue in ("cerebral cortex", "cerebral white matter"):
            node.GetDisplayNode().SetSegmentVisibility3D(f"{side} {tissue}", False)
    inside = image_of(render_in_3d(scene, 50.0, 15.0, size))
    return in_a_row([in_a_column(shown[:2]), outside, inside])


def show_segmentations(widget: SLSFGRWidget, visible: bool) -> slicer.vtkMRMLSegmentationNode | None:
    """Show or hide the fixed brain's segmentation, and return it."""
    widget.ui.segmentsCheckBox.checked = visible
    return widget.logic.getParameterNode().fixedSegmentation


def wait_until(condition: Callable[[], bool]) -> None:
    """Process events until a condition holds."""
    while not condition():
        slicer.app.processEvents()
        time.sleep(0.01)


def picture_of(widget: SLSFGRWidget) -> QImage:
    """Return the panel as the user sees it now."""
    slicer.app.processEvents()
    return widget.parent.window.grab().toImage()


def slices(view: slicer.vtkMRMLSliceCompositeNode) -> list[QImage]:
    """Return what a slice view shows now, in three orientations."""
    return [
        image_of(render_slice(view, orientation, CENTER, offset, SLICE, FIELD_OF_VIEW))
        for orientation, offset in ORIENTATIONS.items()
    ]


def image_of(pixels: np.ndarray) -> QImage:
    """Convert (height, width, 3) bytes to an image."""
    height, width, _ = pixels.shape
    return QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


def titled(images: dict[str, QImage]) -> QImage:
    """Put images in a row, each under its title."""
    return in_a_row([in_a_column([title_bar(title, image.width()), image], gap=0) for title, image in images.items()])


def title_bar(text: str, width: int) -> QImage:
    """Draw a title as wide as its image."""
    canvas = QImage(width, TITLE_HEIGHT, QImage.Format.Format_RGB888)
    canvas.fill(QColor("white"))
    painter = QPainter(canvas)
    painter.drawText(QRect(0, 0, width, TITLE_HEIGHT), Qt.AlignmentFlag.AlignCenter, text)
    painter.end()
    return canvas


def in_a_row(images: list[QImage]) -> QImage:
    """Put images in a row."""
    width = sum(image.width() for image in images) + GAP * (len(images) - 1)
    canvas = QImage(width, max(image.height() for image in images), QImage.Format.Format_RGB888)
    return paint(canvas, images, lambda image: (image.width() + GAP, 0))


def in_a_column(images: list[QImage], gap: int = GAP) -> QImage:
    """Put images in a column."""
    height = sum(image.height() for image in images) + gap * (len(images) - 1)
    canvas = QImage(max(image.width() for image in images), height, QImage.Format.Format_RGB888)
    return paint(canvas, images, lambda image: (0, image.height() + gap))


def paint(canvas: QImage, images: list[QImage], step: Callable[[QImage], tuple[int, int]]) -> QImage:
    """Paint images onto a white canvas, each one step after the last."""
    canvas.fill(QColor("white"))
    painter = QPainter(canvas)
    x = y = 0
    for image in images:
        painter.drawImage(x, y, image)
        right, down = step(image)
        x, y = x + right, y + down
    painter.end()
    return canvas


def save(image: QImage, path: Path) -> None:
    """Save a picture with the strongest compression, so that the repository stays small."""
    image.save(str(path), "PNG", 0)
    print(path)


if __name__ == "__main__":
    main()
