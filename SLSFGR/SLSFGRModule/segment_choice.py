"""The choice of one segment, where a mask or lesion is a segmentation of several. Main thread only."""

from slicer.i18n import tr as _


class SegmentChoice:
    """A list of a segmentation's segments below its selector; it is hidden where there is nothing to choose.

    :param comboBox: the list.
    :param name: of the parameter with the mask or lesion; that with the segment's ID is called ``nameSegment``.
    """

    def __init__(self, comboBox, name):
        self._comboBox, self._name = comboBox, name
        self._parameters, self._items = None, []
        comboBox.connect("currentIndexChanged(int)", self._onIndexChanged)

    def show(self, parameters):
        """List the segments of the selected segmentation, and show which of them is chosen.

        :param parameters: the panel's parameter node. A segment that is not there any more is not chosen any more.
        """
        self._parameters = parameters
        items = [("", _("All segments that are shown")), *_segments(getattr(parameters, self._name))]
        segmentIDs = [segmentID for segmentID, _name in items]
        if self._chosen not in segmentIDs:
            self._choose("")
        self._comboBox.blockSignals(True)
        if items != self._items:
            self._comboBox.clear()
            for _segmentID, name in items:
                self._comboBox.addItem(name)
            self._items = items
        self._comboBox.currentIndex = segmentIDs.index(self._chosen)
        self._comboBox.blockSignals(False)
        self._comboBox.visible = len(items) > 2

    @property
    def _chosen(self):
        return getattr(self._parameters, f"{self._name}Segment")

    def _choose(self, segmentID):
        setattr(self._parameters, f"{self._name}Segment", segmentID)

    def _onIndexChanged(self, index):
        if self._parameters:
            self._choose(self._items[index][0])


def _segments(node):
    """Return the IDs and names of the segments of a node; none of a label map."""
    if not node or not node.IsA("vtkMRMLSegmentationNode"):
        return []
    segmentation = node.GetSegmentation()
    return [(segmentID, segmentation.GetSegment(segmentID).GetName()) for segmentID in segmentation.GetSegmentIDs()]
