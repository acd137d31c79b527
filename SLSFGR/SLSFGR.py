"""Brain Registration (SLSFGR): the scripted module, its panel and its logic."""

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from SLSFGRModule.engine import registerWithLibrary
from SLSFGRModule.publishing import publish
from SLSFGRModule.volumes import imageFromVolumeNode, reasonNotToRegister


class SLSFGR(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Brain Registration (SLSFGR)")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        self.parent.contributors = ["SLSFGR contributors"]
        self.parent.helpText = _(
            "Aligns a moving brain MRI with a fixed one. "
            "Gives the warped volume, the transform and its inverse. "
            'See the <a href="https://github.com/slsfgr/SlicerSLSFGR">tutorial and documentation</a>.'
        )
        self.parent.acknowledgementText = _("Built with 3D Slicer, SimpleITK and PyTorch.")


class SLSFGRWidget(ScriptedLoadableModuleWidget):
    """The panel: two volumes and one button."""

    def setup(self):
        """Build the panel. Needs no PyTorch, so that the panel is never blank."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SLSFGR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SLSFGRLogic()

        for selector in (self.ui.fixedVolumeSelector, self.ui.movingVolumeSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self.updateRegisterButton)
        self.ui.registerButton.connect("clicked(bool)", self.onRegister)
        self.updateRegisterButton()

    def enter(self):
        """Look again when the user comes back: the volumes may have changed meanwhile."""
        self.updateRegisterButton()

    def updateRegisterButton(self):
        """Enable the button, or say why it is not enabled."""
        reason = reasonNotToRegister(*self.selectedVolumeNodes())
        self.ui.registerButton.enabled = not reason
        self.ui.registerButton.toolTip = reason or _("Align the moving volume with the fixed volume.")
        self.ui.statusLabel.text = reason

    def selectedVolumeNodes(self):
        """Return the fixed and the moving volume; None where none is selected."""
        return self.ui.fixedVolumeSelector.currentNode(), self.ui.movingVolumeSelector.currentNode()

    def onRegister(self):
        """Register, and lay the warped volume over the fixed one in the slice views."""
        with slicer.util.tryWithErrorDisplay(_("Registration failed."), waitCursor=True):
            self.ui.statusLabel.text = _("Registering...")
            slicer.app.processEvents()
            try:
                self._registerSelectedVolumes()
            except Exception:
                self.ui.statusLabel.text = _("Registration failed.")
                raise

    def _registerSelectedVolumes(self):
        fixedVolumeNode, movingVolumeNode = self.selectedVolumeNodes()
        warpedVolumeNode = self.logic.register(fixedVolumeNode, movingVolumeNode).warpedVolumeNode
        slicer.util.setSliceViewerLayers(background=fixedVolumeNode, foreground=warpedVolumeNode, foregroundOpacity=0.5)
        self.ui.statusLabel.text = _("Done: {name}").format(name=warpedVolumeNode.GetName())


class SLSFGRLogic(ScriptedLoadableModuleLogic):
    """Registers volume nodes, from the panel, the Python console or a script.

    >>> nodes = SLSFGRLogic().register(fixedVolumeNode, movingVolumeNode)
    >>> segmentationOfMovingVolume.SetAndObserveTransformNodeID(nodes.transformNode.GetID())

    :param engine: what registers two SimpleITK images; called as ``SLSFGRLib.register``.
    """

    def __init__(self, engine=registerWithLibrary):
        ScriptedLoadableModuleLogic.__init__(self)
        self.engine = engine

    def register(self, fixedVolumeNode, movingVolumeNode, mode="standard", device="auto", progress=None):
        """Register and return the new nodes. Main thread only; opens no dialog.

        Parent transforms of the inputs are respected: the results fit to what the views show.

        :param mode: ``fast``, ``standard`` or ``accurate``.
        :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        :param progress: called with a fraction and a message; may raise to cancel.
        :returns: :class:`SLSFGRModule.publishing.RegistrationNodes`.
        :raises ValueError: the volumes cannot be registered; the message says why.
        """
        images = self.prepare(fixedVolumeNode, movingVolumeNode)
        result = self.run(*images, mode=mode, device=device, progress=progress)
        return self.publish(result, fixedVolumeNode, movingVolumeNode)

    def prepare(self, fixedVolumeNode, movingVolumeNode):
        """Copy the volumes out of the scene. Main thread only."""
        reason = reasonNotToRegister(fixedVolumeNode, movingVolumeNode)
        if reason:
            raise ValueError(reason)
        return imageFromVolumeNode(fixedVolumeNode), imageFromVolumeNode(movingVolumeNode)

    def run(self, fixedImage, movingImage, **options):
        """Register the copies. Thread-safe: touches neither MRML nor Qt."""
        return self.engine(fixedImage, movingImage, **options)

    def publish(self, result, fixedVolumeNode, movingVolumeNode):
        """Put the result into the scene. Main thread only."""
        return publish(result, fixedVolumeNode, movingVolumeNode)


class SLSFGRTest(ScriptedLoadableModuleTest):
    """Run by "Reload and Test" and by CTest, inside Slicer; the other tests are in Testing, for pytest."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def test_registerButtonAsksForVolumes(self):
        """An empty scene gives a panel that says what to do."""
        widget = slicer.util.getModuleWidget("SLSFGR")
        widget.enter()
        assert not widget.ui.registerButton.enabled
        assert widget.ui.registerButton.toolTip == _("Select a fixed and a moving volume.")
