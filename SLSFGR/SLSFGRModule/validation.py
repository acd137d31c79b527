"""Checks before the work: each returns the reason against it, in one sentence for the user, or an empty text."""

import slicer
from slicer.i18n import tr as _

from .library import importLibrary
from .regions import segmentsThatCount

ATTRIBUTES = "SLSFGR."  # what the attributes of our results begin with


def reasonNotToRegister(fixedVolumeNode, movingVolumeNode, initialTransformNode=None):
    """Return why two volumes, either of which may be None, cannot be registered."""
    if not fixedVolumeNode or not movingVolumeNode:
        return _("Select a fixed and a moving volume.")
    if fixedVolumeNode is movingVolumeNode:
        return _("The fixed and the moving volume are the same. Select two different volumes.")
    reason = reasonNotToUse(fixedVolumeNode) or reasonNotToUse(movingVolumeNode)
    if initialTransformNode and not reason:
        reason = _reasonNotToStartFrom(initialTransformNode, movingVolumeNode)
    return reason


def volumesNotListed():
    """Return a sentence that names the volumes of the scene that cannot be selected; empty if there are none."""
    volumes = slicer.util.getNodesByClass("vtkMRMLVolumeNode")
    names = [node.GetName() for node in volumes if not node.GetHideFromEditors() and not isListed(node)]
    text = _(
        "Only scalar volumes can be registered, not {names}. The module Volumes converts label maps, the module "
        "Vector to Scalar Volume converts color images."
    )
    return text.format(names=", ".join(names)) if names else ""


def isListed(volumeNode):
    """Return whether the selectors of the inputs list a volume."""
    return volumeNode.GetClassName() == "vtkMRMLScalarVolumeNode"


def usableVolumes():
    """Return the volumes of the scene that can be registered, without the results of this module."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    shown = [node for node in volumes if isListed(node) and not node.GetHideFromEditors()]
    return [node for node in shown if not node.GetAttribute(f"{ATTRIBUTES}Version") and not _reasonByHeader(node)]


def reasonNotToRegisterAll(fixedVolumeNode, otherVolumeNodes):
    """Return why further volumes cannot be registered to the fixed volume."""
    for node in otherVolumeNodes:
        if node is fixedVolumeNode:
            return _("{name} is the fixed volume. Uncheck it under Also register.").format(name=node.GetName())
    return next(filter(None, map(reasonNotToUse, otherVolumeNodes)), "")


def reasonNotToUseRegions(regions):
    """Return why masks or lesions cannot be used.

    :param regions: each a node or None, and the ID of the segment that counts or an empty text.
    """
    for node, segmentID in regions:
        if not node:
            continue
        name, parent = node.GetName(), node.GetParentTransformNode()
        if node.IsA("vtkMRMLVolumeNode") and isEmpty(node):
            return _("{name} has no voxels. Select another mask or lesion, or none.").format(name=name)
        if node.IsA("vtkMRMLSegmentationNode") and not segmentsThatCount(node, segmentID):
            return _("{name} shows no segment. Show the segments that count, or select none.").format(name=name)
        if parent and not parent.IsTransformToWorldLinear():
            text = _("{name} is under the nonlinear transform {transform}. Harden it, or move {name} out of it.")
            return text.format(name=name, transform=parent.GetName())
    return ""


def reasonNotToSegment(*volumeNodes):
    """Return why volumes, some of which may be None, cannot be segmented."""
    if not importLibrary("SLSFGRLib.io.resources").can_segment():
        return _("The segmentation network is not installed. This version can only register.")
    selected = [node for node in volumeNodes if node]
    return next(filter(None, map(reasonNotToUse, selected)), "" if selected else _("Select a volume to segment."))


def reasonNotToUse(volumeNode):
    """Return why a volume cannot be used as an image."""
    reason = _reasonByHeader(volumeNode)
    if reason:
        return reason
    low, high = volumeNode.GetImageData().GetScalarRange()  # VTK remembers it until a voxel changes
    text = _("{name} has the same value in all of its voxels. Select another volume.")
    return text.format(name=volumeNode.GetName()) if low == high else ""


def _reasonByHeader(volumeNode):
    """As :func:`reasonNotToUse`, without a look at the voxels."""
    name, imageData = volumeNode.GetName(), volumeNode.GetImageData()
    if isEmpty(volumeNode):
        return _("{name} has no voxels. Load an image into it or select another volume.").format(name=name)
    if imageData.GetNumberOfScalarComponents() != 1:
        return _("{name} has several values per voxel. Select a scalar volume.").format(name=name)
    parent = volumeNode.GetParentTransformNode()
    if parent and not parent.IsTransformToWorldLinear():
        text = _("{name} is under the nonlinear transform {transform}. Harden it, or move {name} out of it.")
        return text.format(name=name, transform=parent.GetName())
    return ""


def isEmpty(volumeNode):
    """Return whether a volume has no voxels."""
    imageData = volumeNode.GetImageData()
    return not imageData or not imageData.GetNumberOfPoints()


def _reasonNotToStartFrom(transformNode, movingVolumeNode):
    name = transformNode.GetName()
    if not transformNode.IsTransformToWorldLinear():
        return _("{name} is not linear. Select a linear initial transform, or none.").format(name=name)
    parent = movingVolumeNode.GetParentTransformNode()
    if parent and (parent is transformNode or parent.IsTransformNodeMyParent(transformNode)):
        text = _("The moving volume is already under {name}. Select another initial transform, or none.")
        return text.format(name=name)
    return ""


def reasonNotToOverwrite(inputs, outputs):
    """Return why results cannot go into the outputs: one is an input, its parent, or selected for two results.

    :param inputs, outputs: nodes, any of which may be None.
    """
    taken = [node for node in inputs if node]
    for node in taken:  # the loop also visits the parents that it appends
        parent = node.GetParentTransformNode()
        if parent and parent not in taken:
            taken.append(parent)
    for node in filter(None, outputs):
        if node in taken:
            return _("{name} would be overwritten. Select another output, or none.").format(name=node.GetName())
        taken.append(node)
    return ""


def reasonNotToApply(checkedNodes, *neededNodes):
    """Return why a transform cannot be applied to the checked nodes; it needs all the other nodes."""
    if not all(neededNodes):
        return _("Register first, or select the volumes and both transforms above.")
    for node in checkedNodes:
        if node.IsA("vtkMRMLVolumeNode") and isEmpty(node):
            return _("{name} has no voxels. Uncheck it.").format(name=node.GetName())
    return "" if checkedNodes else _("Check the nodes to transform.")
