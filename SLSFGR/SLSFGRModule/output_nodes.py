"""The nodes with the results: all of them are made or updated, or none. Main thread only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import slicer
import vtk
from slicer.i18n import tr as _

from .itk_conversion import arrayOf, fillLike, vtkTransformFromITK
from .segmentations import emptyLabelMaps, segmentationFromLabels
from .subject_hierarchy import placeBeside
from .validation import ATTRIBUTES

OUTERMOST = "Cerebrospinal fluid"  # in 3-D it would hide the brain
FILL_OPACITY = 0.3  # in slices, so that the image beneath stays visible
JACOBIAN_RANGE = (0.5, 1.5)  # from half the volume to half as much again
JACOBIAN_COLORS = "vtkMRMLColorTableNodeFileDivergingBlueRed.txt"
RESULT_ROLE = f"{ATTRIBUTES}Result."  # of a transform: what its references to the nodes made with it begin with
NAME_GIVEN = "SLSFGR.Name"  # attribute: the name that this module gave a node


@dataclass(frozen=True)
class RegistrationNodes:
    """The nodes with the results of a registration or a segmentation; None where there is no such result.

    :param warpedVolumeNode: the moving volume, resampled to the grid of the fixed volume.
    :param transformNode: transform from the moving to the fixed volume; what is placed under it moves that way.
    :param inverseTransformNode: transform from the fixed to the moving volume.
    :param fixedSegmentationNode, movingSegmentationNode: structures of the two volumes.
    :param volumesTableNode: volumes of the structures in mL.
    :param jacobianVolumeNode: local volume change from the fixed to the moving volume, on the fixed grid.
    :param reportNode: the page of the report, with pictures, in HTML.
    :param report: figures of the run, as in ``report.json``.
    """

    warpedVolumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
    transformNode: slicer.vtkMRMLTransformNode | None = None
    inverseTransformNode: slicer.vtkMRMLTransformNode | None = None
    fixedSegmentationNode: slicer.vtkMRMLSegmentationNode | None = None
    movingSegmentationNode: slicer.vtkMRMLSegmentationNode | None = None
    volumesTableNode: slicer.vtkMRMLTableNode | None = None
    jacobianVolumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
    reportNode: slicer.vtkMRMLTextNode | None = None
    report: dict = field(default_factory=dict)


@dataclass(frozen=True)
class _Output:
    """One part of a result, and how to fill its node.

    :param field: the node's field in :class:`RegistrationNodes`.
    :param content: the part; None if the result lacks it.
    :param fill: called with the node, the content, and the two volume nodes.
    :param volumeNode: the volume that the node belongs to, also in the subject hierarchy.
    :param otherVolumeNode: the other volume of the pair; None if there is only one.
    """

    field: str
    content: Any
    fill: Callable
    volumeNode: slicer.vtkMRMLScalarVolumeNode
    otherVolumeNode: slicer.vtkMRMLScalarVolumeNode | None


def publish(result, fixedVolumeNode, movingVolumeNode, into=None):
    """Put the result of a registration, or of segmentations alone, into the scene.

    :param result: as :class:`SLSFGRLib.jobs.job.JobResult`.
    :param fixedVolumeNode, movingVolumeNode: None for a volume that was not segmented.
    :param into: :class:`RegistrationNodes` to fill; where it holds None, or a node that has left the scene, a new
        node is made. No other node is changed.
    :returns: :class:`RegistrationNodes`.
    """
    *_steps, nodes = publishInSteps(result, fixedVolumeNode, movingVolumeNode, into)
    return nodes


def publishInSteps(result, fixedVolumeNode, movingVolumeNode, into=None):
    """As :func:`publish`, but stop after each node, so that Slicer stays responsive.

    When it fails, or is closed before its end, it removes the nodes that it has added.

    :returns: a generator; the last step gives the :class:`RegistrationNodes`, the others None.
    """
    outputs = [output for output in _outputs(result, fixedVolumeNode, movingVolumeNode) if output.content is not None]
    nodes, added = {}, set()
    try:
        for output in outputs:
            before = set(slicer.mrmlScene.GetNodes())
            try:
                nodes[output.field] = _fillNode(output, into, result.provenance())
            finally:
                added |= set(slicer.mrmlScene.GetNodes()) - before
            yield None
        _name({node: nodeName(name, fixedVolumeNode, movingVolumeNode) for name, node in nodes.items()})
    except (Exception, GeneratorExit):
        for node in filter(slicer.mrmlScene.IsNodePresent, added):
            slicer.mrmlScene.RemoveNode(node)
        raise
    if {"warpedVolumeNode", "movingSegmentationNode"} <= nodes.keys():
        # They lie where the moving volume was, and would clutter the views of the fixed and the warped volume.
        nodes["movingSegmentationNode"].GetDisplayNode().SetVisibility(False)
    if "transformNode" in nodes:
        _noteResults(nodes)
    yield RegistrationNodes(**nodes, report=result.report)


def _noteResults(nodes):
    """Note in a transform which other nodes were made with it, and in no other transform."""
    transforms = slicer.util.getNodesByClass("vtkMRMLTransformNode")
    for name, node in nodes.items():
        role = f"{RESULT_ROLE}{name}"
        for other in transforms:
            if other.GetNodeReference(role) is node:
                other.SetNodeReferenceID(role, None)
        if name != "transformNode":
            nodes["transformNode"].SetNodeReferenceID(role, node.GetID())


def _outputs(result, fixedVolumeNode, movingVolumeNode):
    """List the parts of a result, segmentations first: an unknown label is found before a selected node is changed."""
    ofFixed, ofMoving = (fixedVolumeNode, movingVolumeNode), (movingVolumeNode, fixedVolumeNode)
    titles = _columnTitles(fixedVolumeNode, movingVolumeNode)
    columns = [(titles[role], volumes) for role, volumes in result.report.get("volumes_ml", {}).items()]
    return [
        _Output("fixedSegmentationNode", result.fixed_labels, _fillSegmentation, *ofFixed),
        _Output("movingSegmentationNode", result.moving_labels, _fillSegmentation, *ofMoving),
        _Output("volumesTableNode", columns or None, _fillTable, *(ofFixed if fixedVolumeNode else ofMoving)),
        _Output("transformNode", result.transform, _fillTransform, *ofMoving),
        _Output("inverseTransformNode", result.inverse_transform, _fillTransform, *ofFixed),
        _Output("jacobianVolumeNode", result.jacobian, _fillJacobian, *ofFixed),
        _Output("warpedVolumeNode", result.warped, _fillWarped, *ofMoving),
        _Output("reportNode", result.page, _fillReport, *ofMoving),
    ]


def _columnTitles(fixedVolumeNode, movingVolumeNode):
    """Return the volumes' names, made different where they are the same: a table has one column of each name."""
    fixed, moving = (node and node.GetName() for node in (fixedVolumeNode, movingVolumeNode))
    if fixed == moving:
        fixed, moving = _("{name}, fixed").format(name=fixed), _("{name}, moving").format(name=moving)
    return {"fixed": fixed, "moving": moving}


