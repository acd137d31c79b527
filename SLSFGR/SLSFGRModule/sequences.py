"""Sequences: the frames that a volume plays, and sequences of their results. Main thread only.

A sequence is played through a volume of the scene, which Slicer calls its proxy; a browser keeps both in step.
"""

from dataclasses import replace

import slicer
import vtk
from slicer.i18n import tr as _

from .itk_conversion import arrayOf, fillVoxels, imageFromArray, vtkTransformFromITK
from .output_nodes import RegistrationNodes, nodeName, publishInSteps, setProvenance
from .subject_hierarchy import placeBeside
from .validation import ATTRIBUTES, reasonNotToUse

FRAME_NAME = f"{ATTRIBUTES}FrameName"  # attribute of a sequence of results: what its frames are called


def isProxy(node):
    """Return whether a node of the scene plays a sequence."""
    return _browserOf(node) is not None


def frameCount(volumeNode):
    """Return of how many frames the sequence consists that a volume plays; 0 if it plays none."""
    browser = _browserOf(volumeNode)
    return browser.GetSequenceNode(volumeNode).GetNumberOfDataNodes() if browser else 0


def frameImage(volumeNode, frame):
    """Copy a frame into an image that lies where Slicer shows the volume that plays it.

    :raises ValueError: there is no such frame any more, or it cannot be used.
    """
    browser = _browserOf(volumeNode)
    frameNode = browser and browser.GetSequenceNode(volumeNode).GetNthDataNode(frame)
    if not frameNode:
        raise ValueError(_("{name} has no frame {number}.").format(name=volumeNode.GetName(), number=frame + 1))
    reason = reasonNotToUse(frameNode)
    if reason:
        raise ValueError(reason)
    ijkToLocal = vtk.vtkMatrix4x4()
    frameNode.GetIJKToRASMatrix(ijkToLocal)
    return imageFromArray(slicer.util.arrayFromVolume(frameNode), ijkToLocal, volumeNode.GetParentTransformNode())


class SequenceResults:
    """The warped frames and their transforms as two sequences, played in step with the frames.

    :param fixedVolumeNode: to which all are registered.
    :param movingVolumeNode: plays the frames.
    """

    def __init__(self, fixedVolumeNode, movingVolumeNode):
        self._fixed, self._moving = fixedVolumeNode, movingVolumeNode
        self._warped = self._transforms = self._fixedSegmentation = None

    def publishInSteps(self, result, frame, outputs=None):
        """Add the results of a frame, as :func:`.output_nodes.publishInSteps` does for a pair of volumes.

        :param outputs: :class:`.RegistrationNodes` of which the fixed segmentation is filled, with the first frame.
        """
        if self._warped is None:
            ofFixed = replace(result, warped=None, transform=None, inverse_transform=None, moving_labels=None)
            report = {name: value for name, value in result.report.items() if name != "volumes_ml"}
            ofFixed = replace(ofFixed, jacobian=None, page=None, report=report)
            *_steps, nodes = publishInSteps(ofFixed, self._fixed, None, outputs)
            yield None
            self._fixedSegmentation = nodes.fixedSegmentationNode
            self._warped, self._transforms = map(self._newSequence, ("warpedVolumeNode", "transformNode"))
        warped = self._add(self._warped, slicer.vtkMRMLScalarVolumeNode(), frame, result)
        fillVoxels(warped, arrayOf(result.warped), self._fixed)
        yield None
        transform = self._add(self._transforms, slicer.vtkMRMLTransformNode(), frame, result)
        transform.SetAndObserveTransformFromParent(vtkTransformFromITK(result.transform))
        yield None
        warped, transform = self._play()
        yield RegistrationNodes(warped, transform, fixedSegmentationNode=self._fixedSegmentation, report=result.report)

    def _source(self):
        """Return the browser and the sequence of the moving volume."""
        browser = _browserOf(self._moving)
        return browser, browser.GetSequenceNode(self._moving)

    def _newSequence(self, field):
        """Add an empty sequence with the index of the moving one."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
        name = _("{name} sequence").format(name=nodeName(field, self._fixed, self._moving))
        node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
        node.SetAttribute(FRAME_NAME, nodeName(field, self._fixed, self._moving))
        _browser, source = self._source()
        node.SetIndexName(source.GetIndexName())
        node.SetIndexUnit(source.GetIndexUnit())
        node.SetIndexType(source.GetIndexType())
        placeBeside(self._moving, node)
        return node

    def _add(self, sequenceNode, node, frame, result):
        """Add an empty node as a frame of a sequence; return the sequence's copy of it."""
        node.SetName(sequenceNode.GetAttribute(FRAME_NAME))
        setProvenance(node, result.provenance())
        return sequenceNode.SetDataNodeAtValue(node, self._source()[1].GetNthIndexValue(frame))

    def _play(self):
        """Play the results in step with the frames; return the nodes that play them."""
        browser, _source = self._source()
        for sequence in (self._warped, self._transforms):
            if not browser.IsSynchronizedSequenceNode(sequence):
                browser.AddSynchronizedSequenceNode(sequence)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        proxies = [browser.GetProxyNode(sequence) for sequence in (self._warped, self._transforms)]
        for proxy in proxies:
            placeBeside(self._moving, proxy)
        proxies[0].SetAndObserveTransformNodeID(self._fixed.GetTransformNodeID())
        proxies[0].CreateDefaultDisplayNodes()
        proxies[0].GetDisplayNode().AutoWindowLevelOff()
        proxies[0].GetDisplayNode().SetWindowLevelMinMax(*_window(self._moving))
        return proxies


def _window(volumeNode):
    volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetDisplayNode()
    return display.GetWindowLevelMin(), display.GetWindowLevelMax()


def _browserOf(node):
    """Return the browser that plays a sequence through a node, or None."""
    return slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(node) if node else None
