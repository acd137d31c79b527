"""The parameter node: what the user selects in the panel, saved with the scene."""

from enum import Enum
from typing import Union

import slicer
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
    vtkMRMLTextNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from .output_nodes import RESULT_ROLE
from .sequences import isProxy

REGIONS = ("fixedMask", "movingMask", "fixedLesion", "movingLesion")
INPUTS = ("fixedVolume", "movingVolume", "initialTransform", *REGIONS)
OUTPUTS = (
    "warpedVolume",
    "transform",
    "inverseTransform",
    "fixedSegmentation",
    "movingSegmentation",
    "volumesTable",
    "jacobianVolume",
    "report",
)


# Inputs and outputs that belong to the fixed volume, and those that belong to the moving one.
COUNTERPARTS = (
    ("fixedVolume", "movingVolume"),
    ("fixedMask", "movingMask"),
    ("fixedLesion", "movingLesion"),
    ("fixedMaskSegment", "movingMaskSegment"),
    ("fixedLesionSegment", "movingLesionSegment"),
    ("fixedSegmentation", "movingSegmentation"),
    ("transform", "inverseTransform"),
)


class TransformType(Enum):
    """Which kind of transform to find. Scenes contain the names: never rename them."""

    AUTO = "auto"
    RIGID = "rigid"
    AFFINE = "affine"
    DEFORMABLE = "deformable"

    def label(self):
        """Return the text for the panel."""
        texts = _("Automatic"), _("Rigid"), _("Affine"), _("Deformable")
        return dict(zip(("auto", "rigid", "affine", "deformable"), texts, strict=True))[self.value]


class Mode(Enum):
    """How long to optimise. Scenes contain the names: never rename them."""

    FAST = "fast"
    STANDARD = "standard"
    ACCURATE = "accurate"

    def label(self):
        """Return the text for the panel."""
        return {"fast": _("Fast"), "standard": _("Standard"), "accurate": _("Accurate")}[self.value]


class Device(Enum):
    """Where to compute. Scenes contain the names: never rename them."""

    AUTO = "auto"
    GPU = "cuda"
    CPU = "cpu"

    def label(self):
        """Return the text for the panel."""
        return {"auto": _("Automatic"), "cuda": _("Graphics card (CUDA)"), "cpu": _("Processor (CPU)")}[self.value]


# Slicer's wrapper knows typing's own unions only.
Region = Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode]  # noqa: UP007


@parameterNodeWrapper
class SLSFGRParameterNode:
    """Inputs, outputs and settings; the names are those in the widgets' property SlicerParameterName."""

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    fixedMask: Region
    movingMask: Region
    fixedLesion: Region
    movingLesion: Region
    fixedMaskSegment: str = ""
    movingMaskSegment: str = ""
    fixedLesionSegment: str = ""
    movingLesionSegment: str = ""
    warpedVolume: vtkMRMLScalarVolumeNode
    transform: vtkMRMLTransformNode
    inverseTransform: vtkMRMLTransformNode
    fixedSegmentation: vtkMRMLSegmentationNode
    movingSegmentation: vtkMRMLSegmentationNode
    volumesTable: vtkMRMLTableNode
    jacobianVolume: vtkMRMLScalarVolumeNode
    report: vtkMRMLTextNode
    makeJacobian: bool = False
    wholeSequence: bool = True
    allByFirst: bool = False
    transformType: TransformType = TransformType.AUTO
    mode: Mode = Mode.STANDARD
    device: Device = Device.AUTO
    initialTransform: vtkMRMLTransformNode
    startFromSegmentation: bool = True
    model: str = ""


def selectedNodes(parameters, names=INPUTS + OUTPUTS):
    """Return the selected nodes by the names of their parameters; None where no node is selected."""
    return {name: getattr(parameters, name) for name in names}


def selectedRegions(parameters):
    """Return masks and lesions by the names of their parameters.

    :returns: each a node or None, and the ID of the segment that counts, empty for those that are shown.
    """
    return {name: (getattr(parameters, name), getattr(parameters, f"{name}Segment")) for name in REGIONS}


def selectNodes(parameters, nodes):
    """Select nodes, all in one change.

    :param nodes: by the names of their parameters; None deselects.
    """
    with slicer.util.NodeModify(parameters.parameterNode):
        for name, node in nodes.items():
            setattr(parameters, name, node)


def swapInputs(parameters):
    """Exchange the fixed and the moving volume, and what belongs to each; the next run creates the other results."""
    swapped = {}
    for first, second in COUNTERPARTS:
        swapped |= {first: getattr(parameters, second), second: getattr(parameters, first)}
    selectNodes(parameters, swapped | dict.fromkeys(("warpedVolume", "jacobianVolume", "report")))


def selectPairOf(parameters, transformNode):
    """Select the volumes that a transform of this module connects, the transform, and what was made with it."""
    pair = {
        "fixedVolume": transformNode.GetNodeReference(transformNode.GetFixedNodeReferenceRole()),
        "movingVolume": transformNode.GetNodeReference(transformNode.GetMovingNodeReferenceRole()),
    }
    results = {name: transformNode.GetNodeReference(f"{RESULT_ROLE}{name}Node") for name in OUTPUTS}
    results["transform"] = transformNode
    if pair["fixedVolume"] is parameters.fixedVolume and not results["fixedSegmentation"]:
        del results["fixedSegmentation"]  # of several volumes registered to one, the first has its segmentation
    isOther = pair != selectedNodes(parameters, tuple(pair))
    selectNodes(parameters, pair | results | (dict.fromkeys(REGIONS) if isOther else {}))


def outputsToFill(parameters):
    """Return the outputs to overwrite by the names of their parameters; None where a node is to be created.

    The table, the Jacobian and the report have no selector. A new table is created with new segmentations, a new
    Jacobian and a new report with a new transform: who sets those to be created wants to keep the earlier results. A
    node that plays a sequence is never filled: it would lose that with the next frame.
    """
    outputs = {name: None if isProxy(node) else node for name, node in selectedNodes(parameters, OUTPUTS).items()}
    if not outputs["fixedSegmentation"] and not outputs["movingSegmentation"]:
        outputs["volumesTable"] = None
    if not outputs["transform"]:
        outputs["jacobianVolume"] = outputs["report"] = None
    return outputs