def nodeName(fieldName, fixedVolumeNode, movingVolumeNode):
    """Return the name for the node in a field of :class:`RegistrationNodes`."""
    fixed, moving = (node.GetName() if node else "" for node in (fixedVolumeNode, movingVolumeNode))
    template = {
        "fixedSegmentationNode": _("{fixed} segmentation"),
        "movingSegmentationNode": _("{moving} segmentation"),
        "volumesTableNode": _("{first} structure volumes"),
        "transformNode": _("Transform {moving} to {fixed}"),
        "inverseTransformNode": _("Transform {fixed} to {moving}"),
        "jacobianVolumeNode": _("Jacobian determinant {fixed} to {moving}"),
        "warpedVolumeNode": _("{moving} warped to {fixed}"),
        "reportNode": _("Report {moving} to {fixed}"),
    }[fieldName]
    return template.format(fixed=fixed, moving=moving, first=fixed or moving)


def _fillNode(output, into, provenance):
    """Fill the selected node, or a new one, with one part of a result."""
    selected = getattr(into, output.field, None)
    node = selected if slicer.mrmlScene.IsNodePresent(selected) else _newNode(output.field)
    output.fill(node, output.content, output.volumeNode, output.otherVolumeNode)
    placeBeside(output.volumeNode, node)
    setProvenance(node, provenance)
    return node


