"""The panel: choices, one button, progress, and the means to judge the result."""

import importlib
import sys

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from .carrying import carry
from .comparison import Comparison, canCompare
from .engine import canSegment, offerTorch, torchInstalled
from .logic import SLSFGRLogic
from .process import JobProcess
from .publishing import RegistrationNodes
from .resultline import resultLine
from .transforms import reasonNotToStartFrom
from .volumes import reasonNotToRegister, reasonNotUsable

SECTIONS = ("inputs", "outputs", "advanced", "compare", "apply")


class SLSFGRWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Shows what is chosen, runs it in a process of its own and shows what came out.

    Needs no PyTorch to open. :attr:`workerCommand` is the program that does a job; None is the library's own.
    """

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.workerCommand = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._process = self._standby = None
        self._comparison = Comparison()

    def setup(self):
        """Build the panel when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SLSFGR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SLSFGRLogic()

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.ui.registerButton.connect("clicked(bool)", self.onRegisterButton)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegmentButton)
        self.ui.carryButton.connect("clicked(bool)", self.onCarryButton)
        self.ui.carriedNodesSelector.connect("checkedNodesChanged()", self.updateButtons)
        self.ui.fadeSlider.connect("valueChanged(int)", self.showComparison)
        self.ui.checkerboardCheckBox.connect("toggled(bool)", self.showComparison)
        self.initializeParameterNode()

    def cleanup(self):
        """Leave nothing behind when the module is reloaded or Slicer ends."""
        self.setParameterNode(None)
        self._abandonProcess()
        self._comparison.forget()
        self.removeObservers()

    def enter(self):
        """Look again when the user comes back."""
        self.initializeParameterNode()

    def exit(self):
        """Let go of the choices while another module is open; a run goes on."""
        self.setParameterNode(None)

    def onReload(self):
        """Reload this module with all that it is made of."""
        self.cleanup()
        for name in [name for name in sys.modules if name.partition(".")[0] in ("SLSFGRModule", "SLSFGRLib")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event):
        """End the run: the volumes that it was for are about to go."""
        self.setParameterNode(None)
        self._abandonProcess()
        self._comparison.forget()
        self._say()

    def onSceneEndClose(self, caller, event):
        """Begin anew if the panel is open."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onNodeRemoved(self, caller, event):
        """End the run if one of its volumes has gone."""
        if self._process and not all(slicer.mrmlScene.IsNodePresent(node) for node in self._volumes if node):
            self._abandonProcess()
            self._say(_("A volume was removed from the scene, and the run with it."))

    def initializeParameterNode(self):
        """Show what is chosen in this scene."""
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """Show other choices, or none."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
        self._parameterNode = parameterNode
        if not parameterNode:
            self._standBy(False)
        else:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateButtons)
            self.updateButtons()

    # What can be done now ---------------------------------------------------------------------------------------

    def updateButtons(self, caller=None, event=None):
        """Enable each button, or say why it is not enabled."""
        if not self._parameterNode or self._process:
            return
        reason = self.reasonNotToRegister()
        self.ui.registerButton.text = _("Register")
        self._enable(self.ui.registerButton, reason, _("Align the moving volume with the fixed volume."))
        self._say(reason, "" if reason else self.ui.resultLabel.text)
        reason = self.reasonNotToSegment()
        self._enable(self.ui.segmentButton, reason, _("Segment the selected volumes without registering them."))
        self.ui.segmentationNoteLabel.text = "" if canSegment() else self.reasonNotToSegment()
        self.ui.segmentationNoteLabel.visible = not canSegment()
        for widget in ("fixedSegmentationSelector", "movingSegmentationSelector", "startFromSegmentationCheckBox"):
            getattr(self.ui, widget).enabled = canSegment()
        self._enable(self.ui.carryButton, self.reasonNotToCarry(), _("Make copies of the checked nodes."))
        chosen = self._parameterNode
        self.ui.compareCollapsibleButton.enabled = canCompare(chosen.fixedVolume, chosen.warpedVolume)
        self._standBy(self.ui.registerButton.enabled)

    def _enable(self, button, reason, toolTip):
        button.enabled = not reason
        button.toolTip = reason or toolTip

    def reasonNotToRegister(self):
        """Why Register cannot be pressed; empty when it can."""
        chosen = self._parameterNode
        reason = reasonNotToRegister(chosen.fixedVolume, chosen.movingVolume)
        if reason:
            return reason
        if chosen.warpedVolume in (chosen.fixedVolume, chosen.movingVolume):
            return _("The warped volume would overwrite an input. Select another output, or none.")
        if chosen.transform and chosen.transform is chosen.inverseTransform:
            return _("The transform and its inverse cannot be one node. Select another output, or none.")
        if chosen.fixedSegmentation and chosen.fixedSegmentation is chosen.movingSegmentation:
            return _("The two segmentations cannot be one node. Select another output, or none.")
        return reasonNotToStartFrom(chosen.initialTransform, chosen.movingVolume) if chosen.initialTransform else ""

    def reasonNotToSegment(self):
        """Why Segment only cannot be pressed; empty when it can."""
        if not canSegment():
            return _("This version registers without segmenting: the network for it is not installed.")
        volumes = [node for node in (self._parameterNode.fixedVolume, self._parameterNode.movingVolume) if node]
        return next(filter(None, map(reasonNotUsable, volumes)), "" if volumes else _("Select a volume to segment."))

    def reasonNotToCarry(self):
        """Why Apply cannot be pressed; empty when it can."""
        chosen = self._parameterNode
        if not all((chosen.transform, chosen.inverseTransform, chosen.fixedVolume, chosen.movingVolume)):
            return _("Register first, or select the volumes and both transforms above.")
        return "" if self.ui.carriedNodesSelector.checkedNodes() else _("Check the nodes to carry over.")

    # Runs -------------------------------------------------------------------------------------------------------

    def onRegisterButton(self):
        """Register, or cancel what runs."""
        if self._process:
            self.ui.registerButton.enabled = False
            self.ui.registerButton.text = _("Cancelling...")
            self._process.cancel()
            return
        chosen = self._parameterNode
        self._start(
            lambda: self.logic.prepareRegistration(
                chosen.fixedVolume,
                chosen.movingVolume,
                chosen.initialTransform,
                mode=chosen.mode.value,
                device=chosen.device.value,
                jacobian=chosen.makeJacobian,
            ),
            self.logic.publishRegistration,
        )

    def onSegmentButton(self):
        """Segment the selected volumes."""
        chosen = self._parameterNode
        self._start(
            lambda: self.logic.prepareSegmentation(chosen.fixedVolume, chosen.movingVolume, chosen.device.value),
            self.logic.publishSegmentations,
        )

    def _start(self, prepare, publish):
        with slicer.util.tryWithErrorDisplay(_("The work could not be started."), waitCursor=True):
            if not self._torchIsThere():
                return
            job = prepare()
            self._volumes = self._parameterNode.fixedVolume, self._parameterNode.movingVolume
            self._publish = publish
            self.ui.logTextEdit.clear()
            self._standBy(True)
            self._process, self._standby = self._standby, None
            self._showRunning(True)
            self._process.start(job, self.onProgress, self.onLog, self.onEnd)

    def _standBy(self, ready):
        """Have a process ready that has loaded torch already when a button is pressed, or none."""
        if self._standby and not (ready and self._standby.isAlive()):
            self._standby.abandon()
            self._standby = None
        if ready and not self._standby and torchInstalled():
            self._standby = JobProcess(self.workerCommand)

    def _torchIsThere(self):
        try:
            return offerTorch()
        except RuntimeError as error:
            self._say(str(error))
            return False

    def onProgress(self, fraction, message):
        """Show how far the run has come."""
        self.ui.progressBar.value = round(100 * fraction)
        self.ui.progressBar.format = f"{message}  %p %"

    def onLog(self, text):
        """Keep what the run reports."""
        self.ui.logTextEdit.appendPlainText(text.rstrip())

    def onEnd(self, result, problem):
        """Publish what came out, or say what went wrong."""
        self._process = None
        try:
            if result is not None:
                self._publishAndShow(result)
        finally:
            self._showRunning(False)
        if result is None:
            self._say(problem or _("Cancelled."))

    def _publishAndShow(self, result):
        with slicer.util.tryWithErrorDisplay(_("The results could not be put into the scene."), waitCursor=True):
            nodes = self._publish(result, *self._volumes, self._chosenOutputs())
            self._chooseOutputs(nodes)
            self.showComparison()
            self._say(result=resultLine(nodes.report))

    def _abandonProcess(self):
        if self._process:
            process, self._process = self._process, None
            process.abandon()
            self._showRunning(False)

    def _showRunning(self, running):
        for section in SECTIONS:
            getattr(self.ui, f"{section}CollapsibleButton").enabled = not running
        self.ui.progressBar.visible = running
        self.ui.progressBar.value = 0
        self.ui.progressBar.format = _("Starting")
        if running:
            self._say()
            self._enable(self.ui.segmentButton, _("Wait until the run ends, or cancel it."), "")
            self.ui.registerButton.text = _("Cancel")
            self._enable(self.ui.registerButton, "", _("Stop the run. Nothing is changed."))
        self.updateButtons()

    def _say(self, problem="", result=""):
        for label, text in ((self.ui.statusLabel, problem), (self.ui.resultLabel, result)):
            label.text = text
            label.visible = bool(text)

    # Outputs ----------------------------------------------------------------------------------------------------

    def _choices(self):
        """What is chosen, even while another module is open."""
        return self._parameterNode or self.logic.getParameterNode()

    def _chosenOutputs(self):
        chosen = self._choices()
        return RegistrationNodes(
            chosen.warpedVolume,
            chosen.transform,
            chosen.inverseTransform,
            chosen.fixedSegmentation,
            chosen.movingSegmentation,
            chosen.volumesTable,
            chosen.jacobianVolume,
        )

    def _chooseOutputs(self, nodes):
        """Choose what was made, so that a second run updates it."""
        chosen = self._choices()
        with slicer.util.NodeModify(chosen.parameterNode):
            for name, node in vars(nodes).items():
                if name.endswith("Node") and node:
                    setattr(chosen, name.removesuffix("Node"), node)

    def showComparison(self, value=None):
        """Show the fixed volume and the warped one as the slider and the switch say."""
        chosen = self._choices()
        if canCompare(chosen.fixedVolume, chosen.warpedVolume):
            opacity, asCheckerboard = self.ui.fadeSlider.value / 100.0, self.ui.checkerboardCheckBox.checked
            self._comparison.show(chosen.fixedVolume, chosen.warpedVolume, opacity, asCheckerboard)
            self.ui.fadeSlider.enabled = not asCheckerboard

    def onCarryButton(self):
        """Carry the checked nodes through the transform."""
        chosen = self._parameterNode
        way = chosen.transform, chosen.inverseTransform, chosen.fixedVolume
        if self.ui.directionComboBox.currentIndex == 1:
            way = chosen.inverseTransform, chosen.transform, chosen.movingVolume
        with slicer.util.tryWithErrorDisplay(_("The nodes could not be carried over."), waitCursor=True):
            made = [carry(node, *way) for node in self.ui.carriedNodesSelector.checkedNodes()]
        self._say(result=_("Made: {names}").format(names=", ".join(node.GetName() for node in made)))
