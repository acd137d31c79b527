"""Results to nodes of the scene: all of them, or none. Main thread only."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from .segmentations import fillVolumesTable, segmentationFromLabels
from .transforms import vtkTransformFromITK
from .volumes import fillLike

OUTERMOST = "Cerebrospinal fluid"  # in 3-D it would hide the brain
FILL_OPACITY = 0.3  # in slices, where the image beneath should be seen
JACOBIAN_RANGE = (0.5, 1.5)  # half, and half as much again: what a glance should tell apart


@dataclass(frozen=True)
class RegistrationNodes:
    """What a registration or a segmentation puts into the scene; None where there is nothing.

    :param warpedVolumeNode: the moving volume on the grid of the fixed volume.
    :param transformNode: takes the moving volume to the fixed one, when the moving volume is put under it.
    :param inverseTransformNode: takes the fixed volume to the moving one.
    :param fixedSegmentationNode: structures of the fixed volume.
    :param movingSegmentationNode: structures of the moving volume.
    :param volumesTableNode: their volumes in mL.
    :param jacobianVolumeNode: local change of volume from the fixed to the moving image, on the fixed grid.
    :param report: what the engine tells of its work.
    """

    warpedVolumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
    transformNode: slicer.vtkMRMLTransformNode | None = None
    inverseTransformNode: slicer.vtkMRMLTransformNode | None = None
    fixedSegmentationNode: slicer.vtkMRMLSegmentationNode | None = None
    movingSegmentationNode: slicer.vtkMRMLSegmentationNode | None = None
    volumesTableNode: slicer.vtkMRMLTableNode | None = None
    jacobianVolumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
    report: dict = field(default_factory=dict)


def publish(result, fixedVolumeNode, movingVolumeNode, structures, into):
    """Put the result of a registration, or of segmentations alone, into the scene.

    :param result: as :class:`SLSFGRLib.jobs.JobResult`.
    :param fixedVolumeNode, movingVolumeNode: None if it was not segmented.
    :param structures: the label table.
    :param into: :class:`RegistrationNodes` to fill; where it holds None, a node is made.
    :returns: :class:`RegistrationNodes`.
    """
    pair = fixedVolumeNode, movingVolumeNode
    back = pair[::-1]
    volumes = {role: column for role, column in result.report.get("volumes_ml", {}).items() if column}
    with _allOrNothing():
        # Segmentations first: what the label table does not hold is found before a chosen node is overwritten.
        nodes = RegistrationNodes(
            fixedSegmentationNode=_segmentation(
                into.fixedSegmentationNode, result.fixed_labels, fixedVolumeNode, structures
            ),
            movingSegmentationNode=_segmentation(
                into.movingSegmentationNode, result.moving_labels, movingVolumeNode, structures
            ),
            volumesTableNode=_table(into.volumesTableNode, volumes, *pair),
            transformNode=_transform(into.transformNode, result.transform, *pair),
            inverseTransformNode=_transform(into.inverseTransformNode, result.inverse_transform, *back),
            jacobianVolumeNode=_jacobian(into.jacobianVolumeNode, result.jacobian, *pair),
            warpedVolumeNode=_warped(into.warpedVolumeNode, result.warped, *pair),
            report=result.report,
        )
        _describe(nodes)
    if nodes.warpedVolumeNode and nodes.movingSegmentationNode:
        # Over the fixed and the warped volume, the segments of the moving volume where it was are in the way.
        nodes.movingSegmentationNode.GetDisplayNode().SetVisibility(False)
    return nodes


@contextmanager
def _allOrNothing():
    """Remove the nodes that were added to the scene if not all of the work can be done."""
    before = set(_nodes())
    try:
        yield
    except Exception:
        for node in set(_nodes()) - before:
            slicer.mrmlScene.RemoveNode(node)
        raise


def _nodes():
    return [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]


def _segmentation(node, labels, volumeNode, structures):
    if labels is None:
        return None
    segmentation = segmentationFromLabels(sitk.GetArrayViewFromImage(labels), volumeNode, structures)
    node = node or _add("vtkMRMLSegmentationNode", _("{fixed} segmentation"), volumeNode)
    node.SetAndObserveSegmentation(segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    if not node.GetDisplayNode():
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAllSegmentsOpacity2DFill(FILL_OPACITY)
        if segmentation.GetSegment(OUTERMOST):
            node.GetDisplayNode().SetSegmentVisibility3D(OUTERMOST, False)
    return _placedBeside(volumeNode, node)


def _table(node, volumes, fixedVolumeNode, movingVolumeNode):
    if not volumes:
        return None
    volumeNodes = {"fixed": fixedVolumeNode, "moving": movingVolumeNode}
    first = volumeNodes[next(iter(volumes))]
    node = node or _add("vtkMRMLTableNode", _("{fixed} structure volumes"), first)
    fillVolumesTable(node, {volumeNodes[role].GetName(): column for role, column in volumes.items()})
    return _placedBeside(first, node)


def _transform(node, transform, fixedVolumeNode, movingVolumeNode):
    """Fill a node, and note in it which volume it takes to which, as Slicer's other registration modules do."""
    if transform is None:
        return None
    fromParent = vtkTransformFromITK(transform)
    node = node or _add("vtkMRMLTransformNode", _("Transform {moving} to {fixed}"), fixedVolumeNode, movingVolumeNode)
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObserveTransformFromParent(fromParent)
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixedVolumeNode.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), movingVolumeNode.GetID())
    return _placedBeside(movingVolumeNode, node)