def setProvenance(node, provenance):
    """Note in a node's attributes how it was made."""
    for name, value in provenance.items():
        node.SetAttribute(f"{ATTRIBUTES}{name}", value)


def _newNode(fieldName):
    """Add a node of the class that a field of :class:`RegistrationNodes` has."""
    nodeClass = get_args(RegistrationNodes.__annotations__[fieldName])[0]
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass.__name__)
    node.SetAttribute(NAME_GIVEN, node.GetName())
    return node


def _fillSegmentation(node, labels, volumeNode, _otherVolumeNode):
    segmentation = segmentationFromLabels(arrayOf(labels), volumeNode)
    emptyLabelMaps(node.GetSegmentation())
    node.SetAndObserveSegmentation(segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    if not node.GetDisplayNode():
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAllSegmentsOpacity2DFill(FILL_OPACITY)
        if segmentation.GetSegment(OUTERMOST):
            node.GetDisplayNode().SetSegmentVisibility3D(OUTERMOST, False)


def _fillTable(node, columns, *_volumeNodes):
    """List the structures that are present with their volumes in mL, one column for each volume."""
    names = [name for name in columns[0][1] if any(volumes[name] for _title, volumes in columns)]
    filled = [(vtk.vtkStringArray(), _("Structure"), names)]
    for title, volumes in columns:
        filled.append((vtk.vtkDoubleArray(), _("{name} (mL)").format(name=title), map(volumes.get, names)))
    node.RemoveAllColumns()
    for column, title, values in filled:
        column.SetName(title)
        for value in values:
            column.InsertNextValue(value)
        node.AddColumn(column)


def _fillTransform(node, transform, movingVolumeNode, fixedVolumeNode):
    """Fill a node, and note which volumes it connects, as Slicer's other registration modules do."""
    fromParent = vtkTransformFromITK(transform)
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObserveTransformFromParent(fromParent)
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixedVolumeNode.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), movingVolumeNode.GetID())


def _fillWarped(node, warped, movingVolumeNode, fixedVolumeNode):
    """Fill a volume, and show it with the moving volume's window, level and colors."""
    movingVolumeNode.CreateDefaultDisplayNodes()
    display = movingVolumeNode.GetDisplayNode()
    window = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    fillLike(node, arrayOf(warped), fixedVolumeNode, window, display.GetColorNodeID())


def _fillJacobian(node, jacobian, fixedVolumeNode, _movingVolumeNode):
    fillLike(node, arrayOf(jacobian), fixedVolumeNode, JACOBIAN_RANGE, JACOBIAN_COLORS)


def _fillReport(node, page, *_volumeNodes):
    node.SetText(page, vtk.VTK_ENCODING_UTF_8)


def _name(names):
    """Name nodes, except those that the user has renamed.

    :param names: by node.
    """
    ours = {node: name for node, name in names.items() if node.GetName() == node.GetAttribute(NAME_GIVEN)}
    for node in ours:
        node.SetName("")  # two nodes may swap their names
    for node, name in ours.items():
        free, number = name, 0
        while slicer.mrmlScene.GetFirstNodeByName(free):
            number += 1
            free = f"{name}_{number}"
        node.SetName(free)
        if node.GetStorageNode() and free != node.GetAttribute(NAME_GIVEN):
            slicer.mrmlScene.RemoveNode(node.GetStorageNode())  # its file keeps the earlier result
        node.SetAttribute(NAME_GIVEN, free)
