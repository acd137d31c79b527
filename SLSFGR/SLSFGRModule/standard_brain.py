"""The bundled standard brain as a volume of the scene."""

import slicer

from .itk_conversion import RAS_FROM_LPS
from .library import LazyImport, importLibrary
from .validation import ATTRIBUTES

np, sitk = map(LazyImport, ("numpy", "SimpleITK"))
STANDARD_BRAIN = f"{ATTRIBUTES}StandardBrain"  # attribute of its volume


def standardBrain():
    """Return the volume of the standard brain; add it to the scene unless it is there."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(STANDARD_BRAIN):
            return node
    resources = importLibrary("SLSFGRLib.io.resources")
    image = sitk.ReadImage(str(resources.standard_brain_path()))
    kjiToLPS = importLibrary("SLSFGRLib.spatial.grid").grid_of_image(image).matrix
    ijkToRAS = np.diag(RAS_FROM_LPS) @ kjiToLPS[:, [2, 1, 0, 3]]
    node = slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), ijkToRAS, resources.STANDARD_BRAIN.upper())
    node.SetAttribute(STANDARD_BRAIN, resources.STANDARD_BRAIN)
    return node
