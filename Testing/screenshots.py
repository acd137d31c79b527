"""Pictures of the panel and of what it shows, for the docs: ``python Testing/screenshots.py``.

The panel is the real one, driven as a user drives it, on the demo's pair of brains: the MNI152 template and the
same brain deformed, with another contrast. The slices are computed by Slicer's own slice logic from the nodes that
the module published. Nothing needs a screen. Takes a minute or two.
"""

import time
from pathlib import Path

import numpy as np
import slicer
import slicer_stand_ins
from nodes import add_volume
from PySide6.QtGui import QColor, QImage, QPainter
from vtk.util.numpy_support import vtk_to_numpy

module = slicer_stand_ins.load("SLSFGR")

FOLDER = Path(__file__).resolve().parents[1] / "Resources" / "Screenshots"
PANEL = (400, 670)
SLICE = 216
GAP = 10
ORIENTATIONS = {"Axial": 10.0, "Coronal": -20.0, "Sagittal": 12.0}  # offset of each slice in mm, RAS


def main():
    """Drive the panel through its states, and save what is seen."""
    from SLSFGRLib.demonstration import make_pair

    FOLDER.mkdir(exist_ok=True)
    scene = slicer_stand_ins.new_scene()
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    widget = module.SLSFGRWidget()
    widget.setup()
    widget.parent.window.resize(*PANEL)
    widget.parent.window.show()
    states = [picture_of(widget)]

    pair = make_pair()
    fixed, moving = add_volume(pair.fixed, "T1 template"), add_volume(pair.moving, "T2-like, deformed")
    widget.ui.fixedVolumeSelector.setCurrentNode(fixed)
    widget.ui.movingVolumeSelector.setCurrentNode(moving)
    slicer.util.setSliceViewerLayers(background=fixed, foreground=moving, foregroundOpacity=0.5)
    before = slices(scene)
    widget.ui.registerButton._object.click()
    wait_until(lambda: widget.ui.progressBar.value >= 60)
    states.append(picture_of(widget))
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    states.append(picture_of(widget))
    print(widget.ui.resultLabel.text or widget.ui.statusLabel.text)

    columns = [before]
    for faded in (0, 100):
        widget.ui.fadeSlider.value = faded
        columns.append(slices(scene))
    widget.ui.checkerboardCheckBox.checked = True
    columns.append(slices(scene))
    save(beside([picture_of(widget), above(columns[-1])]), "SLSFGR.png")
    save(beside(states), "panel.png")
    save(beside([above(column) for column in columns]), "compare.png")
    widget.cleanup()


def wait_until(condition):
    """Let the panel live until something is so."""
    while not condition():
        slicer.app.processEvents()
        time.sleep(0.01)


def picture_of(widget):
    """What the user sees of the panel now."""
    slicer.app.processEvents()
    return widget.parent.window.grab().toImage()


def slices(scene):
    """What the slice views show now, in three orientations."""
    shown = slicer_stand_ins.slice_views()[0]
    return [slice_image(scene, shown, *orientation) for orientation in ORIENTATIONS.items()]


def slice_image(scene, shown, orientation, offset):
    """One slice with the layers of a slice view, by Slicer's own slice logic."""
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(scene)
    node = logic.AddSliceNode(f"Picture{scene.GetNumberOfNodes()}")
    layers = logic.GetSliceCompositeNode()
    layers.SetBackgroundVolumeID(shown.GetBackgroundVolumeID())
    layers.SetForegroundVolumeID(shown.GetForegroundVolumeID())
    layers.SetForegroundOpacity(shown.GetForegroundOpacity())
    node.SetOrientation(orientation)
    node.SetDimensions(SLICE, SLICE, 1)
    node.SetFieldOfView(240.0, 240.0, 1.0)
    node.JumpSliceByCentering(0.0, -18.0, 12.0)
    node.SetSliceOffset(offset)
    logic.UpdatePipeline()
    connection = logic.GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(SLICE, SLICE, -1)[::-1, :, :3]
    pixels = np.ascontiguousarray(pixels.astype(np.uint8))
    for created in (layers, node):
        scene.RemoveNode(created)
    return QImage(pixels.data, SLICE, SLICE, 3 * SLICE, QImage.Format.Format_RGB888).copy()


def beside(images):
    """Images in a row."""
    width = sum(image.width() for image in images) + GAP * (len(images) - 1)
    canvas = QImage(width, max(image.height() for image in images), QImage.Format.Format_RGB888)
    return painted(canvas, images, lambda image: (image.width() + GAP, 0))


def above(images):
    """Images in a column."""
    height = sum(image.height() for image in images) + GAP * (len(images) - 1)
    canvas = QImage(max(image.width() for image in images), height, QImage.Format.Format_RGB888)
    return painted(canvas, images, lambda image: (0, image.height() + GAP))


def painted(canvas, images, step):
    """Paint images onto a white canvas, one after the other."""
    canvas.fill(QColor("white"))
    painter = QPainter(canvas)
    x = y = 0
    for image in images:
        painter.drawImage(x, y, image)
        right, down = step(image)
        x, y = x + right, y + down
    painter.end()
    return canvas


def save(image, name):
    """Save a picture, compressed as much as can be, so that the repository stays small."""
    image.save(str(FOLDER / name), "PNG", 0)
    print(FOLDER / name)


if __name__ == "__main__":
    main()
