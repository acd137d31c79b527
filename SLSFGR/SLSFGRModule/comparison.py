"""Judging a result by eye: the warped volume over the fixed one, faded, or both as a checkerboard."""

import numpy as np
import slicer
from slicer.i18n import tr as _

from .itk_conversion import fillLike

SQUARE_MM = 20.0
CHECKERBOARD = "SLSFGR.Checkerboard"  # attribute of the volume that is made here


def canCompare(fixedVolumeNode, warpedVolumeNode):
    """Whether two volumes, either of which may be None, have voxels in one grid."""
    images = [node.GetImageData() if node else None for node in (fixedVolumeNode, warpedVolumeNode)]
    return all(images) and images[0].GetDimensions() == images[1].GetDimensions()


def showComparison(fixedVolumeNode, warpedVolumeNode, opacity, asCheckerboard):
    """Lay one volume over the other in the slice views.

    :param opacity: of the warped volume, 0 to 1.
    :param asCheckerboard: show squares of either instead.
    """
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(CHECKERBOARD):
            slicer.mrmlScene.RemoveNode(node)
    layers = {"background": fixedVolumeNode, "foreground": warpedVolumeNode}
    if asCheckerboard:
        layers = {"background": makeCheckerboard(fixedVolumeNode, warpedVolumeNode), "foreground": None}
    slicer.util.setSliceViewerLayers(**layers, foregroundOpacity=opacity)


def makeCheckerboard(fixedVolumeNode, warpedVolumeNode):
    """Make a volume of squares from two volumes on one grid, in the brightness in which each is shown."""
    fixed, warped = _asShown(fixedVolumeNode), _asShown(warpedVolumeNode)
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


def _asShown(volumeNode):
    """The voxels through the window and level of the volume, 0 to 255."""
    display = volumeNode.GetDisplayNode()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    share = (slicer.util.arrayFromVolume(volumeNode).astype(np.float32) - low) / max(high - low, 1e-6)
    return (255 * share.clip(0, 1)).astype(np.uint8)