def _warped(node, warped, fixedVolumeNode, movingVolumeNode):
    """Show the warped volume as the moving one is shown: window, level and colors."""
    if warped is None:
        return None
    node = node or _add("vtkMRMLScalarVolumeNode", _("{moving} warped to {fixed}"), fixedVolumeNode, movingVolumeNode)
    fillLike(node, sitk.GetArrayViewFromImage(warped), fixedVolumeNode)
    movingVolumeNode.CreateDefaultDisplayNodes()
    shown, display = movingVolumeNode.GetDisplayNode(), node.GetDisplayNode()
    display.SetAndObserveColorNodeID(shown.GetColorNodeID())
    display.AutoWindowLevelOff()
    display.SetWindowLevel(shown.GetWindow(), shown.GetLevel())
    return _placedBeside(movingVolumeNode, node)


def _jacobian(node, jacobian, fixedVolumeNode, movingVolumeNode):
    if jacobian is None:
        return None
    name = _("Jacobian determinant {fixed} to {moving}")
    node = node or _add("vtkMRMLScalarVolumeNode", name, fixedVolumeNode, movingVolumeNode)
    fillLike(node, sitk.GetArrayViewFromImage(jacobian), fixedVolumeNode)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileDivergingBlueRed.txt")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*JACOBIAN_RANGE)
    return _placedBeside(fixedVolumeNode, node)


def _add(className, name, fixedVolumeNode, movingVolumeNode=None):
    moving = movingVolumeNode.GetName() if movingVolumeNode else ""
    name = name.format(fixed=fixedVolumeNode.GetName(), moving=moving)
    return slicer.mrmlScene.AddNewNodeByClass(className, slicer.mrmlScene.GenerateUniqueName(name))


def _placedBeside(inputNode, node):
    """Show a node in the same folder or study of the subject hierarchy as an input; return it."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    inputItem = hierarchy.GetItemByDataNode(inputNode)
    if inputItem:
        hierarchy.CreateItem(hierarchy.GetItemParent(inputItem), node)  # moves it where there already is one
    return node


def _describe(nodes):
    """Note in each node how it came about; the notes are saved with the scene."""
    report, model = nodes.report, nodes.report.get("model") or {}
    notes = {
        "Version": report.get("versions", {}).get("slsfgr"),
        "Model": model.get("name"),
        "ModelSHA256": model.get("sha256"),
        "Mode": report.get("mode"),
        "Device": report.get("device"),
        "DiceBefore": report.get("dice_before"),
        "DiceAfter": report.get("dice_after"),
        "FoldingPercent": report.get("folding_percent"),
    }
    for node in [node for node in vars(nodes).values() if isinstance(node, slicer.vtkMRMLNode)]:
        for name, value in notes.items():
            node.SetAttribute(f"SLSFGR.{name}", "none" if value is None else str(value))
