"""What the panel, the Python console and scripts do alike."""

from pathlib import Path

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .itk_conversion import imageFromVolumeNode, initialTransformFromNode
from .library import importLibrary, reasonWithoutTorch
from .output_nodes import publish
from .parameter_node import SLSFGRParameterNode
from .validation import reasonNotToRegister, reasonNotToSegment, reasonNotToUse


class SLSFGRLogic(ScriptedLoadableModuleLogic):
    """Registers and segments volume nodes; opens no dialog. Main thread only.

    >>> nodes = SLSFGRLogic().register(fixedVolumeNode, movingVolumeNode)
    >>> segmentationOfMovingVolume.SetAndObserveTransformNodeID(nodes.transformNode.GetID())
    """

    def getParameterNode(self):
        """Return what is chosen in the panel."""
        return SLSFGRParameterNode(super().getParameterNode())

    def register(self, fixedVolumeNode, movingVolumeNode, progress=None, into=None, **options):
        """Register and return the nodes.

        Parent transforms of the inputs are respected: the results fit to what the views show.

        :param progress: called with a fraction and a message; may raise to cancel.
        :param into: :class:`RegistrationNodes` to fill; by default new nodes are made.
        :param options: as :meth:`prepareRegistration`.
        :returns: :class:`RegistrationNodes`.
        :raises ValueError: the volumes cannot be registered; the message says why.
        :raises RuntimeError: PyTorch is not installed.
        """
        job = self.prepareRegistration(fixedVolumeNode, movingVolumeNode, **options)
        _refuse(reasonWithoutTorch(), RuntimeError)
        return publish(job.run(progress), fixedVolumeNode, movingVolumeNode, into)

    def segment(self, volumeNode, device="auto", progress=None, into=None):
        """Segment one volume.

        :param into: :class:`RegistrationNodes` with the ``fixedSegmentationNode`` and ``volumesTableNode`` to fill.
        :returns: :class:`RegistrationNodes` with these two.
        :raises ValueError, RuntimeError: as :meth:`register`.
        """
        job = self.prepareSegmentation(volumeNode, None, device)
        _refuse(reasonWithoutTorch(), RuntimeError)
        return publish(job.run(progress), volumeNode, None, into)

    def registerFolder(self, fixedVolumeNode, inputFolder, outputFolder, progress=None, **options):
        """Register every image file of a folder to one volume, from file to file.

        :param options: ``mode`` and ``device`` as :meth:`prepareRegistration`.
        :returns: list of :class:`SLSFGRLib.jobs.batch.FolderCase`, bad files with the reason.
        :raises ValueError, RuntimeError: as :meth:`register`.
        """
        _refuse(reasonNotToUse(fixedVolumeNode))
        _refuse(reasonWithoutTorch(), RuntimeError)
        folders, image = importLibrary("SLSFGRLib.jobs.batch"), imageFromVolumeNode(fixedVolumeNode)
        return folders.register_folder(image, Path(inputFolder), Path(outputFolder), progress, **options)

    def prepareRegistration(self, fixedVolumeNode, movingVolumeNode, initialTransformNode=None, **options):
        """Copy the volumes out of the scene, as a job of :mod:`SLSFGRLib.jobs.job`.

        :param initialTransformNode: linear; brings the moving volume near the fixed one when it is put under it.
        :param options: ``mode``, ``device``, ``model``, ``jacobian`` and ``start_from_segmentation``, as described for
            :class:`SLSFGRLib.jobs.job.RegistrationJob`.
        :raises ValueError: the volumes cannot be registered; the message says why.
        """
        _refuse(reasonNotToRegister(fixedVolumeNode, movingVolumeNode, initialTransformNode))
        start = initialTransformNode and initialTransformFromNode(initialTransformNode)
        images = imageFromVolumeNode(fixedVolumeNode), imageFromVolumeNode(movingVolumeNode)
        return importLibrary("SLSFGRLib.jobs.job").RegistrationJob(*images, initial_transform=start, **options)

    def prepareSegmentation(self, fixedVolumeNode, movingVolumeNode, device="auto"):
        """Copy one volume or both out of the scene, as a job of :mod:`SLSFGRLib.jobs.job`.

        :raises ValueError: there is none, or one cannot be used; the message says why.
        """
        _refuse(reasonNotToSegment(fixedVolumeNode, movingVolumeNode))
        images = [node and imageFromVolumeNode(node) for node in (fixedVolumeNode, movingVolumeNode)]
        return importLibrary("SLSFGRLib.jobs.job").SegmentationJob(*images, device=device)


def _refuse(reason, error=ValueError):
    if reason:
        raise error(reason)
