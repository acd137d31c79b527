"""Brain Registration (SLSFGR): the scripted module that Slicer loads."""

from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest
from SLSFGRModule.library import TorchInstaller
from SLSFGRModule.logic import SLSFGRLogic
from SLSFGRModule.widget import SLSFGRWidget

__all__ = ["SLSFGR", "SLSFGRLogic", "SLSFGRTest", "SLSFGRWidget"]

# The pair of Slicer's own registration tutorials: one patient at two dates. The files are named by their SHA-256.
SAMPLE_URL = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"
SAMPLE_CHECKSUMS = (
    "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95",
    "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97",
)


class SLSFGR(ScriptedLoadableModule):
    """The module's entry in Slicer's list of modules."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Brain Registration (SLSFGR)")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.associatedNodeTypes = ["vtkMRMLTransformNode"]
        self.parent.contributors = ["SLSFGR contributors"]
        self.parent.helpText = _(
            "Aligns a moving brain MRI with a fixed one at the press of one button. Creates the warped volume, "
            "the transform, its inverse, and segmentations of both brains. For research only. "
            'See the <a href="https://github.com/slsfgr/SlicerSLSFGR">tutorial and documentation</a>.'
        )
        self.parent.acknowledgementText = _(
            "Built with 3D Slicer, SimpleITK and PyTorch. The standard brain MNI152 is by the McConnell Brain Imaging "
            "Centre, McGill University."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Add a pair of brain MRI to the module Sample Data."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_("Brain Registration (SLSFGR)"),
        sampleName="SLSFGRBrainPair",
        thumbnailFileName=str(Path(__file__).parent / "Resources/Icons/SLSFGR.png"),
        uris=[SAMPLE_URL + checksum for checksum in SAMPLE_CHECKSUMS],
        fileNames=["RegLib_C01_1.nrrd", "RegLib_C01_2.nrrd"],
        nodeNames=["MRBrainTumor1", "MRBrainTumor2"],
        checksums=[f"SHA256:{checksum}" for checksum in SAMPLE_CHECKSUMS],
    )


class SLSFGRTest(ScriptedLoadableModuleTest):
    """The self-test that "Reload and Test" and CTest run inside Slicer; the other tests are in Testing, for pytest."""

    def runTest(self):
        """Check that the panel asks for volumes, and register a phantom with a known shift from the console."""
        slicer.mrmlScene.Clear()
        widget = slicer.util.getModuleWidget("SLSFGR")
        widget.enter()
        assert not widget.ui.registerButton.enabled
        assert widget.ui.registerButton.toolTip == _("Select a fixed and a moving volume.")
        fixedVolumeNode, movingVolumeNode = (addPhantom(center) for center in ((0, 0, 0), (12, -6, 8)))
        if not TorchInstaller().isInstalled():
            return  # nothing can be registered without PyTorch, which the panel offers to install
        nodes = SLSFGRLogic().register(fixedVolumeNode, movingVolumeNode, mode="fast", device="cpu")
        moved = nodes.transformNode.GetTransformFromParent().TransformPoint((0.0, 0.0, 0.0))
        assert max(abs(got - known) for got, known in zip(moved, (12, -6, 8), strict=True)) < 2.0


def addPhantom(center):
    """Add a volume with a bright ball of 50 mm radius that has a darker core.

    :param center: of the ball, RAS in mm.
    """
    import numpy as np

    distance = 4.0 * np.sqrt(sum(np.square(axis) for axis in np.ogrid[-25:26, -25:26, -25:26]))
    array = (100.0 * (distance < 50) - 40.0 * (distance < 25)).astype(np.float32)
    ijkToRAS = np.diag([4.0, 4.0, 4.0, 1.0])
    ijkToRAS[:3, 3] = np.array(center) - 100.0
    return slicer.util.addVolumeFromArray(array, ijkToRAS, "phantom")
