"""Results to nodes of the scene: all of them, or none. Main thread only."""

from dataclasses import dataclass, field
from typing import get_args

import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

from .itk_conversion import fillLike, vtkTransformFromITK
from .segmentations import segmentationFromLabels

OUTERMOST = "Cerebrospinal fluid"  # in 3-D it would hide the brain
FILL_OPACITY = 0.3  # in slices, where the image beneath should be seen
JACOBIAN_RANGE = (0.5, 1.5)  # half, and half as much again: what a glance should tell apart
JACOBIAN_COLORS = "vtkMRMLColorTableNodeFileDivergingBlueRed.txt"
NAME_GIVEN = "SLSFGR.Name"  # attribute: what we called a node


@dataclass(frozen=True)
class RegistrationNodes:
    """What a registration or a segmentation puts into the scene; None where there is nothing.

    :param warpedVolumeNode: the moving volume on the grid of the fixed volume.
    :param transformNode, inverseTransformNode: take the moving volume to the fixed one, when it is put under it, and
        the fixed one to the moving one.
    :param fixedSegmentationNode, movingSegmentationNode: structures of either volume.
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


def publish(result, fixedVolumeNode, movingVolumeNode, into=None):
    """Put the result of a registration, or of segmentations alone, into the scene.

    :param result: as :class:`SLSFGRLib.jobs.job.JobResult`.
    :param fixedVolumeNode, movingVolumeNode: None if it was not segmented.
    :param into: :class:`RegistrationNodes` to fill; where it holds None, or a node that has left the scene, one is
        made. No other node is changed.
    :returns: :class:`RegistrationNodes`.
    """
    before = set(slicer.mrmlScene.GetNodes())
    try:
        nodes = _published(result, fixedVolumeNode, movingVolumeNode, into)
    except Exception:
        for node in set(slicer.mrmlScene.GetNodes()) - before:
            slicer.mrmlScene.RemoveNode(node)
        raise
    if {"warpedVolumeNode", "movingSegmentationNode"} <= nodes.keys():
        # Over the fixed and the warped volume, the segments of the moving volume where it was are in the way.
        nodes["movingSegmentationNode"].GetDisplayNode().SetVisibility(False)
    return RegistrationNodes(**nodes, report=result.report)


def _published(result, fixedVolumeNode, movingVolumeNode, into):
    """Put each part of a result into a node; return the nodes by their places in :class:`RegistrationNodes`."""
    pair, back = (fixedVolumeNode, movingVolumeNode), (movingVolumeNode, fixedVolumeNode)
    names = {role: node.GetName() for role, node in zip(("fixed", "moving"), pair, strict=True) if node}
    columns = [(names[role], volumes) for role, volumes in result.report.get("volumes_ml", {}).items()]
    # The part, what fills a node with it, the node's name, and the volumes that it is of; it is shown beside the first.
    # Segmentations first: a label that has no name is found before a chosen node is overwritten.
    parts = {
        "fixedSegmentationNode": (result.fixed_labels, _fillSegmentation, _("{fixed} segmentation"), pair),
        "movingSegmentationNode": (result.moving_labels, _fillSegmentation, _("{moving} segmentation"), back),
        "volumesTableNode": (columns or None, _fillTable, _("{first} structure volumes"), pair if pair[0] else back),
        "transformNode": (result.transform, _fillTransform, _("Transform {moving} to {fixed}"), back),
        "inverseTransformNode": (result.inverse_transform, _fillTransform, _("Transform {fixed} to {moving}"), pair),
        "jacobianVolumeNode": (result.jacobian, _fillJacobian, _("Jacobian determinant {fixed} to {moving}"), pair),
        "warpedVolumeNode": (result.warped, _fillWarped, _("{moving} warped to {fixed}"), back),
    }
    nodes, texts = {}, {}
    for place, (part, fill, name, volumeNodes) in parts.items():
        if part is not None:
            chosen = getattr(into, place, None)
            nodes[place] = node = chosen if slicer.mrmlScene.IsNodePresent(chosen) else _newNode(place)
            fill(node, part, *volumeNodes)
            _placeBeside(volumeNodes[0], node)
            texts[node] = name.format(**names, first=next(iter(names.values())))
            for note, text in result.provenance().items():
                node.SetAttribute(f"SLSFGR.{note}", text)
    _name(texts)
    return nodes


def _newNode(place):
    """Add a node of the class that :class:`RegistrationNodes` has at a place."""
    nodeClass = get_args(RegistrationNodes.__annotations__[place])[0]
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass.__name__)
    node.SetAttribute(NAME_GIVEN, node.GetName())
    return node


def _fillSegmentation(node, labels, volumeNode, _other):
    segmentation = segmentationFromLabels(sitk.GetArrayViewFromImage(labels), volumeNode)
    node.SetAndObserveSegmentation(segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    if not node.GetDisplayNode():
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAllSegmentsOpacity2DFill(FILL_OPACITY)
        if segmentation.GetSegment(OUTERMOST):
            node.GetDisplayNode().SetSegmentVisibility3D(OUTERMOST, False)


def _fillTable(node, columns, *_volumeNodes):
    """List the structures that are present with their volumes in mL, one column for each image."""
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
    """Fill a node, and note in it which volume it takes to which, as Slicer's other registration modules do."""
    fromParent = vtkTransformFromITK(transform)
    node.SetAndObserveTransformNodeID(None)
    node.SetAndObserveTransformFromParent(fromParent)
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixedVolumeNode.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), movingVolumeNode.GetID())


def _fillWarped(node, warped, movingVolumeNode, fixedVolumeNode):
    """Show the warped volume as the moving one is shown: window, level and colors."""
    movingVolumeNode.CreateDefaultDisplayNodes()
    shown = movingVolumeNode.GetDisplayNode()
    window = shown.GetWindowLevelMin(), shown.GetWindowLevelMax()
    fillLike(node, sitk.GetArrayViewFromImage(warped), fixedVolumeNode, window, shown.GetColorNodeID())


def _fillJacobian(node, jacobian, fixedVolumeNode, _moving):
    fillLike(node, sitk.GetArrayViewFromImage(jacobian), fixedVolumeNode, JACOBIAN_RANGE, JACOBIAN_COLORS)


def _name(names):
    """Give nodes their names, but let those be that the user named otherwise since.

    :param names: by node.
    """
    ours = {node: name for node, name in names.items() if node.GetName() == node.GetAttribute(NAME_GIVEN)}
    for node in ours:
        node.SetName("")  # two may change names with each other
    for node, name in ours.items():
        free, number = name, 0
        while slicer.mrmlScene.GetFirstNodeByName(free):
            number += 1
            free = f"{name}_{number}"
        node.SetName(free)
        if node.GetStorageNode() and free != node.GetAttribute(NAME_GIVEN):
            slicer.mrmlScene.RemoveNode(node.GetStorageNode())  # its file holds another result, under the old name
        node.SetAttribute(NAME_GIVEN, free)


def _placeBeside(inputNode, node):
    """Show a node in the same folder or study of the subject hierarchy as an input."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    inputItem = hierarchy.GetItemByDataNode(inputNode)
    if inputItem:
        hierarchy.CreateItem(hierarchy.GetItemParent(inputItem), node)  # moves it where there already is one
