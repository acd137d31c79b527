"""The place of nodes in the subject hierarchy."""

import slicer


def placeBeside(originalNode, node):
    """Put a node into the folder or study of the subject hierarchy that another node is in."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(originalNode)
    if item:
        hierarchy.CreateItem(hierarchy.GetItemParent(item), node)  # moves an item that exists
