"""The panel: choices, one button, progress, and the means to judge the result."""

import importlib
import sys

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from .carrying import carry
from .comparison import Comparison, canCompare
from .engine import canSegment, offerTorch, startWorker, torchInstalled
from .logic import SLSFGRLogic, reasonNotToSegment
from .publishing import RegistrationNodes
from .transforms import reasonNotToStartFrom
from .volumes import reasonNotToRegister

POLL_MS = 30
SECTIONS = ("inputs", "outputs", "advanced", "compare", "apply")
OUTPUTS = [name.removesuffix("Node") for name in vars(RegistrationNodes()) if name.endswith("Node")]
NEED_NETWORK = ("fixedSegmentationSelector", "movingSegmentationSelector", "startFromSegmentationCheckBox")


class SLSFGRWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Shows what is chosen, runs it in a process of its own and shows what came out.

    Needs no PyTorch to open. :attr:`workerCommand` is the program that does a job; None is the library's own.
    """

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.workerCommand = self._parameterNode = self._process = self._standby = None
        self._comparison = Comparison()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._pollProcess)

    def setup(self):
        """Build the panel when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SLSFGR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SLSFGRLogic()

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self._onNodeRemoved)
        self.ui.registerButton.connect("clicked(bool)", self._onRegisterButton)
        self.ui.segmentButton.connect("clicked(bool)", self._onSegmentButton)
        self.ui.carryButton.connect("clicked(bool)", self._onCarryButton)
        self.ui.carriedNodesSelector.connect("checkedNodesChanged()", self._updateButtons)
        self.ui.fadeSlider.connect("valueChanged(int)", self._showComparison)
        self.ui.checkerboardCheckBox.connect("toggled(bool)", self._showComparison)
        self.enter()

    def cleanup(self):
        """Leave nothing behind when the module is reloaded or Slicer ends."""
        self.exit()
        self._abandonProcess()
        self._comparison.forget()
        self.removeObservers()

    def enter(self):
        """Show what is chosen in this scene."""
        self._setParameterNode(self.logic.getParameterNode())

    def exit(self):
        """Let go of the choices while another module is open; a run goes on."""
        self._setParameterNode(None)

    def onReload(self):
        """Reload this module with all that it is made of."""
        self.cleanup()
        for name in [name for name in sys.modules if name.partition(".")[0] in ("SLSFGRModule", "SLSFGRLib")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)

    def _setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._updateButtons)
            self._standBy(False)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._updateButtons)
            self._updateButtons()

    def _onSceneStartClose(self, caller, event):
        self.exit()
        self._abandonProcess()
        self._comparison.forget()
        self._say()

    def _onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.enter()

    def _onNodeRemoved(self, caller, event):
        if self._process and not all(slicer.mrmlScene.IsNodePresent(node) for node in self._volumes if node):
            self._abandonProcess()
            self._say(_("A volume was removed from the scene, and the run with it."))

    def _updateButtons(self, caller=None, event=None):
        """Enable each button, or say why it is not enabled."""
        chosen = self._parameterNode
        if not chosen or self._process:
            return
        reason = self._reasonNotToRegister()
        self.ui.registerButton.text = _("Register")
        self._enable(self.ui.registerButton, reason, _("Align the moving volume with the fixed volume."))
        self._say(reason, self.ui.resultLabel.text)
        network = "" if canSegment() else _("This version registers only: the network that segments is not installed.")
        reason = reasonNotToSegment(chosen.fixedVolume, chosen.movingVolume) or self._reasonOutputsClash()
        self._enable(
            self.ui.segmentButton, network or reason, _("Segment the selected volumes without registering them.")
        )
        self._show(self.ui.segmentationNoteLabel, network)
        for name in NEED_NETWORK:
            getattr(self.ui, name).enabled = not network
        self._enable(self.ui.carryButton, self._reasonNotToCarry(), _("Make copies of the checked nodes."))
        self.ui.compareCollapsibleButton.enabled = canCompare(chosen.fixedVolume, chosen.warpedVolume)
        self._standBy(self.ui.registerButton.enabled)

    def _reasonNotToRegister(self):
        chosen = self._parameterNode
        reason = reasonNotToRegister(chosen.fixedVolume, chosen.movingVolume)
        if reason:
            return reason
        if chosen.initialTransform:
            reason = reasonNotToStartFrom(chosen.initialTransform, chosen.movingVolume)
        return reason or self._reasonOutputsClash()

    def _reasonOutputsClash(self):
        nodes = [getattr(self._parameterNode, name) for name in ("fixedVolume", "movingVolume", *OUTPUTS)]
        for number, node in enumerate(nodes):
            if node and node in nodes[:number]:
                text = _("{name} would be overwritten. Select another output, or none.")
                return text.format(name=node.GetName())
        return ""

    def _reasonNotToCarry(self):
        chosen = self._parameterNode
        if not all((chosen.transform, chosen.inverseTransform, chosen.fixedVolume, chosen.movingVolume)):
            return _("Register first, or select the volumes and both transforms above.")
        return "" if self.ui.carriedNodesSelector.checkedNodes() else _("Check the nodes to carry over.")

    def _onRegisterButton(self):
        if not self._process:
            self._start(self._prepareRegistration)
            return
        self.ui.registerButton.enabled = False
        self.ui.registerButton.text = _("Cancelling...")
        self._process.cancel()

    def _onSegmentButton(self):
        self._start(self.logic.prepareSegmentation, device=self._parameterNode.device.value)

    def _prepareRegistration(self, *volumeNodes):
        chosen = self._parameterNode
        options = {
            "mode": chosen.mode.value,
            "device": chosen.device.value,
            "jacobian": chosen.makeJacobian,
            "start_from_segmentation": chosen.startFromSegmentation,
        }
        return self.logic.prepareRegistration(*volumeNodes, chosen.initialTransform, **options)

    def _start(self, prepare, **options):
        with slicer.util.tryWithErrorDisplay(_("The work could not be started."), waitCursor=True):
            if not self._torchIsThere():
                return
            self._volumes = self._parameterNode.fixedVolume, self._parameterNode.movingVolume
            job = prepare(*self._volumes, **options)
            self.ui.logTextEdit.clear()
            self._standBy(True)
            self._process, self._standby = self._standby, None
            self._showRunning(True)
            self._process.start(job, self._onProgress, self.ui.logTextEdit.appendPlainText, self._onEnd)
            self._timer.start()

    def _torchIsThere(self):
        try:
            return offerTorch()
        except RuntimeError as error:
            self._say(str(error))
            return False

    def _standBy(self, ready):
        """Have a process ready that has loaded torch already when a button is pressed, or none."""
        if self._standby and not (ready and self._standby.is_alive()):
            self._standby.abandon()
            self._standby = None
        if ready and not self._standby and torchInstalled():
            self._standby = startWorker(self.workerCommand)

    def _pollProcess(self):
        if self._process:
            self._process.poll()
        else:
            self._timer.stop()

    def _onProgress(self, fraction, message):
        self.ui.progressBar.value = round(100 * fraction)
        self.ui.progressBar.format = f"{message}  %p %"

    def _onEnd(self, result, problem):
        self._process = None
        try:
            if result is not None:
                self._publish(result)
        finally:
            self._showRunning(False)
        if result is None:
            self._say(problem[:1].upper() + problem[1:] or _("Cancelled."))

    def _publish(self, result):
        chosen = self._choices()
        into = RegistrationNodes(**{f"{name}Node": getattr(chosen, name) for name in OUTPUTS})
        with slicer.util.tryWithErrorDisplay(_("The results could not be put into the scene."), waitCursor=True):
            nodes = self.logic.publish(result, *self._volumes, into)
            with slicer.util.NodeModify(chosen.parameterNode):
                for name in OUTPUTS:
                    if getattr(nodes, f"{name}Node"):
                        setattr(chosen, name, getattr(nodes, f"{name}Node"))
            self._showComparison()
            self._say(result=resultLine(nodes.report))
            self.ui.resultLabel.toolTip = nodes.report["device"]

    def _abandonProcess(self):
        if self._process:
            self._process.abandon()
            self._process = None
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
        self._updateButtons()

    def _say(self, problem="", result=""):
        self._show(self.ui.statusLabel, problem)
        self._show(self.ui.resultLabel, result)

    def _show(self, label, text):
        label.text = text
        label.visible = bool(text)

    def _enable(self, button, reason, toolTip):
        button.enabled = not reason
        button.toolTip = reason or toolTip

    def _choices(self):
        """What is chosen, even while another module is open."""
        return self._parameterNode or self.logic.getParameterNode()

    def _showComparison(self, value=None):
        chosen = self._choices()
        if canCompare(chosen.fixedVolume, chosen.warpedVolume):
            opacity, asCheckerboard = self.ui.fadeSlider.value / 100.0, self.ui.checkerboardCheckBox.checked
            self._comparison.show(chosen.fixedVolume, chosen.warpedVolume, opacity, asCheckerboard)
            self.ui.fadeSlider.enabled = not asCheckerboard

    def _onCarryButton(self):
        chosen = self._parameterNode
        way = chosen.transform, chosen.inverseTransform, chosen.fixedVolume
        if self.ui.directionComboBox.currentIndex == 1:
            way = chosen.inverseTransform, chosen.transform, chosen.movingVolume
        with slicer.util.tryWithErrorDisplay(_("The nodes could not be carried over."), waitCursor=True):
            made = [carry(node, *way) for node in self.ui.carriedNodesSelector.checkedNodes()]
        self._say(result=_("Made: {names}").format(names=", ".join(node.GetName() for node in made)))


def resultLine(report):
    """Say how good a result is and what it took: likeness before and after, folding, seconds, device."""
    parts = [_("{seconds:.1f} s"), report["device"].partition(" ")[0].upper()]
    if "folding_percent" in report:
        parts.insert(0, _("folding {folding_percent:.2g} %"))
    if report.get("dice_after") is not None:
        parts.insert(0, _("Dice {dice_before:.2f} → {dice_after:.2f}"))
    elif "similarity_after" in report:
        parts.insert(0, _("Similarity {similarity_before:.2f} → {similarity_after:.2f}"))
    else:
        parts.insert(0, _("{structures} structures"))
    found = {name for column in report["volumes_ml"].values() for name, volume in column.items() if volume}
    return " · ".join(parts).format(**report | {"seconds": report["seconds"]["total"], "structures": len(found)})
