"""Compare volumes in the slice views: the warped volume faded over the fixed one, or both as a checkerboard."""

import slicer
from slicer.i18n import tr as _

from .itk_conversion import fillLike
from .library import LazyImport

np = LazyImport("numpy")
SQUARE_MM = 20.0
CHECKERBOARD = "SLSFGR.Checkerboard"  # attribute of the volume that is made here


def canCompare(fixedVolumeNode, warpedVolumeNode):
    """Return whether two volumes, either of which may be None, have voxels on grids of the same size."""
    images = [node.GetImageData() if node else None for node in (fixedVolumeNode, warpedVolumeNode)]
    return all(images) and images[0].GetDimensions() == images[1].GetDimensions()


def showComparison(fixedVolumeNode, warpedVolumeNode, opacity, asCheckerboard, fit=False):
    """Show the warped volume over the fixed volume in the slice views.

    :param opacity: of the warped volume, 0 to 1.
    :param asCheckerboard: show alternating squares of both instead.
    :param fit: turn the views to the axes of the volumes, and show all of them.
    """
    foreground = warpedVolumeNode
    if asCheckerboard:  # in front: it is not saved with the scene, whose views then still have a background
        foreground, opacity = makeCheckerboard(fixedVolumeNode, warpedVolumeNode), 1.0
    fit = fit and slicer.app.layoutManager() is not None  # there is none without a main window
    layers = {"background": fixedVolumeNode, "foreground": foreground, "foregroundOpacity": opacity}
    slicer.util.setSliceViewerLayers(**layers, fit=fit, rotateToVolumePlane=fit)


def removeCheckerboard():
    """Remove the checkerboard from the scene, if there is one."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(CHECKERBOARD):
            slicer.mrmlScene.RemoveNode(node)


def makeCheckerboard(fixedVolumeNode, warpedVolumeNode):
    """Make a volume of alternating squares of two volumes on one grid, each with its own window and level."""
    fixed, warped = _displayedIntensities(fixedVolumeNode), _displayedIntensities(warpedVolumeNode)
    steps = np.maximum(1, np.round(SQUARE_MM / np.array(fixedVolumeNode.GetSpacing()[::-1]))).astype(int)
    squares = sum(axis // step for axis, step in zip(np.ogrid[tuple(map(slice, fixed.shape))], steps, strict=True)) % 2
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(_("SLSFGR checkerboard"))
    node.SetAttribute(CHECKERBOARD, "true")
    node.SetSaveWithScene(False)
    node.HideFromEditorsOn()
    slicer.mrmlScene.AddNode(node)
    fillLike(node, np.where(squares, warped, fixed), fixedVolumeNode, (0, 255), "vtkMRMLColorTableNodeGrey")
    node.GetDisplayNode().SetSaveWithScene(False)
    return node


def _displayedIntensities(volumeNode):
    """Map a volume's voxels through its window and level to 0 to 255."""
    display = volumeNode.GetDisplayNode()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    fraction = (slicer.util.arrayFromVolume(volumeNode).astype(np.float32) - low) / max(high - low, 1e-6)
    return (255 * fraction.clip(0, 1)).astype(np.uint8)
