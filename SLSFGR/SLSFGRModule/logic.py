"""What the panel, the Python console and scripts do alike."""

from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .engine import importLibrary, requireTorch
from .parameters import SLSFGRParameterNode
from .publishing import RegistrationNodes, publishRegistration, publishSegmentations
from .transforms import initialTransformFromNode, reasonNotToStartFrom
from .volumes import imageFromVolumeNode, reasonNotToRegister, reasonNotUsable

IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


@dataclass(frozen=True)
class FolderCase:
    """What became of one image of a folder.

    :param path: the moving image.
    :param outputFolder: where its results are; None if it could not be registered.
    :param problem: why not, in one sentence.
    """

    path: Path
    outputFolder: Path | None
    report: dict
    problem: str = ""


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
        return self.publishRegistration(self._run(job, progress), fixedVolumeNode, movingVolumeNode, into)

    def segment(self, volumeNode, device="auto", progress=None, into=None):
        """Segment one volume.

        :param into: :class:`RegistrationNodes` of which ``fixedSegmentationNode`` and ``volumesTableNode`` are filled.
        :returns: :class:`RegistrationNodes` with these two.
        :raises ValueError, RuntimeError: as :meth:`register`.
        """
        job = self.prepareSegmentation(volumeNode, None, device)
        return self.publishSegmentations(self._run(job, progress), volumeNode, None, into)

    def registerFolder(self, fixedVolumeNode, inputFolder, outputFolder, progress=None, **options):
        """Register every image file of a folder to one volume, from file to file.

        Each image gets a folder of its own, with the files that ``slsfgr register`` writes. One that cannot be
        registered does not stop the others.

        :param options: as :meth:`prepareRegistration`.
        :returns: list of :class:`FolderCase`.
        """
        reason = reasonNotUsable(fixedVolumeNode)
        if reason:
            raise ValueError(reason)
        paths = sorted(path for path in Path(inputFolder).iterdir() if path.name.endswith(IMAGE_ENDINGS))
        fixed = imageFromVolumeNode(fixedVolumeNode)
        return [self._registerFile(fixed, path, Path(outputFolder), progress, options) for path in paths]

    def _registerFile(self, fixed, path, outputFolder, progress, options):
        inputError = importLibrary().InputError
        folder = outputFolder / path.name.partition(".")[0]
        try:
            moving = importLibrary("SLSFGRLib.images").read_image(path)
            result = self._run(importLibrary("SLSFGRLib.jobs").RegistrationJob(fixed, moving, **options), progress)
            with importLibrary("SLSFGRLib.commands.outputs").staged_folder(folder) as scratch:
                importLibrary("SLSFGRLib.commands.register").write_results(result, fixed, moving, scratch)
        except inputError as error:
            return FolderCase(path, None, {}, str(error))
        return FolderCase(path, folder, result.report)

    def prepareRegistration(self, fixedVolumeNode, movingVolumeNode, initialTransformNode=None, **options):
        """Copy the volumes out of the scene, as a job of :mod:`SLSFGRLib.jobs`.

        :param initialTransformNode: linear; brings the moving volume near the fixed one when it is put under it.
        :param options: ``mode`` (``fast``, ``standard``, ``accurate``), ``device`` (``auto``, ``cpu``, ``cuda``,
            ``cuda:N``) and ``jacobian`` (whether to make that volume).
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
        volumeNodes = [node for node in (fixedVolumeNode, movingVolumeNode) if node]
        reasons = [reasonNotUsable(node) for node in volumeNodes] or [_("Select a volume to segment.")]
        if any(reasons):
            raise ValueError(next(filter(None, reasons)))
        images = [imageFromVolumeNode(node) if node else None for node in (fixedVolumeNode, movingVolumeNode)]
        return importLibrary("SLSFGRLib.jobs").SegmentationJob(*images, device=device)

    def publishRegistration(self, result, fixedVolumeNode, movingVolumeNode, into=None):
        """Put the result of a registration into the scene; return :class:`RegistrationNodes`."""
        into = into or RegistrationNodes()
        return publishRegistration(result, fixedVolumeNode, movingVolumeNode, self._table(result), into)

    def publishSegmentations(self, result, fixedVolumeNode, movingVolumeNode, into=None):
        """Put segmentations into the scene; return :class:`RegistrationNodes`."""
        into = into or RegistrationNodes()
        return publishSegmentations(result, fixedVolumeNode, movingVolumeNode, self._table(result), into)

    def _run(self, job, progress):
        """Work in this process, where the library keeps its network between runs. Touches neither MRML nor Qt."""
        if self._library is None:
            requireTorch()
        return job.run(progress, self._library)

    def _table(self, result):
        """Return the label table; without labels there is no need for one."""
        if result.fixed_labels is None and result.moving_labels is None:
            return ()
        return self._structures or importLibrary("SLSFGRLib.label_table").read_label_table()
