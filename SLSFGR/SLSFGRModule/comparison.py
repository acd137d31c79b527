"""Judging a result by eye: the warped volume over the fixed one, faded, or both as a checkerboard."""

import numpy as np
import slicer
from slicer.i18n import tr as _

from .volumes import fillLike

SQUARE_MM = 20.0


class Comparison:
    """What the slice views show of a fixed and a warped volume on one grid."""

    def __init__(self):
        self._checkerboardNode = None

    def show(self, fixedVolumeNode, warpedVolumeNode, opacity, asCheckerboard):
        """Lay one volume over the other.

        :param opacity: of the warped volume, 0 to 1.
        :param asCheckerboard: show squares of either instead.
        """
        self.forget()
        layers = {"background": fixedVolumeNode, "foreground": warpedVolumeNode}
        if asCheckerboard:
            self._checkerboardNode = makeCheckerboard(fixedVolumeNode, warpedVolumeNode)
            layers = {"background": self._checkerboardNode, "foreground": None}
        slicer.util.setSliceViewerLayers(**layers, foregroundOpacity=opacity)

    def forget(self):
        """Remove the checkerboard from the scene, if there is one."""
        if self._checkerboardNode and slicer.mrmlScene.IsNodePresent(self._checkerboardNode):
            slicer.mrmlScene.RemoveNode(self._checkerboardNode)
        self._checkerboardNode = None


def canCompare(fixedVolumeNode, warpedVolumeNode):
    """Whether two volumes, either of which may be None, have voxels in one grid."""
    images = [node.GetImageData() if node else None for node in (fixedVolumeNode, warpedVolumeNode)]
    return all(images) and images[0].GetDimensions() == images[1].GetDimensions()


def makeCheckerboard(fixedVolumeNode, warpedVolumeNode):
    """Make a volume of squares from two volumes on one grid, in the brightness in which each is shown."""
    fixed, warped = _asShown(fixedVolumeNode), _asShown(warpedVolumeNode)
    steps = np.maximum(1, np.round(SQUARE_MM / np.array(fixedVolumeNode.GetSpacing()[::-1]))).astype(int)
    squares = sum(axis // step for axis, step in zip(np.ogrid[tuple(map(slice, fixed.shape))], steps, strict=True)) % 2
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(_("SLSFGR checkerboard"))
    node.SetSaveWithScene(False)
    node.HideFromEditorsOn()
    slicer.mrmlScene.AddNode(node)
    fillLike(node, np.where(squares, warped, fixed), fixedVolumeNode)
    node.GetDisplayNode().SetSaveWithScene(False)
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    return node


def _asShown(volumeNode):
    """The voxels through the window and level of the volume, 0 to 255."""
    display = volumeNode.GetDisplayNode()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    share = (slicer.util.arrayFromVolume(volumeNode).astype(np.float32) - low) / max(high - low, 1e-6)
    return (255 * share.clip(0, 1)).astype(np.uint8)
