"""Compare volumes in the slice views: one faded over the fixed one, both as a checkerboard, and the grid."""

import slicer
import vtk
from slicer.i18n import tr as _

from .itk_conversion import fillLike
from .library import LazyImport

np, numpy_support = map(LazyImport, ("numpy", "vtk.util.numpy_support"))
SQUARE_MM = 20.0
GRID_MM = 10.0
CHECKERBOARD = "SLSFGR.Checkerboard"  # attribute of the volume that is made here


def canCompare(fixedVolumeNode, warpedVolumeNode):
    """Return whether two volumes, either of which may be None, have voxels on grids of the same size."""
    images = [node.GetImageData() if node else None for node in (fixedVolumeNode, warpedVolumeNode)]
    return all(images) and images[0].GetDimensions() == images[1].GetDimensions()


def showComparison(fixedVolumeNode, otherVolumeNode, opacity, asCheckerboard, fit=False):
    """Show the warped or the moving volume over the fixed volume in the slice views.

    :param opacity: of the other volume, 0 to 1.
    :param asCheckerboard: show alternating squares of both instead; they must lie on one grid.
    :param fit: turn the views to the axes of the volumes, and show all of them.
    """
    foreground = otherVolumeNode
    if asCheckerboard:  # in front: it is not saved with the scene, whose views then still have a background
        foreground, opacity = makeCheckerboard(fixedVolumeNode, otherVolumeNode), 1.0
    fit = fit and slicer.app.layoutManager() is not None  # there is none without a main window
    layers = {"background": fixedVolumeNode, "foreground": foreground, "foregroundOpacity": opacity}
    slicer.util.setSliceViewerLayers(**layers, fit=fit, rotateToVolumePlane=fit)


def removeCheckerboard():
    """Remove the checkerboard from the scene, if there is one."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(CHECKERBOARD):
            slicer.mrmlScene.RemoveNode(node)


def canShowGrid(transformNode):
    """Return whether there is a deformation of which a grid can be shown."""
    return transformNode is not None and not transformNode.IsLinear()


def showGrid(transformNode, isShown):
    """Show or hide a grid on the moving volume, deformed as the volume is, in the slice views."""
    display = transformNode.GetDisplayNode()
    if not display and not isShown:
        return
    if not display:
        transformNode.CreateDefaultDisplayNodes()
        display = transformNode.GetDisplayNode()
        display.SetGridSpacingMm(GRID_MM)
        display.SetGridShowNonWarped(False)
        display.SetVisibility3D(False)
    display.SetVisualizationMode(slicer.vtkMRMLTransformDisplayNode.VIS_MODE_GRID)
    display.SetVisibility(True)  # of the node as a whole
    display.SetVisibility2D(isShown)


def makeCheckerboard(fixedVolumeNode, warpedVolumeNode):
    """Make a volume of alternating squares of two volumes on one grid, each with its own window and level."""
    fixed, warped = _displayedIntensities(fixedVolumeNode), _displayedIntensities(warpedVolumeNode)
    steps = np.maximum(1, np.round(SQUARE_MM / np.array(fixedVolumeNode.GetSpacing()[::-1]))).astype(int)
    odd = [(np.arange(size) // step % 2).astype(bool) for size, step in zip(fixed.shape, steps, strict=True)]
    squares = odd[0][:, None, None] ^ odd[1][:, None] ^ odd[2]
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
    """Map a volume's voxels through its window and level to 0 to 255, KJI."""
    display, mapped = volumeNode.GetDisplayNode(), vtk.vtkImageShiftScale()
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    mapped.SetInputData(volumeNode.GetImageData())
    mapped.SetShift(-low)
    mapped.SetScale(255.0 / max(high - low, 1e-6))
    mapped.ClampOverflowOn()
    mapped.SetOutputScalarTypeToUnsignedChar()
    mapped.Update()
    image = mapped.GetOutput()
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
