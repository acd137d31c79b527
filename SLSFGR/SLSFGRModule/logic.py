"""What the panel, the Python console and scripts do alike."""

from pathlib import Path

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .engine import importLibrary, requireTorch
from .parameters import SLSFGRParameterNode
from .publishing import RegistrationNodes, publish
from .transforms import initialTransformFromNode, reasonNotToStartFrom
from .volumes import imageFromVolumeNode, reasonNotToRegister, reasonNotUsable


class SLSFGRLogic(ScriptedLoadableModuleLogic):
    """Registers and segments volume nodes; opens no dialog. Main thread only.

    >>> nodes = SLSFGRLogic().register(fixedVolumeNode, movingVolumeNode)
    >>> segmentationOfMovingVolume.SetAndObserveTransformNodeID(nodes.transformNode.GetID())

    :param library: what registers and segments SimpleITK images; by default SLSFGRLib.
    :param structures: the label table; by default the library's.
    """

    def __init__(self, library=None, structures=None):
        ScriptedLoadableModuleLogic.__init__(self)
        self._library = library
        self._structures = structures

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
        return self.publish(self._run(job.run, progress), fixedVolumeNode, movingVolumeNode, into)

    def segment(self, volumeNode, device="auto", progress=None, into=None):
        """Segment one volume.

        :param into: :class:`RegistrationNodes` with the ``fixedSegmentationNode`` and ``volumesTableNode`` to fill.
        :returns: :class:`RegistrationNodes` with these two.
        :raises ValueError, RuntimeError: as :meth:`register`.
        """
        job = self.prepareSegmentation(volumeNode, None, device)
        return self.publish(self._run(job.run, progress), volumeNode, None, into)

    def registerFolder(self, fixedVolumeNode, inputFolder, outputFolder, progress=None, **options):
        """Register every image file of a folder to one volume, from file to file.

        :param options: ``mode`` and ``device`` as :meth:`prepareRegistration`.
        :returns: list of :class:`SLSFGRLib.folders.FolderCase`, bad files with the reason.
        """
        reason = reasonNotUsable(fixedVolumeNode)
        if reason:
            raise ValueError(reason)
        image = imageFromVolumeNode(fixedVolumeNode)
        registerFolder = importLibrary("SLSFGRLib.folders").register_folder
        return self._run(registerFolder, image, Path(inputFolder), Path(outputFolder), progress, **options)

    def prepareRegistration(self, fixedVolumeNode, movingVolumeNode, initialTransformNode=None, **options):
        """Copy the volumes out of the scene, as a job of :mod:`SLSFGRLib.jobs`.

        :param initialTransformNode: linear; brings the moving volume near the fixed one when it is put under it.
        :param options: ``mode`` (``fast``, ``standard``, ``accurate``), ``device`` (``auto``, ``cpu``, ``cuda``,
            ``cuda:N``), ``model`` (the file of a trained model), ``jacobian`` (whether to make that volume) and
            ``start_from_segmentation`` (whether to begin at the structures, where the network that segments is
            installed).
        :raises ValueError: the volumes cannot be registered; the message says why.
        """
        reason = reasonNotToRegister(fixedVolumeNode, movingVolumeNode)
        if initialTransformNode and not reason:
            reason = reasonNotToStartFrom(initialTransformNode, movingVolumeNode)
        if reason:
            raise ValueError(reason)
        start = initialTransformFromNode(initialTransformNode) if initialTransformNode else None
        images = imageFromVolumeNode(fixedVolumeNode), imageFromVolumeNode(movingVolumeNode)
        return importLibrary("SLSFGRLib.jobs").RegistrationJob(*images, initial_transform=start, **options)

    def prepareSegmentation(self, fixedVolumeNode, movingVolumeNode, device="auto"):
        """Copy one volume or both out of the scene, as a job of :mod:`SLSFGRLib.jobs`.

        :raises ValueError: there is none, or one cannot be used; the message says why.
        """
        reason = reasonNotToSegment(fixedVolumeNode, movingVolumeNode)
        if reason:
            raise ValueError(reason)
        images = [node and imageFromVolumeNode(node) for node in (fixedVolumeNode, movingVolumeNode)]
        return importLibrary("SLSFGRLib.jobs").SegmentationJob(*images, device=device)

    def publish(self, result, fixedVolumeNode, movingVolumeNode, into=None):
        """Put the result of a job into the scene; return :class:`RegistrationNodes`."""
        structures = self._structures
        if structures is None and not (result.fixed_labels is None and result.moving_labels is None):
            structures = importLibrary("SLSFGRLib.label_table").read_label_table()
        return publish(result, fixedVolumeNode, movingVolumeNode, structures, into or RegistrationNodes())

    def _run(self, work, *arguments, **options):
        """Work in this process, where the library keeps its network between runs. Touches neither MRML nor Qt."""
        if self._library is None:
            requireTorch()
        return work(*arguments, library=self._library, **options)


def reasonNotToSegment(*volumeNodes):
    """Why volumes, of which some may be None, cannot be segmented; empty when they can."""
    chosen = [node for node in volumeNodes if node]
    return next(filter(None, map(reasonNotUsable, chosen)), "" if chosen else _("Select a volume to segment."))
