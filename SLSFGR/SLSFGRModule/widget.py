"""The panel: choices, one button, progress, and the means to judge the result."""

import importlib
import sys

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from .apply_transform import carry
from .comparison import canCompare, showComparison
from .library import importLibrary, jobRunner, reasonWithoutTorch, torchInstalled
from .logic import SLSFGRLogic
from .output_nodes import RegistrationNodes, publish
from .validation import reasonNotToCarry, reasonNotToOverwrite, reasonNotToRegister, reasonNotToSegment

POLL_MS = 30
SECTIONS = ("inputs", "outputs", "advanced", "compare", "apply")
INPUTS = ("fixedVolume", "movingVolume", "initialTransform")
OUTPUTS = tuple(name.removesuffix("Node") for name in vars(RegistrationNodes()) if name.endswith("Node"))


class SLSFGRWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Shows what is chosen, runs it in a process of its own and shows what came out. Needs no PyTorch to open."""

    _parameterNode = None

    def setup(self):
        """Build the panel when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SLSFGR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic, self.runner = SLSFGRLogic(), jobRunner()
        self._toolTips = {name: getattr(self.ui, f"{name}Button").toolTip for name in ("register", "segment", "carry")}
        # CTK does not tell when a path is emptied: what is bound is the line inside of its widget.
        self.ui.modelLineEdit = self.ui.modelPathLineEdit.findChild(qt.QLineEdit)
        self.ui.modelLineEdit.setProperty("SlicerParameterName", "model")
        self.ui.modelLineEdit.placeholderText = _("None is needed")
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.runner.poll)

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self._onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self._onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)
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
        self._abandonRun()
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
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameterNodeModified)
            self.runner.stand_by(False)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self._lastSelection = self._selection()
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameterNodeModified)
            self._updateButtons()

    def _selection(self):
        """Return the selected nodes by parameter; None where nothing is selected."""
        return {name: getattr(self._parameterNode, name) for name in INPUTS + OUTPUTS}

    def _deselect(self, names):
        with slicer.util.NodeModify(self._parameterNode.parameterNode):
            for name in names:
                setattr(self._parameterNode, name, None)

    def _onParameterNodeModified(self, caller, event):
        """Undo what a selector selected by itself: it goes to the row above when its node is hidden from it."""
        last, self._lastSelection = self._lastSelection, self._selection()
        hidden = [
            name
            for name, node in self._lastSelection.items()
            if node and last[name] and node is not last[name] and last[name].GetHideFromEditors()
        ]
        self._deselect(hidden)
        self._updateButtons()

    def _onSceneStartClose(self, caller, event):
        self.exit()
        self._abandonRun()

    def _onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.enter()

    def _onSceneStartImport(self, caller, event):
        """Look away while the choices of the added scene name nodes that are not there yet."""
        self.exit()

    def _onSceneEndImport(self, caller, event):
        if self.parent.isEntered:
            self.enter()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller, event, node):
        """Deselect a node before the selectors notice that it goes: they would select the one in the row above."""
        if self._parameterNode:
            self._deselect([name for name, selected in self._selection().items() if selected is node])

    def _onNodeRemoved(self, caller, event):
        if self.runner.is_running and not all(map(slicer.mrmlScene.IsNodePresent, filter(None, self._volumes))):
            self._abandonRun()
            self._say(_("A volume was removed from the scene, and the run with it."))
        else:
            self._updateButtons()

    def _abandonRun(self):
        """End a run, if there is one, and forget what was said of the last."""
        self.runner.abandon()
        self._showRunning(False)
        self._say()

    def _updateButtons(self, caller=None, event=None):
        """Enable each button, or say why it is not enabled."""
        chosen = self._parameterNode
        if not chosen or self.runner.is_running:
            return
        volumes = chosen.fixedVolume, chosen.movingVolume
        inputs, outputs = ([getattr(chosen, name) for name in names] for names in (INPUTS, OUTPUTS))
        clash = reasonNotToOverwrite(inputs, outputs)
        reason = reasonNotToRegister(*volumes, chosen.initialTransform) or clash
        self.ui.registerButton.text = _("Register")
        self._enable("register", reason)
        self._say(reason, self.ui.resultLabel.text)
        self._enable("segment", reasonNotToSegment(*volumes) or clash)
        checked = self.ui.carriedNodesSelector.checkedNodes()
        self._enable("carry", reasonNotToCarry(checked, *volumes, chosen.transform, chosen.inverseTransform))
        self.ui.compareCollapsibleButton.enabled = canCompare(chosen.fixedVolume, chosen.warpedVolume)
        self.runner.stand_by(not reason and torchInstalled())

    def _onRegisterButton(self):
        if not self.runner.is_running:
            self._start(self._prepareRegistration)
            return
        self.ui.registerButton.enabled = False
        self.ui.registerButton.text = _("Cancelling...")
        self.runner.cancel()

    def _onSegmentButton(self):
        self._start(lambda chosen, *volumes: self.logic.prepareSegmentation(*volumes, chosen.device.value))

    def _prepareRegistration(self, chosen, *volumes):
        self.ui.modelPathLineEdit.addCurrentPathToHistory()
        return self.logic.prepareRegistration(
            *volumes,
            chosen.initialTransform,
            mode=chosen.mode.value,
            device=chosen.device.value,
            model=chosen.model,
            jacobian=chosen.makeJacobian,
            start_from_segmentation=chosen.startFromSegmentation,
        )

    def _start(self, prepare):
        with slicer.util.tryWithErrorDisplay(_("The work could not be started."), waitCursor=True):
            reason = reasonWithoutTorch(offer=True)
            if reason:
                self._say(reason)
                return
            self._volumes = self._parameterNode.fixedVolume, self._parameterNode.movingVolume
            self._outputs = RegistrationNodes(**{f"{name}Node": getattr(self._parameterNode, name) for name in OUTPUTS})
            job = prepare(self._parameterNode, *self._volumes)
            self.ui.logTextEdit.clear()
            self.runner.start(job, self._onProgress, self.ui.logTextEdit.appendPlainText, self._onEnd)
            self._showRunning(True)

    def _onProgress(self, fraction, message):
        self.ui.progressBar.value = round(100 * fraction)
        self.ui.progressBar.format = f"{message}  %p %"

    def _onEnd(self, result, problem):
        try:
            if result is not None:
                self._publish(result)
        finally:
            self._showRunning(False)
        if result is None:
            self._say(problem[:1].upper() + problem[1:] or _("Cancelled."))

    def _publish(self, result):
        chosen = self._parameterNode or self.logic.getParameterNode()  # there is none while another module is open
        with slicer.util.tryWithErrorDisplay(_("The results could not be put into the scene."), waitCursor=True):
            nodes = publish(result, *self._volumes, self._outputs)
            with slicer.util.NodeModify(chosen.parameterNode):
                for name in OUTPUTS:
                    setattr(chosen, name, getattr(nodes, f"{name}Node") or getattr(chosen, name))
            self._showComparison()
            self._say(result=importLibrary("SLSFGRLib.evaluation.summary").summary(nodes.report))
            self.ui.resultLabel.toolTip = nodes.report["device"]

    def _showRunning(self, running):
        for section in SECTIONS:
            getattr(self.ui, f"{section}CollapsibleButton").enabled = not running
        self.ui.progressBar.visible = running
        self._onProgress(0.0, _("Starting"))
        if running:
            self._timer.start()
            self._say()
            self._enable("segment", _("Wait until the run ends, or cancel it."))
            self.ui.registerButton.text = _("Cancel")
            self._enable("register", "", _("Stop the run. Nothing is changed."))
        else:
            self._timer.stop()
            self._updateButtons()

    def _say(self, problem="", result=""):
        for label, text in ((self.ui.statusLabel, problem), (self.ui.resultLabel, result)):
            label.text = text
            label.visible = bool(text)

    def _enable(self, name, reason, toolTip=""):
        button = getattr(self.ui, f"{name}Button")
        button.enabled = not reason
        button.toolTip = reason or toolTip or self._toolTips[name]

    def _showComparison(self, value=None):
        chosen = self._parameterNode or self.logic.getParameterNode()
        asCheckerboard = self.ui.checkerboardCheckBox.checked
        if canCompare(chosen.fixedVolume, chosen.warpedVolume):
            showComparison(chosen.fixedVolume, chosen.warpedVolume, self.ui.fadeSlider.value / 100.0, asCheckerboard)
            self.ui.fadeSlider.enabled = not asCheckerboard

    def _onCarryButton(self):
        chosen = self._parameterNode
        way = chosen.transform, chosen.inverseTransform, chosen.fixedVolume
        if self.ui.directionComboBox.currentIndex == 1:
            way = chosen.inverseTransform, chosen.transform, chosen.movingVolume
        with slicer.util.tryWithErrorDisplay(_("The nodes could not be carried over."), waitCursor=True):
            made = [carry(node, *way) for node in self.ui.carriedNodesSelector.checkedNodes()]
            self._say(result=_("Made: {names}").format(names=", ".join(node.GetName() for node in made)))
