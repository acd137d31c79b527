"""What the user chooses in the panel, kept in the scene."""

from enum import Enum

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTableNode, vtkMRMLTransformNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper


class Mode(Enum):
    """How long to optimize. Scenes hold the names: never rename them."""

    FAST = "fast"
    STANDARD = "standard"
    ACCURATE = "accurate"

    def label(self):
        """Text for the panel."""
        return {"fast": _("Fast"), "standard": _("Standard"), "accurate": _("Accurate")}[self.value]


class Device(Enum):
    """Where to compute. Scenes hold the names: never rename them."""

    AUTO = "auto"
    GPU = "cuda"
    CPU = "cpu"

    def label(self):
        """Text for the panel."""
        return {"auto": _("Automatic"), "cuda": _("Graphics card (CUDA)"), "cpu": _("Processor (CPU)")}[self.value]


@parameterNodeWrapper
class SLSFGRParameterNode:
    """Inputs, outputs and settings; the names are those of the widgets' SlicerParameterName."""

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    warpedVolume: vtkMRMLScalarVolumeNode
    transform: vtkMRMLTransformNode
    inverseTransform: vtkMRMLTransformNode
    fixedSegmentation: vtkMRMLSegmentationNode
    movingSegmentation: vtkMRMLSegmentationNode
    volumesTable: vtkMRMLTableNode
    jacobianVolume: vtkMRMLScalarVolumeNode
    makeJacobian: bool = False
    mode: Mode = Mode.STANDARD
    device: Device = Device.AUTO
    initialTransform: vtkMRMLTransformNode
    startFromSegmentation: bool = True
    model: str = ""
