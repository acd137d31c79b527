"""A run: the jobs of one press of a button, one after the other, and their results in the scene. Main thread only."""

from collections import deque
from dataclasses import dataclass, replace

import slicer
from slicer.i18n import tr as _

from .apply_run import ApplyRun
from .output_nodes import RegistrationNodes, publishInSteps
from .sequences import SequenceResults


@dataclass(frozen=True)
class Pair:
    """What a job works on.

    :param fixedVolumeNode, movingVolumeNode: one of them may be None for a segmentation.
    :param frame: of the sequence that the moving volume plays, from 0; None for the volume as it is.
    """

    fixedVolumeNode: slicer.vtkMRMLScalarVolumeNode | None
    movingVolumeNode: slicer.vtkMRMLScalarVolumeNode | None
    frame: int | None = None

    @property
    def nodes(self):
        """The volumes that are there."""
        return [node for node in (self.fixedVolumeNode, self.movingVolumeNode) if node]


class Run:
    """Jobs for several pairs of volumes; while a result is put into the scene, the next job is computed already.

    Everything is done in short steps, so that Slicer stays responsive.

    :param runner: a :class:`.protocols.Runner`.
    :param prepare: called with a :class:`Pair` and the job before; returns a generator that copies volumes step by
        step: the first only checks them, the last gives the job, the others None. It may raise ValueError.
    :param pairs: the pairs, in order.
    :param outputs: :class:`.output_nodes.RegistrationNodes` to fill with the results of the first pair.
    :param listener: its methods ``onProgress(fraction, message)``, ``onLog(text)``, ``onPublished(nodes, pair)``,
        ``onMoved(node)`` and ``onProblem(sentence, pair)`` are called.
    :param followers: volumes that are moved by the transform of the first pair.
    """

    failure = _("The results could not be put into the scene.")

    def __init__(self, runner, prepare, pairs, outputs, listener, followers=()):
        self.pairs, self._outputs, self._followers = pairs, outputs, followers
        self._runner, self._prepare, self._listener = runner, prepare, listener
        self.number, self.isCancelled, self._isComputing = 0, False, False
        self._job, self._preparation = None, None
        self._publications = deque()  # of pairs and generators
        self._application = None  # of the first transform to the followers
        self._sequenceResults, self._isFixedSegmented = None, False

    @property
    def isOver(self):
        """Whether nothing is computed or put into the scene any more."""
        return not self._isComputing and not self._publications and not self._application

    @property
    def nodes(self):
        """The volume nodes that must stay in the scene."""
        current = [self.pairs[self.number - 1]] if self._isComputing else []
        return [node for pair in [*current, *(pair for pair, _steps in self._publications)] for node in pair.nodes]

    def start(self):
        """Start the first job.

        :raises ValueError: the first pair cannot be used; the message says why.
        """
        self._startNext()

    def poll(self):
        """See what the job does, and put a part of a result into the scene; call this some times a second."""
        try:
            if self._preparation:
                self._prepareOn()
            elif self._isComputing:
                self._runner.poll()
        finally:
            if not self._isComputing:
                self._runner.release()
        if self._publications:
            self._publishOneNode()
        elif self._application:
            self._moveOn()

    def cancel(self):
        """End the job and start no other; what was computed still comes into the scene."""
        self._followers, self._application = (), None
        if self._preparation:
            self._preparation, self._isComputing, self.isCancelled = None, False, True
        elif self._isComputing:
            self._runner.cancel()

    def discard(self):
        """End everything at once; a result that is only partly in the scene is removed."""
        self._preparation, self._isComputing = None, False
        self._runner.discard()
        self._application = None
        while self._publications:
            self._publications.popleft()[1].close()

    def _startNext(self):
        pair = self.pairs[self.number]
        self.number += 1
        preparation = self._prepare(pair, self._job)
        next(preparation)
        self._preparation, self._isComputing = preparation, True

    def _prepareOn(self):
        """Take the next step of the preparation; start the job after the last."""
        preparation, self._preparation = self._preparation, None
        try:
            job = next(preparation)
            if job is None:
                self._preparation = preparation
                return
            self._job = job
            self._runner.start(job, self._listener.onProgress, self._listener.onLog, self._onJobEnd)
        except ValueError as reason:
            self._isComputing = False
            self._listener.onProblem(str(reason), self.pairs[self.number - 1])
            self._startOneOfTheRest()
        except Exception:
            self._isComputing = False
            raise

    def _onJobEnd(self, result, problem):
        pair, self._isComputing = self.pairs[self.number - 1], False
        if result is not None:
            self._publications.append((pair, self._published(result, pair, self.number == 1)))
        elif problem:
            self._listener.onProblem(problem, pair)
        else:
            self.isCancelled = True
            return
        self._startOneOfTheRest()

    def _startOneOfTheRest(self):
        """Start the job of the next pair whose volumes are still there and can be used."""
        while self.number < len(self.pairs) and not self._isComputing:
            pair = self.pairs[self.number]
            if not all(map(slicer.mrmlScene.IsNodePresent, pair.nodes)):
                self.number += 1
                continue
            try:
                self._startNext()
            except ValueError as reason:
                self._listener.onProblem(str(reason), pair)

    def _published(self, result, pair, isFirst):
        """Put a result into the scene step by step: a generator whose last step gives the nodes.

        The fixed volume keeps its one segmentation; the results of each further pair go into new nodes.
        """
        if self._isFixedSegmented:
            result = replace(result, fixed_labels=None)
        ofFixed = RegistrationNodes(fixedSegmentationNode=self._outputs.fixedSegmentationNode)
        outputs = self._outputs if isFirst else ofFixed
        if pair.frame is None:
            yield from publishInSteps(result, pair.fixedVolumeNode, pair.movingVolumeNode, outputs)
            return
        if self._sequenceResults is None:
            self._sequenceResults = SequenceResults(pair.fixedVolumeNode, pair.movingVolumeNode)
        yield from self._sequenceResults.publishInSteps(result, pair.frame, outputs)

    def _publishOneNode(self):
        pair, steps = self._publications[0]
        try:
            nodes = next(steps)
        except Exception:
            self._publications.popleft()
            raise
        if nodes is not None:
            self._publications.popleft()
            self._isFixedSegmented = self._isFixedSegmented or nodes.fixedSegmentationNode is not None
            self._listener.onPublished(nodes, pair)
            self._applyTo(nodes)

    def _applyTo(self, nodes):
        """Begin to move the followers by the transform of the first pair."""
        if self._followers:
            direction = (nodes.transformNode, nodes.inverseTransformNode, self.pairs[0].fixedVolumeNode)
            self._application = ApplyRun(self._followers, direction, lambda node, _copy: self._listener.onMoved(node))
            self._followers = ()

    def _moveOn(self):
        """Take the next step of moving the followers."""
        try:
            self._application.poll()
        finally:
            if self._application.isOver:
                self._application = None
