"""Results to nodes of the scene: all of them, or none. Main thread only."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from .segmentations import fillVolumesTable, segmentationFromLabels
from .transforms import vtkTransformFromITK
from .volumes import fillLike

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
    :param movingVolumeNode: None if only the fixed volume was segmented.
    :param structures: the label table.
    :param into: :class:`RegistrationNodes` to fill; where it holds None, a node is made.
    :returns: :class:`RegistrationNodes`.
    """
    pair = fixedVolumeNode, movingVolumeNode
    with _allOrNothing():
        nodes = RegistrationNodes(
            fixedSegmentationNode=_segmentation(
                result.fixed_labels, fixedVolumeNode, structures, into.fixedSegmentationNode
            ),
            movingSegmentationNode=_segmentation(
                result.moving_labels, movingVolumeNode, structures, into.movingSegmentationNode
            ),
            volumesTableNode=_table(result, *pair, structures, into.volumesTableNode),
            transformNode=_transform(result.transform, *pair, into.transformNode),
            inverseTransformNode=_transform(result.inverse_transform, *pair[::-1], into.inverseTransformNode),
            jacobianVolumeNode=_jacobian(result.jacobian, *pair, into.jacobianVolumeNode),
            warpedVolumeNode=_warped(result.warped, *pair, into.warpedVolumeNode),
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
    before = {node.GetID() for node in _nodes()}
    try:
        yield
    except Exception:
        for node in [node for node in _nodes() if node.GetID() not in before]:
            slicer.mrmlScene.RemoveNode(node)
        raise


def _nodes():
    return [slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes())]


def _segmentation(labels, volumeNode, structures, node):
    if labels is None:
        return None
    segmentation = segmentationFromLabels(sitk.GetArrayViewFromImage(labels), volumeNode, structures)
    node = node or _add("vtkMRMLSegmentationNode", _("{volume} segmentation"), volume=volumeNode)
    node.SetAndObserveSegmentation(segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    _placeBeside(node, volumeNode)
    return node


def _table(result, fixedVolumeNode, movingVolumeNode, structures, node):
    pairs = ((fixedVolumeNode, result.fixed_labels), (movingVolumeNode, result.moving_labels))
    columns = [(volumeNode, labels) for volumeNode, labels in pairs if labels is not None]
    if not columns:
        return None
    node = node or _add("vtkMRMLTableNode", _("{volume} structure volumes"), volume=columns[0][0])
    fillVolumesTable(node, {volumeNode.GetName(): labels for volumeNode, labels in columns}, structures)
    _placeBeside(node, columns[0][0])
    return node


def _transform(transform, fixedVolumeNode, movingVolumeNode, node):
    """Fill a node, and note in it which volume it takes to which, as Slicer's other registration modules do."""
    if transform is None:
        return None
    fromParent = vtkTransformFromITK(transform)
    name = _("Transform {moving} to {fixed}")
    node = node or _add("vtkMRMLTransformNode", name, fixed=fixedVolumeNode, moving=movingVolumeNode)
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObserveTransformFromParent(fromParent)
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixedVolumeNode.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), movingVolumeNode.GetID())
    _placeBeside(node, movingVolumeNode)
    return node


def _warped(warped, fixedVolumeNode, movingVolumeNode, node):
    """Show the warped volume as the moving one is shown: window, level and colors."""
    if warped is None:
        return None
    name = _("{moving} warped to {fixed}")
    node = node or _add("vtkMRMLScalarVolumeNode", name, fixed=fixedVolumeNode, moving=movingVolumeNode)
    fillLike(node, sitk.GetArrayViewFromImage(warped), fixedVolumeNode)
    movingVolumeNode.CreateDefaultDisplayNodes()
    shown, display = movingVolumeNode.GetDisplayNode(), node.GetDisplayNode()
    display.SetAndObserveColorNodeID(shown.GetColorNodeID())
    display.AutoWindowLevelOff()
    display.SetWindowLevel(shown.GetWindow(), shown.GetLevel())
    _placeBeside(node, movingVolumeNode)
    return node


def _jacobian(jacobian, fixedVolumeNode, movingVolumeNode, node):
    if jacobian is None:
        return None
    name = _("Jacobian determinant {fixed} to {moving}")
    node = node or _add("vtkMRMLScalarVolumeNode", name, fixed=fixedVolumeNode, moving=movingVolumeNode)
    fillLike(node, sitk.GetArrayViewFromImage(jacobian), fixedVolumeNode)
    node.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileDivergingBlueRed.txt")
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevelMinMax(*JACOBIAN_RANGE)
    _placeBeside(node, fixedVolumeNode)
    return node


def _add(className, name, **volumeNodes):
    name = name.format(**{role: node.GetName() for role, node in volumeNodes.items()})
    return slicer.mrmlScene.AddNewNodeByClass(className, slicer.mrmlScene.GenerateUniqueName(name))


def _placeBeside(node, inputNode):
    """Show a node in the same folder or study of the subject hierarchy as an input."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    inputItem = hierarchy.GetItemByDataNode(inputNode)
    if inputItem:
        hierarchy.CreateItem(hierarchy.GetItemParent(inputItem), node)  # moves it where there already is one


def _describe(nodes):
    """Note in each node how it came about; the notes are saved with the scene."""
    report = nodes.report
    model = report.get("model") or {}
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
    for node in vars(nodes).values():
        if isinstance(node, slicer.vtkMRMLNode):
            for name, value in notes.items():
                node.SetAttribute(f"SLSFGR.{name}", "none" if value is None else str(value))
