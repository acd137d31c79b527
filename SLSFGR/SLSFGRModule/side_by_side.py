"""Two volumes in two slice views, side by side, that move together."""

import slicer
import vtk

VIEWS = ("Red", "Yellow")  # those of Slicer's layout "Side by side"


class SideBySide:
    """The layout "Side by side" while it is needed, and afterwards what was there before. It needs a main window."""

    def __init__(self):
        self._before = None

    def show(self, leftVolumeNode, rightVolumeNode):
        """Show two volumes in the same slice, in views that are linked."""
        manager, isNew = slicer.app.layoutManager(), self._before is None
        if isNew:
            self._before = manager.layout, [_State(*_nodesOf(name)) for name in VIEWS]
            manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
        for name, volumeNode in zip(VIEWS, (leftVolumeNode, rightVolumeNode), strict=True):
            _slice, layers = _nodesOf(name)
            layers.SetBackgroundVolumeID(volumeNode.GetID())
            layers.SetForegroundVolumeID(None)
        if isNew:
            manager.sliceWidget(VIEWS[0]).sliceLogic().FitSliceToBackground()
            self._align()

    def end(self):
        """Go back to the layout and the links of before; the views' layers stay."""
        if self._before is None:
            return
        layout, states = self._before
        self._before = None
        for state in states:
            state.restore()
        if slicer.app.layoutManager():  # not any more when Slicer ends
            slicer.app.layoutManager().setLayout(layout)

    def _align(self):
        """Show in the right view what the left one shows, and link both."""
        (left, leftLayers), (right, rightLayers) = map(_nodesOf, VIEWS)
        right.GetSliceToRAS().DeepCopy(left.GetSliceToRAS())
        right.UpdateMatrices()
        right.SetFieldOfView(*left.GetFieldOfView())
        for layers in (leftLayers, rightLayers):
            layers.SetLinkedControl(True)
            layers.SetHotLinkedControl(True)


class _State:
    """What a slice view shows of space, and whether it is linked."""

    def __init__(self, sliceNode, compositeNode):
        self._sliceNode, self._compositeNode = sliceNode, compositeNode
        self._sliceToRAS = vtk.vtkMatrix4x4()
        self._sliceToRAS.DeepCopy(sliceNode.GetSliceToRAS())
        self._links = compositeNode.GetLinkedControl(), compositeNode.GetHotLinkedControl()

    def restore(self):
        self._sliceNode.GetSliceToRAS().DeepCopy(self._sliceToRAS)
        self._sliceNode.UpdateMatrices()
        linked, hotLinked = self._links
        self._compositeNode.SetLinkedControl(linked)
        self._compositeNode.SetHotLinkedControl(hotLinked)


def _nodesOf(viewName):
    """Return the slice node and the composite node of a slice view."""
    widget = slicer.app.layoutManager().sliceWidget(viewName)
    return widget.mrmlSliceNode(), widget.mrmlSliceCompositeNode()
