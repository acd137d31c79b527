"""The panel: inputs, outputs, settings, one button, progress, and the means to judge the result."""

import importlib
import os
import sys
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from .apply_run import ApplyRun
from .comparison import canCompare, canShowGrid, removeCheckerboard, showComparison, showGrid
from .estimate import estimateText, learnFrom
from .library import TorchInstaller, importLibrary, jobRunner
from .logic import SLSFGRLogic
from .output_nodes import RegistrationNodes
from .parameter_node import (
    INPUTS,
    OUTPUTS,
    REGIONS,
    TransformType,
    outputsToFill,
    selectedNodes,
    selectedRegions,
    selectNodes,
    selectPairOf,
    swapInputs,
)
from .run import Pair, Run
from .segment_choice import SegmentChoice
from .sequences import frameCount
from .side_by_side import SideBySide
from .standard_brain import standardBrain
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
MOST_RESULTS = 6  # that are shown; of a sequence there may be hundreds
SECTIONS = ("inputs", "regions", "outputs", "advanced", "compare", "apply")
SWITCHES = ("before", "checkerboard", "sideBySide", "grid")


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
        self._isInstalling = False
        self._run = None
        self._results, self._problems = [], []
        self._sideBySide, self._gridNode = SideBySide(), None
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
        self._segmentChoices = [SegmentChoice(getattr(self.ui, f"{name}SegmentComboBox"), name) for name in REGIONS]
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.poll)
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
        self.ui.standardBrainButton.connect("clicked(bool)", self._onStandardBrainButton)
        self.ui.swapButton.connect("clicked(bool)", self._onSwapButton)
        self.ui.moreVolumesSelector.connect("checkedNodesChanged()", self._updateButtons)
        self.ui.applyNodesSelector.connect("checkedNodesChanged()", self._updateButtons)
        self.ui.fadeSlider.connect("valueChanged(int)", self._showComparison)
        for name in SWITCHES:
            getattr(self.ui, f"{name}CheckBox").connect("toggled(bool)", self._showComparison)
        self.ui.segmentsCheckBox.connect("toggled(bool)", self._onSegmentsSwitch)
        self.ui.reportButton.connect("clicked(bool)", self._onReportButton)

    def cleanup(self):
        """Stop a run and all observers when the module is reloaded or Slicer ends."""
        self.exit()
        self._discardRun()
        reportFile().unlink(missing_ok=True)
        self.removeObservers()

    def enter(self):
        """Show the selection of this scene when the user opens the module; Slicer calls this also after setup."""
        if not self._parameterNode:
            self._setParameterNode(self.logic.getParameterNode())
            self._selectDefaultInputs()

    def exit(self):
        """Disconnect from the scene's selection when the user opens another module; a run goes on."""
        for name in SWITCHES:  # what they show would stay in the views
            getattr(self.ui, f"{name}CheckBox").checked = False
        self._setParameterNode(None)

    def nodeEditable(self, node):
        """Tell Slicer's data tree how well a node can be edited here: transforms that were made here, well."""
        isOurs = node and node.IsA("vtkMRMLTransformNode") and node.GetAttribute(f"{ATTRIBUTES}Version")
        return 0.7 if isOurs else 0.0

    def setEditedNode(self, node, role="", context=""):
        """Select a transform that was made here, its volumes and results; Slicer's data tree calls this.

        :returns: whether the node can be edited here.
        """
        isEditable = self.nodeEditable(node) > 0.0
        if isEditable:
            selectPairOf(self._parameterNode or self.logic.getParameterNode(), node)
            self._showComparison(fit=True)
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

    def _onStandardBrainButton(self):
        with slicer.util.tryWithErrorDisplay(_("The standard brain could not be loaded."), waitCursor=True):
            chosen, brain = self._parameterNode, standardBrain()
            if not chosen.movingVolume and chosen.fixedVolume is not brain:
                swapInputs(chosen)  # the only volume that was selected is the patient's
            selectNodes(chosen, {"fixedVolume": brain})

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
        if self._run and not all(map(slicer.mrmlScene.IsNodePresent, self._run.nodes)):
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
        if not self._run:
            self._start(self._prepareRegistration)
            return
        self.ui.registerButton.enabled = False
        self.ui.registerButton.text = _("Cancelling...")
        self._run.cancel()

    def _onSegmentButton(self):
        self._start(self._prepareSegmentation)

    def _prepareSegmentation(self, pair, before):
        device = self._parameterNode.device.value
        return self.logic.prepareSegmentationInSteps(pair.fixedVolumeNode, pair.movingVolumeNode, device)

    def _prepareRegistration(self, pair, before):
        chosen = self._parameterNode or self.logic.getParameterNode()  # there is none while another module is open
        self.ui.modelPathLineEdit.addCurrentPathToHistory()
        return self.logic.prepareRegistrationInSteps(
            pair.fixedVolumeNode,
            pair.movingVolumeNode,
            *self._belongingTo(chosen, pair.movingVolumeNode),
            before=before,
            frame=pair.frame,
            transform=chosen.transformType.value,
            mode=chosen.mode.value,
            device=chosen.device.value,
            model=chosen.model,
            jacobian=chosen.makeJacobian,
            names=tuple(node.GetName() for node in pair.nodes) if pair.frame is None else None,
            start_from_segmentation=chosen.startFromSegmentation,
        )

    def _belongingTo(self, chosen, movingVolume):
        """Return the initial transform, and the masks and lesions; those of the moving volume are not for others."""
        regions = selectedRegions(chosen)
        if movingVolume is chosen.movingVolume:
            return chosen.initialTransform, regions
        return None, {name: region for name, region in regions.items() if name.startswith("fixed")}

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
            isRegistration = prepare == self._prepareRegistration
            pairs = self._pairs() if isRegistration else [Pair(chosen.fixedVolume, chosen.movingVolume)]
            outputs = RegistrationNodes(**{f"{name}Node": node for name, node in outputs.items()})
            self._results, self._problems = [], []
            self.ui.logTextEdit.clear()
            followers = self._moreVolumes() if isRegistration and chosen.allByFirst else ()
            run = Run(self.runner, prepare, pairs, outputs, self, followers)
            try:
                run.start()
            except ValueError as reason:
                self._say(str(reason))
            else:
                self._run = run
                self._showRunning(True)

    def _pairs(self):
        """Return the pairs to register: the moving volume or its frames, then the others."""
        chosen = self._parameterNode
        count = frameCount(chosen.movingVolume) if chosen.wholeSequence else 0
        pairs = [Pair(chosen.fixedVolume, chosen.movingVolume, frame) for frame in (range(count) if count else [None])]
        more = () if chosen.allByFirst else self._moreVolumes()
        return pairs + [Pair(chosen.fixedVolume, node) for node in more]

    def _moreVolumes(self):
        """Return the volumes to register after the moving volume."""
        moving = self._parameterNode.movingVolume
        return [node for node in self.ui.moreVolumesSelector.checkedNodes() if node is not moving]

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

    def poll(self):
        """See what the run has done; a timer calls this."""
        run = self._run
        if not run:
            return
        with slicer.util.tryWithErrorDisplay(run.failure):
            try:
                run.poll()
            finally:
                if run is self._run and run.isOver:
                    self._endRun()

    def _endRun(self):
        """Show the outcome."""
        problems = [*self._problems, _("Cancelled.")] if self._run.isCancelled else self._problems
        self._run = None
        self._showRunning(False)
        results = self._results
        if len(results) > MOST_RESULTS:
            more = _("... and {count} more: see the log.").format(count=len(results) - MOST_RESULTS)
            results = [*results[:MOST_RESULTS], more]
        self._say("\n".join(problems), "\n".join(results))

    def onProgress(self, fraction, message):
        """Show how far the job is; the run calls this."""
        self.ui.progressBar.value = round(100 * fraction)
        if self._run and len(self._run.pairs) > 1:
            text = _("{number} of {count}: {message}")
            message = text.format(number=self._run.number, count=len(self._run.pairs), message=message)
        self.ui.progressBar.format = f"{message}  %p %"

    def onLog(self, text):
        """Show new text of the log; the run calls this."""
        self.ui.logTextEdit.appendPlainText(text)

    def onProblem(self, sentence, pair):
        """Note why a pair has no result; the run calls this."""
        self._problems.append(self._ofPair(_sentence(sentence), pair))

    def onPublished(self, nodes, pair):
        """Select the results of the first pair, and show them; the run calls this."""
        if pair == self._run.pairs[0] and not self._results:
            chosen = self._parameterNode or self.logic.getParameterNode()  # there is none while another module is open
            made = {name: getattr(nodes, f"{name}Node") for name in OUTPUTS}
            selectNodes(chosen, {name: node for name, node in made.items() if node})
            if nodes.fixedSegmentationNode and nodes.report.get("transform") == "rigid":
                # Segments would hide what two scans of one head are compared for.
                nodes.fixedSegmentationNode.GetDisplayNode().SetVisibility(False)
            self._showComparison(fit=True)
            self.ui.resultLabel.toolTip = nodes.report["device"]
        learnFrom(nodes.report, pair)
        summary = importLibrary("SLSFGRLib.evaluation.summary").summary
        text = summary(nodes.report)
        self.onLog(self._ofPair(text, pair))
        if len(self._run.pairs) > 1 and nodes.report.get("transform_reason"):  # one line for each
            kind = TransformType(nodes.report["transform"]).label()
            text = f"{kind} · {summary(nodes.report | {'transform_reason': None})}"
        self._results.append(self._ofPair(text, pair))

    def onMoved(self, node):
        """Name a volume that was moved by the transform of the first one; the run calls this."""
        self._results.append(_("{name}: moved by the same transform").format(name=node.GetName()))

    def _ofPair(self, text, pair):
        """Begin a text with the name of the moving volume if there are several."""
        name = "" if pair.movingVolumeNode is None else pair.movingVolumeNode.GetName()
        if pair.frame is not None:
            name = _("{name}, frame {number}").format(name=name, number=pair.frame + 1)
        return f"{name}: {text}" if len(self._run.pairs) > 1 else text

    def _discardRun(self):
        """End a run, if there is one, and clear the messages of the last."""
        if self._run:
            self._run.discard()
            self._run = None
        self._showRunning(False)
        self._say()

    # What the panel shows

    def _updateButtons(self, caller=None, event=None):
        """Enable each button, or say why it is disabled."""
        chosen = self._parameterNode
        if not chosen or self._run or self._isInstalling:
            return
        for choice in self._segmentChoices:
            choice.show(chosen)
        volumes = chosen.fixedVolume, chosen.movingVolume
        inputs, outputs = (selectedNodes(chosen, names).values() for names in (INPUTS, OUTPUTS))
        overwrites = reasonNotToOverwrite(inputs, outputs)
        more = self._moreVolumes()
        reason = reasonNotToRegister(*volumes, chosen.initialTransform) or overwrites
        reason = reason or reasonNotToRegisterAll(chosen.fixedVolume, more)
        reason = reason or reasonNotToUseRegions(selectedRegions(chosen).values())
        count = len(self._pairs())
        self.ui.registerButton.text = _("Register {count} volumes").format(count=count) if count > 1 else _("Register")
        settings = chosen.transformType.value, chosen.mode.value
        self.ui.estimateLabel.text = "" if reason else estimateText(self._pairs(), *settings)
        self.ui.estimateLabel.visible = not reason
        frames = frameCount(chosen.movingVolume)
        self.ui.wholeSequenceCheckBox.visible = frames > 1
        self.ui.wholeSequenceCheckBox.text = _("All {count} frames of the sequence").format(count=frames)
        self.ui.allByFirstCheckBox.enabled = bool(more)
        self._enable("register", reason)
        self._say(reason if all(volumes) else f"{reason} {volumesNotListed()}".rstrip(), self.ui.resultLabel.text)
        self._enable("segment", reasonNotToSegment(*volumes) or overwrites)
        checked = self.ui.applyNodesSelector.checkedNodes()
        self._enable("apply", reasonNotToApply(checked, *volumes, chosen.transform, chosen.inverseTransform))
        self.ui.compareCollapsibleButton.enabled = canCompare(chosen.fixedVolume, chosen.warpedVolume)
        self.ui.gridCheckBox.enabled = canShowGrid(chosen.transform)
        self._showGrid(chosen.transform)
        display = chosen.fixedSegmentation and chosen.fixedSegmentation.GetDisplayNode()
        self.ui.segmentsCheckBox.enabled = bool(display)
        self.ui.segmentsCheckBox.checked = bool(display and display.GetVisibility())
        self.ui.reportButton.enabled = chosen.report is not None
        self.runner.stand_by(not reason and self.installer.isInstalled())

    def _showRunning(self, running):
        for section in SECTIONS:
            getattr(self.ui, f"{section}CollapsibleButton").enabled = not running
        self.ui.transformTypeComboBox.enabled = not running
        self.ui.progressBar.visible = running
        self.ui.estimateLabel.visible = False  # _updateButtons shows it again
        self.onProgress(0.0, _("Starting"))
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
        before, asCheckerboard, isSideBySide, _grid = self._switches()
        self._showGrid(chosen.transform)
        removeCheckerboard()  # also where the volumes cannot be compared any more
        self.ui.beforeCheckBox.enabled = not asCheckerboard  # whose squares need one grid
        self.ui.checkerboardCheckBox.enabled = not before and not isSideBySide
        self.ui.sideBySideCheckBox.enabled = not asCheckerboard and slicer.app.layoutManager() is not None
        self.ui.fadeSlider.enabled = not asCheckerboard and not isSideBySide
        other = chosen.movingVolume if before else chosen.warpedVolume
        canShow = other and canCompare(chosen.fixedVolume, chosen.warpedVolume)
        if canShow and isSideBySide:
            self._sideBySide.show(chosen.fixedVolume, other)
            return
        self._sideBySide.end()
        if canShow:
            showComparison(chosen.fixedVolume, other, self.ui.fadeSlider.value / 100.0, asCheckerboard, fit)

    def _switches(self):
        return [getattr(self.ui, f"{name}CheckBox").checked for name in SWITCHES]

    def _showGrid(self, transformNode):
        """Show the grid of the selected transform while its switch is on, and of no other."""
        node = transformNode if self._switches()[-1] and canShowGrid(transformNode) else None
        last, self._gridNode = self._gridNode, node
        if node is last:
            return
        if slicer.mrmlScene.IsNodePresent(last):
            showGrid(last, False)
        if node:
            showGrid(node, True)

    def _onSegmentsSwitch(self, checked):
        chosen = self._parameterNode
        display = chosen and chosen.fixedSegmentation and chosen.fixedSegmentation.GetDisplayNode()
        if display:
            display.SetVisibility(checked)

    def _onReportButton(self):
        with slicer.util.tryWithErrorDisplay(_("The report could not be opened.")):
            reportFile().write_text(self._parameterNode.report.GetText(), encoding="utf-8")
            qt.QDesktopServices.openUrl(qt.QUrl(reportFile().as_uri()))

    def _onApplyButton(self):
        chosen = self._parameterNode
        direction = chosen.transform, chosen.inverseTransform, chosen.fixedVolume
        if self.ui.directionComboBox.currentIndex == 1:
            direction = chosen.inverseTransform, chosen.transform, chosen.movingVolume
        self._results, self._problems = [], []
        self._run = ApplyRun(self.ui.applyNodesSelector.checkedNodes(), direction, self._onCopied)
        self._showRunning(True)
        self._showApplied()

    def _onCopied(self, node, copy):
        """Name a copy that the transform was applied to; the run calls this."""
        self._results.append(_("Created: {name}").format(name=copy.GetName()))
        self._showApplied()

    def _showApplied(self):
        self.onProgress(self._run.fraction, _("Applying the transform"))


def reportFile():
    """Return the path of the file that a web browser is given."""
    return Path(slicer.app.temporaryPath) / f"SLSFGR_report_{os.getpid()}.html"


def _sentence(problem):
    """Begin a problem of the library with a capital letter, unless it begins with a name of the user's."""
    return problem[:1].upper() + problem[1:] if problem.startswith("the ") else problem
