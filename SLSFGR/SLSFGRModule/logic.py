"""Registration and segmentation of nodes, for the panel, the Python console and scripts."""

from pathlib import Path

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from .itk_conversion import imageFromVolumeNode, initialTransformFromNode
from .library import TorchInstaller, importLibrary
from .output_nodes import publish
from .parameter_node import SLSFGRParameterNode
from .regions import regionImage
from .sequences import frameImage
from .standard_brain import standardBrain
from .validation import reasonNotToRegister, reasonNotToSegment, reasonNotToUse, reasonNotToUseRegions

# The fields of a job by the names of the parameters.
REGION_OPTIONS = {
    "fixedMask": "fixed_mask",
    "movingMask": "moving_mask",
    "fixedLesion": "fixed_lesion",
    "movingLesion": "moving_lesion",
}


class SLSFGRLogic(ScriptedLoadableModuleLogic):
    """Registration and segmentation of volume nodes, without dialogs. Main thread only.

    >>> nodes = SLSFGRLogic().register(fixedVolumeNode, movingVolumeNode)
    >>> segmentationOfMovingVolume.SetAndObserveTransformNodeID(nodes.transformNode.GetID())
    """

    def getParameterNode(self):
        """Return what is selected in the panel."""
        return SLSFGRParameterNode(super().getParameterNode())

    def register(self, fixedVolumeNode, movingVolumeNode, progress=None, into=None, **options):
        """Register two volumes and return the nodes with the results.

        Linear parent transforms of the inputs are respected: the results match what the views show.

        :param progress: called with a fraction, 0 to 1, and a message; may raise to cancel.
        :param into: :class:`RegistrationNodes` to fill; by default new nodes are made.
        :param options: as in :meth:`prepareRegistrationInSteps`.
        :returns: :class:`RegistrationNodes`.
        :raises ValueError: the volumes cannot be registered; the message says why.
        :raises RuntimeError: PyTorch is not installed.
        """
        job = self.prepareRegistration(fixedVolumeNode, movingVolumeNode, **options)
        _requireTorch()
        return publish(job.run(progress), fixedVolumeNode, movingVolumeNode, into)

    def segment(self, volumeNode, device="auto", progress=None, into=None):
        """Segment one volume.

        :param into: :class:`RegistrationNodes` with the ``fixedSegmentationNode`` and ``volumesTableNode`` to fill.
        :returns: :class:`RegistrationNodes` with these two.
        :raises ValueError, RuntimeError: as :meth:`register`.
        """
        job = self.prepareSegmentation(volumeNode, None, device=device)
        _requireTorch()
        return publish(job.run(progress), volumeNode, None, into)

    def standardBrain(self):
        """Return the volume node of the standard brain MNI152, which is added to the scene if it is not there.

        >>> nodes = SLSFGRLogic().register(SLSFGRLogic().standardBrain(), volumeNode)
        """
        return standardBrain()

    def registerFolder(self, fixedVolumeNode, inputFolder, outputFolder, progress=None, **options):
        """Register every image file of a folder to one volume, and write the results to files.

        :param options: ``mode`` and ``device`` as in :meth:`prepareRegistrationInSteps`.
        :returns: list of :class:`SLSFGRLib.jobs.batch.FolderCase`; a file that failed has the reason.
        :raises ValueError, RuntimeError: as :meth:`register`.
        """
        _refuseFor(reasonNotToUse(fixedVolumeNode))
        _requireTorch()
        folders, image = importLibrary("SLSFGRLib.jobs.batch"), imageFromVolumeNode(fixedVolumeNode)
        return folders.register_folder(image, Path(inputFolder), Path(outputFolder), progress, **options)

    def prepareRegistration(self, *volumeNodes, **options):
        """Copy two volumes out of the scene into a job; the arguments are those of the next method."""
        *_steps, job = self.prepareRegistrationInSteps(*volumeNodes, **options)
        return job

    def prepareRegistrationInSteps(
        self,
        fixedVolumeNode,
        movingVolumeNode,
        initialTransformNode=None,
        regionNodes=None,
        before=None,
        frame=None,
        **options,
    ):
        """Copy two volumes out of the scene into a job of :mod:`SLSFGRLib.jobs.job`, but stop after each image.

        :param initialTransformNode: linear; moves the moving volume near the fixed one when it is applied to it.
        :param regionNodes: label maps, or segmentations of which the segments that are shown count, by the names
            ``fixedMask`` and ``movingMask`` (compare only these voxels), ``fixedLesion`` and ``movingLesion`` (these
            have no counterpart in the other volume). A segmentation with the ID of one segment, as a pair, stands for
            this segment.
        :param before: the job before, of the same fixed volume with the same mask and lesion, whose images are used
            again: the library prepares and segments an image once.
        :param frame: of the sequence that the moving volume plays, from 0; None for the volume as it is.
        :param options: ``transform``, ``mode``, ``device``, ``model``, ``jacobian`` and ``start_from_segmentation``,
            as in :class:`SLSFGRLib.jobs.job.RegistrationJob`.
        :returns: a generator: the first step checks all and copies nothing, the last gives the job, the others None.
        :raises ValueError: the volumes cannot be registered; the message says why.
        """
        _refuseFor(reasonNotToRegister(fixedVolumeNode, movingVolumeNode, initialTransformNode))
        pairs = {name: node if isinstance(node, tuple) else (node, "") for name, node in (regionNodes or {}).items()}
        regions = {name: region for name, region in pairs.items() if region[0]}
        _refuseFor(reasonNotToUseRegions(regions.values()))
        yield None
        jobs = importLibrary("SLSFGRLib.jobs.job")
        yield None
        for name, option in REGION_OPTIONS.items():
            if name in regions:
                isKnown = before and name.startswith("fixed")
                options[option] = getattr(before, option) if isKnown else regionImage(*regions[name])
                yield None
        start = initialTransformNode and initialTransformFromNode(initialTransformNode)
        fixed = before.fixed if before else imageFromVolumeNode(fixedVolumeNode)
        yield None
        moving = imageFromVolumeNode(movingVolumeNode) if frame is None else frameImage(movingVolumeNode, frame)
        yield jobs.RegistrationJob(fixed, moving, initial_transform=start, **options)

    def prepareSegmentation(self, *volumeNodes, **options):
        """Copy one or two volumes out of the scene into a job; the arguments are those of the next method."""
        *_steps, job = self.prepareSegmentationInSteps(*volumeNodes, **options)
        return job

    def prepareSegmentationInSteps(self, fixedVolumeNode, movingVolumeNode, device="auto"):
        """Copy one or two volumes out of the scene into a job of :mod:`SLSFGRLib.jobs.job`, but stop after each.

        :param fixedVolumeNode, movingVolumeNode: one of them may be None.
        :returns: a generator, as that of :meth:`prepareRegistrationInSteps`.
        :raises ValueError: both are None, or one cannot be used; the message says why.
        """
        _refuseFor(reasonNotToSegment(fixedVolumeNode, movingVolumeNode))
        yield None
        jobs, images = importLibrary("SLSFGRLib.jobs.job"), []
        for node in (fixedVolumeNode, movingVolumeNode):
            yield None
            images.append(node and imageFromVolumeNode(node))
        yield jobs.SegmentationJob(*images, device=device)


def _refuseFor(reason, error=ValueError):
    if reason:
        raise error(reason)


def _requireTorch():
    _refuseFor(TorchInstaller().reasonNotToCompute(), RuntimeError)
