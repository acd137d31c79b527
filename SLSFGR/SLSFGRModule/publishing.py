"""Results to nodes of the scene: all of them, or none. Main thread only."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from .segmentations import fillVolumesTable, segmentationFromLabels
from .transforms import vtkTransformFromITK
from .volumes import fillLike

JACOBIAN_RANGE = (0.5, 1.5)  # half and half as much again: what a glance should tell apart


@dataclass(frozen=True)
class RegistrationNodes:
    """What a registration or a segmentation puts into the scene; None where there is nothing.

    Given to :func:`publishRegistration` and :func:`publishSegmentations`, the nodes to put it into.

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


@_allOrNothing()
def publishRegistration(result, fixedVolumeNode, movingVolumeNode, structures, into):
    """Put the result of a registration into the scene.

    :param result: as :class:`SLSFGRLib.jobs.JobResult`.
    :param structures: the label table.
    :param into: :class:`RegistrationNodes` to fill; where it holds None, a node is made.
    :returns: :class:`RegistrationNodes`.
    """
    transforms = vtkTransformFromITK(result.transform), vtkTransformFromITK(result.inverse_transform)
    segmentations = _segmentations(result, fixedVolumeNode, movingVolumeNode, structures)
    names = {"fixed": fixedVolumeNode.GetName(), "moving": movingVolumeNode.GetName()}

    warped = into.warpedVolumeNode or _add("vtkMRMLScalarVolumeNode", _("{moving} warped to {fixed}").format(**names))
    fillLike(warped, sitk.GetArrayViewFromImage(result.warped), fixedVolumeNode)
    _copyDisplay(movingVolumeNode, warped)
    transform = into.transformNode or _add("vtkMRMLTransformNode", _("Transform {moving} to {fixed}").format(**names))
    inverse = into.inverseTransformNode or _add(
        "vtkMRMLTransformNode", _("Transform {fixed} to {moving}").format(**names)
    )
    _fillTransform(transform, transforms[0], fixedVolumeNode, movingVolumeNode)
    _fillTransform(inverse, transforms[1], movingVolumeNode, fixedVolumeNode)
    nodes = RegistrationNodes(
        warped,
        transform,
        inverse,
        *_publishSegmentations(result, segmentations, fixedVolumeNode, movingVolumeNode, structures, into),
        _publishJacobian(result, fixedVolumeNode, into, names),
        result.report,
    )
    for node in (warped, transform, inverse):
        _placeBeside(node, movingVolumeNode)
    _describeAll(nodes)
    return nodes


@_allOrNothing()
def publishSegmentations(result, fixedVolumeNode, movingVolumeNode, structures, into):
    """Put segmentations of one volume or of both into the scene; arguments as :func:`publishRegistration`."""
    segmentations = _segmentations(result, fixedVolumeNode, movingVolumeNode, structures)
    fixed, moving, table = _publishSegmentations(
        result, segmentations, fixedVolumeNode, movingVolumeNode, structures, into
    )
    nodes = RegistrationNodes(
        fixedSegmentationNode=fixed, movingSegmentationNode=moving, volumesTableNode=table, report=result.report
    )
    _describeAll(nodes)
    return nodes


def _segmentations(result, fixedVolumeNode, movingVolumeNode, structures):
    """Both segmentations before they are in the scene; None where there are no labels."""
    pairs = ((result.fixed_labels, fixedVolumeNode), (result.moving_labels, movingVolumeNode))
    return [
        None if labels is None else segmentationFromLabels(sitk.GetArrayViewFromImage(labels), volumeNode, structures)
        for labels, volumeNode in pairs
    ]


def _publishSegmentations(result, segmentations, fixedVolumeNode, movingVolumeNode, structures, into):
    """Return the nodes of the fixed segmentation, the moving segmentation and the table of volumes."""
    chosen = into.fixedSegmentationNode, into.movingSegmentationNode
    volumeNodes = fixedVolumeNode, movingVolumeNode
    fixed, moving = map(_publishSegmentation, segmentations, volumeNodes, chosen)
    if not fixed and not moving:
        return None, None, None
    if fixed and moving:
        # Over the fixed and the warped volume, the segments of the moving volume where it was are in the way.
        moving.GetDisplayNode().SetVisibility(False)
    return fixed, moving, _publishTable(result, volumeNodes, structures, into.volumesTableNode)


def _publishSegmentation(segmentation, volumeNode, node):
    if segmentation is None:
        return None
    node = node or _add("vtkMRMLSegmentationNode", _("{volume} segmentation").format(volume=volumeNode.GetName()))
    node.SetAndObserveSegmentation(segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    _placeBeside(node, volumeNode)
    return node


def _publishTable(result, volumeNodes, structures, node):
    labels = result.fixed_labels, result.moving_labels
    columns = {
        volumeNode.GetName(): image for volumeNode, image in zip(volumeNodes, labels, strict=True) if image is not None
    }
    node = node or _add("vtkMRMLTableNode", _("Volumes of {names}").format(names=", ".join(columns)))
    fillVolumesTable(node, columns, structures)
    _placeBeside(node, next(volumeNode for volumeNode in volumeNodes if volumeNode))
    return node


def _publishJacobian(result, fixedVolumeNode, into, names):
    if result.jacobian is None:
        return None
    node = into.jacobianVolumeNode or _add(
        "vtkMRMLScalarVolumeNode", _("Jacobian determinant {fixed} to {moving}").format(**names)
    )
    fillLike(node, sitk.GetArrayViewFromImage(result.jacobian), fixedVolumeNode)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeFileDivergingBlueRed.txt")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*JACOBIAN_RANGE)
    _placeBeside(node, fixedVolumeNode)
    return node


def _add(className, name):
    return slicer.mrmlScene.AddNewNodeByClass(className, slicer.mrmlScene.GenerateUniqueName(name))


def _fillTransform(transformNode, fromParent, fixedVolumeNode, movingVolumeNode):
    """Fill a node, and note in it which volume it takes to which, as Slicer's other registration modules do."""
    transformNode.SetAndObserveTransformNodeID(None)
    transformNode.SetAndObserveTransformFromParent(fromParent)
    transformNode.SetNodeReferenceID(transformNode.GetFixedNodeReferenceRole(), fixedVolumeNode.GetID())
    transformNode.SetNodeReferenceID(transformNode.GetMovingNodeReferenceRole(), movingVolumeNode.GetID())


def _copyDisplay(volumeNode, toVolumeNode):
    """Show a volume as another one is shown: window, level and colors."""
    volumeNode.CreateDefaultDisplayNodes()
    shown, display = volumeNode.GetDisplayNode(), toVolumeNode.GetDisplayNode()
    display.SetAndObserveColorNodeID(shown.GetColorNodeID())
    display.AutoWindowLevelOff()
    display.SetWindowLevel(shown.GetWindow(), shown.GetLevel())


def _placeBeside(node, inputNode):
    """Show a node in the same folder or study of the subject hierarchy as an input."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    inputItem = hierarchy.GetItemByDataNode(inputNode)
    if inputItem:
        hierarchy.CreateItem(hierarchy.GetItemParent(inputItem), node)  # moves it where there already is one


def _describeAll(nodes):
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
