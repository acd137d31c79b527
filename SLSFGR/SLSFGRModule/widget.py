"""The panel: inputs, outputs, settings, one button, progress, and the means to judge the result."""

import importlib
import sys

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from .apply_transform import applyTransform
from .comparison import canCompare, removeCheckerboard, showComparison
from .library import TorchInstaller, importLibrary, jobRunner
from .logic import SLSFGRLogic
from .output_nodes import RegistrationNodes, publish
from .parameter_node import (
    INPUTS,
    OUTPUTS,
    REGIONS,
    outputsToFill,
    selectedNodes,
    selectNodes,
    selectPairOf,
    swapInputs,
)
from .validation import (
    ATTRIBUTES,
    reasonNotToApply,
    reasonNotToOverwrite,
    reasonNotToRegister,
    reasonNotToRegisterAll,
    reasonNotToSegment,
    reasonNotToUseRegions,
    usableVolumes,
    volumesNotListed,
)

POLL_MS = 30
SECTIONS = ("inputs", "regions", "outputs", "advanced", "compare", "apply")


class SLSFGRWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel of the module. It needs no PyTorch to open, and computes in another process.

    :param runner: a :class:`.protocols.Runner`; by default it runs the library's worker with Slicer's Python.
    :param installer: an :class:`.protocols.Installer`; by default it uses the PyTorch extension.
    """

    def __init__(self, parent=None, runner=None, installer=None):
        self.runner = runner or jobRunner()
        self.installer = installer or TorchInstaller()
        self.logic = SLSFGRLogic()
        self._parameterNode = None
        self._isInstalling = self._isRunning = False
        self._pairs = []
        super().__init__(parent)

    def setup(self):
        """Build the panel when the user opens the module for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SLSFGR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self._toolTips = {name: getattr(self.ui, f"{name}Button").toolTip for name in ("register", "segment", "apply")}
        # CTK sends no signal when a path is emptied: the line inside of its widget is bound instead.
        self.ui.modelLineEdit = self.ui.modelPathLineEdit.findChild(qt.QLineEdit)
        self.ui.modelLineEdit.setProperty("SlicerParameterName", "model")
        self.ui.modelLineEdit.placeholderText = _("None (default)")
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.runner.poll)
        self._observeScene()
        self._connectWidgets()
        self.enter()

    def _observeScene(self):
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(scene, scene.StartImportEvent, self._onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEndImport)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodeRemoved)
        self.addObserver(scene, scene.NodeAddedEvent, self._updateButtons)

    def _connectWidgets(self):
        self.ui.registerButton.connect("clicked(bool)", self._onRegisterButton)
        self.ui.segmentButton.connect("clicked(bool)", self._onSegmentButton)
        self.ui.applyButton.connect("clicked(bool)", self._onApplyButton)
        self.ui.swapButton.connect("clicked(bool)", self._onSwapButton)
        self.ui.moreVolumesSelector.connect("checkedNodesChanged()", self._updateButtons)
        self.ui.applyNodesSelector.connect("checkedNodesChanged()", self._updateButtons)
        self.ui.fadeSlider.connect("valueChanged(int)", self._showComparison)
        self.ui.checkerboardCheckBox.connect("toggled(bool)", self._showComparison)

    def cleanup(self):
        """Stop a run and all observers when the module is reloaded or Slicer ends."""
        self.exit()
        self._discardRun()
        self.removeObservers()

    def enter(self):
        """Show the selection of this scene when the user opens the module; Slicer calls this also after setup."""
        if not self._parameterNode:
            self._setParameterNode(self.logic.getParameterNode())
            self._selectDefaultInputs()

    def exit(self):
        """Disconnect from the scene's selection when the user opens another module; a run goes on."""
        self.ui.checkerboardCheckBox.checked = False  # its volume would stay in the views
        self._setParameterNode(None)

    def nodeEditable(self, node):
        """Tell Slicer's data tree how well a node can be edited here: transforms that were made here, well."""
        isOurs = node and node.IsA("vtkMRMLTransformNode") and node.GetAttribute(f"{ATTRIBUTES}Version")
        return 0.7 if isOurs else 0.0

    def setEditedNode(self, node, role="", context=""):
        """Select the pair of volumes of a transform that was made here; Slicer's data tree calls this.

        :returns: whether the node can be edited here.
        """
        isEditable = self.nodeEditable(node) > 0.0
        if isEditable:
            selectPairOf(self._parameterNode or self.logic.getParameterNode(), node)
        return isEditable

    def onReload(self):
        """Reload this module with all its parts."""
        self.cleanup()
        for name in [name for name in sys.modules if name.partition(".")[0] in ("SLSFGRModule", "SLSFGRLib")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)

    # The scene and the selection

    def _setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameterNodeModified)
            self.runner.stand_by(False)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self._lastSelection = selectedNodes(self._parameterNode)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameterNodeModified)
            self._updateButtons()

    def _selectDefaultInputs(self):
        """Select the first two volumes, unless the user has selected some."""
        chosen = self._parameterNode
        if not chosen.fixedVolume and not chosen.movingVolume:
            selectNodes(chosen, dict(zip(("fixedVolume", "movingVolume"), usableVolumes(), strict=False)))

    def _onSwapButton(self):
        swapInputs(self._parameterNode)

    def _onParameterNodeModified(self, caller, event):
        """Undo a selection that the user did not make: a selector whose node is hidden goes to the row above."""
        last, self._lastSelection = self._lastSelection, selectedNodes(self._parameterNode)
        replacesHidden = [
            name
            for name, node in self._lastSelection.items()
            if node and last[name] and node is not last[name] and last[name].GetHideFromEditors()
        ]
        selectNodes(self._parameterNode, dict.fromkeys(replacesHidden))
        self._updateButtons()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller, event, node):
        """Deselect a node before the selectors notice its removal: they would select the node in the row above."""
        if self._parameterNode:
            selected = selectedNodes(self._parameterNode)
            selectNodes(self._parameterNode, {name: None for name in selected if selected[name] is node})

    def _onNodeRemoved(self, caller, event):
        if self._isRunning and not all(map(slicer.mrmlScene.IsNodePresent, filter(None, self._volumes))):
            self._discardRun()
            self._say(_("The run was cancelled: its volume was removed from the scene."))
        else:
            self._updateButtons()

    def _onSceneStartClose(self, caller, event):
        self.exit()
        self._discardRun()

    def _onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.enter()

    def _onSceneStartImport(self, caller, event):
        """Disconnect while the added scene's selection refers to nodes that are not there yet."""
        self.exit()

    def _onSceneEndImport(self, caller, event):
        if self.parent.isEntered:
            self.enter()

    # A run

    def _onRegisterButton(self):
        if not self._isRunning:
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
            *self._belongingTo(chosen, volumes[1]),
            transform=chosen.transformType.value,
            mode=chosen.mode.value,
            device=chosen.device.value,
            model=chosen.model,
            jacobian=chosen.makeJacobian,
            start_from_segmentation=chosen.startFromSegmentation,
        )

    def _belongingTo(self, chosen, movingVolume):
        """Return the initial transform, and the masks and lesions; those of the moving volume are not for others."""
        regions = selectedNodes(chosen, REGIONS)
        if movingVolume is chosen.movingVolume:
            return chosen.initialTransform, regions
        return None, {name: node for name, node in regions.items() if name.startswith("fixed")}

    def _start(self, prepare):
        with slicer.util.tryWithErrorDisplay(_("The run could not be started."), waitCursor=True):
            self._offerTorch()
            reason = self.installer.reasonNotToCompute()
            if reason:
                self._say(reason)
                return
            chosen = self._parameterNode
            if not chosen:  # the user left the module during the installation
                return
            outputs = outputsToFill(chosen)
            self._outputs = RegistrationNodes(**{f"{name}Node": node for name, node in outputs.items()})
            self._prepare, self._number, self._results, self._problems = prepare, 0, [], []
            self._pairs = [(chosen.fixedVolume, chosen.movingVolume)]
            if prepare == self._prepareRegistration:
                self._pairs += [(chosen.fixedVolume, node) for node in self._moreVolumes()]
            self.ui.logTextEdit.clear()
            try:
                self._startNext(chosen)
            except ValueError as reason:
                self._say(str(reason))
            else:
                self._showRunning(True)

    def _moreVolumes(self):
        """Return the volumes to register after the moving volume."""
        moving = self._parameterNode.movingVolume
        return [node for node in self.ui.moreVolumesSelector.checkedNodes() if node is not moving]

    def _startNext(self, chosen):
        """Start the job of the next pair of volumes."""
        self._volumes = self._pairs[self._number]
        self._number += 1
        job = self._prepare(chosen, *self._volumes)
        self.runner.start(job, self._onProgress, self.ui.logTextEdit.appendPlainText, self._onEnd)
        self.runner.stand_by(self._number < len(self._pairs))

    def _offerTorch(self):
        """Install PyTorch if it is missing and the user agrees; meanwhile Slicer handles events."""
        if self.installer.isInstalled() or not self.installer.canInstall():
            return
        self._isInstalling = True
        message = _("Installing PyTorch. This takes some minutes.")
        self._say(message)
        for name in ("register", "segment"):
            self._enable(name, message)
        try:
            self.installer.install()
        finally:
            self._isInstalling = False
            self._updateButtons()

    def _onProgress(self, fraction, message):
        self.ui.progressBar.value = round(100 * fraction)
        if len(self._pairs) > 1:
            text = _("{number} of {count}: {message}")
            message = text.format(number=self._number, count=len(self._pairs), message=message)
        self.ui.progressBar.format = f"{message}  %p %"

    def _onEnd(self, result, problem):
        """Publish the result of a job, and start the next one unless the user has cancelled."""
        goesOn = False
        try:
            if result is not None:
                self._publish(result)
            elif problem:
                self._problems.append(self._ofPair(_sentence(problem)))
            isCancelled = result is None and not problem
            goesOn = not isCancelled and self._startedAnother()
        finally:
            if not goesOn:
                self._showRunning(False)
        if not goesOn:
            problems = [*self._problems, _("Cancelled.")] if isCancelled else self._problems
            self._say("\n".join(problems), "\n".join(self._results))

    def _startedAnother(self):
        """Start the job of the next pair whose volumes are still there and can be used; return whether there is one."""
        while self._number < len(self._pairs):
            if not all(map(slicer.mrmlScene.IsNodePresent, self._pairs[self._number])):
                self._number += 1
                continue
            try:
                self._startNext(self._parameterNode or self.logic.getParameterNode())
            except ValueError as reason:
                self._problems.append(str(reason))
            else:
                return True
        return False

    def _publish(self, result):
        chosen = self._parameterNode or self.logic.getParameterNode()  # there is none while another module is open
        with slicer.util.tryWithErrorDisplay(_("The results could not be put into the scene."), waitCursor=True):
            nodes = publish(result, *self._volumes, self._outputs)
            if self._number == 1:
                made = {name: getattr(nodes, f"{name}Node") for name in OUTPUTS}
                selectNodes(chosen, {name: node for name, node in made.items() if node})
                self._showComparison(fit=True)
                self.ui.resultLabel.toolTip = nodes.report["device"]
            # The fixed volume keeps its one segmentation; each further volume gets new nodes for the rest.
            self._outputs = RegistrationNodes(fixedSegmentationNode=nodes.fixedSegmentationNode)
            self._results.append(self._ofPair(importLibrary("SLSFGRLib.evaluation.summary").summary(nodes.report)))

    def _ofPair(self, text):
        """Begin a text with the name of the moving volume if there are several."""
        return f"{self._volumes[1].GetName()}: {text}" if len(self._pairs) > 1 else text

    def _discardRun(self):
        """End a run, if there is one, and clear the messages of the last."""
        self.runner.discard()
        self._pairs = []
        self._showRunning(False)
        self._say()

    # What the panel shows

    def _updateButtons(self, caller=None, event=None):
        """Enable each button, or say why it is disabled."""
        chosen = self._parameterNode
        if not chosen or self._isRunning or self._isInstalling:
            return
        volumes = chosen.fixedVolume, chosen.movingVolume
        inputs, outputs = (selectedNodes(chosen, names).values() for names in (INPUTS, OUTPUTS))
        overwrites = reasonNotToOverwrite(inputs, outputs)
        more = self._moreVolumes()
        reason = reasonNotToRegister(*volumes, chosen.initialTransform) or overwrites
        reason = reason or reasonNotToRegisterAll(chosen.fixedVolume, more)
        reason = reason or reasonNotToUseRegions(selectedNodes(chosen, REGIONS).values())
        several = _("Register {count} volumes").format(count=1 + len(more))
        self.ui.registerButton.text = several if more else _("Register")
        self._enable("register", reason)
        self._say(reason if all(volumes) else f"{reason} {volumesNotListed()}".rstrip(), self.ui.resultLabel.text)
        self._enable("segment", reasonNotToSegment(*volumes) or overwrites)
        checked = self.ui.applyNodesSelector.checkedNodes()
        self._enable("apply", reasonNotToApply(checked, *volumes, chosen.transform, chosen.inverseTransform))
        self.ui.compareCollapsibleButton.enabled = canCompare(chosen.fixedVolume, chosen.warpedVolume)
        self.runner.stand_by(not reason and self.installer.isInstalled())

    def _showRunning(self, running):
        self._isRunning = running
        for section in SECTIONS:
            getattr(self.ui, f"{section}CollapsibleButton").enabled = not running
        self.ui.transformTypeComboBox.enabled = not running
        self.ui.progressBar.visible = running
        self._onProgress(0.0, _("Starting"))
        if running:
            self._timer.start()
            self._say()
            self._enable("segment", _("Wait until the run ends, or cancel it."))
            self.ui.registerButton.text = _("Cancel")
            self._enable("register", "", _("Stop the run. The scene is not changed."))
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

    # After a run

    def _showComparison(self, value=None, fit=False):
        chosen = self._parameterNode or self.logic.getParameterNode()
        asCheckerboard = self.ui.checkerboardCheckBox.checked
        removeCheckerboard()  # also where the volumes cannot be compared any more
        if canCompare(chosen.fixedVolume, chosen.warpedVolume):
            opacity = self.ui.fadeSlider.value / 100.0
            showComparison(chosen.fixedVolume, chosen.warpedVolume, opacity, asCheckerboard, fit)
            self.ui.fadeSlider.enabled = not asCheckerboard

    def _onApplyButton(self):
        chosen = self._parameterNode
        direction = chosen.transform, chosen.inverseTransform, chosen.fixedVolume
        if self.ui.directionComboBox.currentIndex == 1:
            direction = chosen.inverseTransform, chosen.transform, chosen.movingVolume
        with slicer.util.tryWithErrorDisplay(_("The transform could not be applied."), waitCursor=True):
            copies = [applyTransform(node, *direction) for node in self.ui.applyNodesSelector.checkedNodes()]
            self._say(result=_("Created: {names}").format(names=", ".join(node.GetName() for node in copies)))


def _sentence(problem):
    """Begin a problem of the library with a capital letter, unless it begins with a name of the user's."""
    return problem[:1].upper() + problem[1:] if problem.startswith("the ") else problem
