"""Why something cannot be done, each in one sentence for the user; empty where it can be done."""

from slicer.i18n import tr as _

from .library import importLibrary


def reasonNotToRegister(fixedVolumeNode, movingVolumeNode, initialTransformNode=None):
    """Why two volumes, either of which may be None, cannot be registered."""
    if not fixedVolumeNode or not movingVolumeNode:
        return _("Select a fixed and a moving volume.")
    if fixedVolumeNode is movingVolumeNode:
        return _("The fixed and the moving volume are the same. Select two different volumes.")
    reason = reasonNotToUse(fixedVolumeNode) or reasonNotToUse(movingVolumeNode)
    if initialTransformNode and not reason:
        reason = _reasonNotToStartFrom(initialTransformNode, movingVolumeNode)
    return reason


def reasonNotToSegment(*volumeNodes):
    """Why volumes, of which some may be None, cannot be segmented."""
    if not importLibrary("SLSFGRLib.io.resources").can_segment():
        return _("This version registers only: the network that segments is not installed.")
    chosen = [node for node in volumeNodes if node]
    return next(filter(None, map(reasonNotToUse, chosen)), "" if chosen else _("Select a volume to segment."))


def reasonNotToUse(volumeNode):
    """Why no image can be taken from a volume."""
    name, imageData = volumeNode.GetName(), volumeNode.GetImageData()
    if not imageData or not imageData.GetNumberOfPoints():
        return _("{name} holds no voxels. Load an image into it or select another.").format(name=name)
    if imageData.GetNumberOfScalarComponents() != 1:
        return _("{name} has several values in each voxel. Select a volume with one.").format(name=name)
    parent = volumeNode.GetParentTransformNode()
    if parent and not parent.IsTransformToWorldLinear():
        text = _("{name} is under the transform {transform}, which bends it. Harden it, or move {name} out of it.")
        return text.format(name=name, transform=parent.GetName())
    return ""


def _reasonNotToStartFrom(transformNode, movingVolumeNode):
    name = transformNode.GetName()
    if not transformNode.IsTransformToWorldLinear():
        return _("{name} bends space. Select a linear initial transform, or none.").format(name=name)
    parent = movingVolumeNode.GetParentTransformNode()
    if parent and (parent is transformNode or parent.IsTransformNodeMyParent(transformNode)):
        return _("The moving volume already is under {name}. Select no initial transform.").format(name=name)
    return ""


def reasonNotToOverwrite(inputs, outputs):
    """Why results cannot go into the outputs: one of them is needed as it is, or selected for two results.

    :param inputs, outputs: nodes, any of which may be None.
    """
    taken = [node for node in inputs if node]
    for node in taken:  # which grows
        parent = node.GetParentTransformNode()
        if parent and parent not in taken:
            taken.append(parent)
    for node in filter(None, outputs):
        if node in taken:
            return _("{name} would be overwritten. Select another output, or none.").format(name=node.GetName())
        taken.append(node)
    return ""


def reasonNotToCarry(checkedNodes, *neededNodes):
    """Why checked nodes cannot be carried through a transform, for which all the others are needed."""
    if not all(neededNodes):
        return _("Register first, or select the volumes and both transforms above.")
    return "" if checkedNodes else _("Check the nodes to carry over.")
