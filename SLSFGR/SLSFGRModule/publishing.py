"""Results of a registration to nodes of the scene. Main thread only."""

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from .transforms import transformNodeFromITK
from .volumes import volumeNodeFromImage


@dataclass(frozen=True)
class RegistrationNodes:
    """What a registration puts into the scene.

    :param warpedVolumeNode: the moving volume on the grid of the fixed volume.
    :param transformNode: takes the moving volume to the fixed one, when the moving volume is put under it.
    :param inverseTransformNode: takes the fixed volume to the moving one.
    :param report: what the engine tells of its work.
    """

    warpedVolumeNode: slicer.vtkMRMLScalarVolumeNode
    transformNode: slicer.vtkMRMLTransformNode
    inverseTransformNode: slicer.vtkMRMLTransformNode
    report: dict


def publish(result, fixedVolumeNode, movingVolumeNode):
    """Put the result of an engine into the scene.

    Every node is whole before the first is added, so that an error leaves none behind.

    :param result: has ``warped``, ``transform``, ``inverse_transform`` and ``report``, as SLSFGRLib gives it.
    """
    warped = volumeNodeFromImage(result.warped)
    transform = transformNodeFromITK(result.transform)
    inverse = transformNodeFromITK(result.inverse_transform)

    names = {"fixed": fixedVolumeNode.GetName(), "moving": movingVolumeNode.GetName()}
    _addToScene(warped, _("{moving} warped to {fixed}").format(**names))
    warped.CreateDefaultDisplayNodes()
    _addToScene(transform, _("Transform {moving} to {fixed}").format(**names))
    _addToScene(inverse, _("Transform {fixed} to {moving}").format(**names))
    _setRoles(transform, fixedVolumeNode, movingVolumeNode)
    _setRoles(inverse, movingVolumeNode, fixedVolumeNode)
    return RegistrationNodes(warped, transform, inverse, result.report)


def _addToScene(node, name):
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    slicer.mrmlScene.AddNode(node)


def _setRoles(transformNode, fixedVolumeNode, movingVolumeNode):
    """Note in the node which volume it takes to which, as Slicer's other registration modules read it."""
    transformNode.SetNodeReferenceID(transformNode.GetFixedNodeReferenceRole(), fixedVolumeNode.GetID())
    transformNode.SetNodeReferenceID(transformNode.GetMovingNodeReferenceRole(), movingVolumeNode.GetID())
