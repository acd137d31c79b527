"""A transform applied to several nodes, one after the other, in steps of some tenths of a second. Main thread only."""

from collections import deque

import slicer
from slicer.i18n import tr as _

from .apply_transform import applyTransformInSteps


class ApplyRun:
    """Make copies of nodes that match the fixed volume; the panel handles it as a :class:`.run.Run`.

    A node that has left the scene meanwhile is left out.

    :param nodes: they match the moving volume.
    :param direction: what :func:`.apply_transform.applyTransform` needs: the transform node, the inverse one, and the
        fixed volume.
    :param onCopied: called with each node and its copy.
    """

    failure = _("The transform could not be applied.")
    pairs = ()

    def __init__(self, nodes, direction, onCopied):
        self._waiting, self._direction, self._onCopied = deque(nodes), direction, onCopied
        self._count, self._node, self._steps = len(nodes), None, None
        self.isCancelled = False

    @property
    def isOver(self):
        """Whether nothing is applied any more."""
        return not self._waiting and not self._steps

    @property
    def fraction(self):
        """How much is done, from 0 to 1."""
        return 1.0 - (len(self._waiting) + bool(self._steps)) / self._count

    @property
    def nodes(self):
        """The nodes that must stay in the scene."""
        return self._direction

    def poll(self):
        """Take the next step; call this some times a second."""
        if not self._steps and self._waiting:
            self._node = self._waiting.popleft()
            self._steps = applyTransformInSteps(self._node, *self._direction)
        if not all(map(slicer.mrmlScene.IsNodePresent, (self._node, *self._direction))):
            self._steps = None
            return
        steps, self._steps = self._steps, None
        copy = next(steps)
        if copy is None:
            self._steps = steps
        else:
            self._onCopied(self._node, copy)

    def cancel(self):
        """Make no further copies."""
        self.discard()
        self.isCancelled = True

    def discard(self):
        """Make no further copies; the scene holds nothing of the one that is being made."""
        self._waiting.clear()
        self._steps = None
