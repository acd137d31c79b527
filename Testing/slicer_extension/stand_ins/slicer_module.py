"""Stand-ins for the parts of Slicer that the slicer-core wheel lacks and the module needs.

MRML, VTK and ``slicer.util`` are Slicer's own; the panel is drawn by Qt, without a screen, from its own .ui file.
"""
# ruff: noqa: N802 - the names are Slicer's

import ctypes
import importlib
import os
import sys
import tempfile
import time
import types
import unittest
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 and the system's OpenGL", exc_type=ImportError)

import slicer
import vtk
from PySide6.QtCore import QEventLoop
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget

from .parameter_node import parameterNodeWrapper
from .pythonqt import QtModule, ui_loader, wrap, wrapper_class
from .qmrml_widgets import CTK_WIDGETS, SLICER_WIDGETS

MODULE_FOLDER = Path(__file__).resolve().parents[3] / "SLSFGR"
VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
WITH_ITEM = ("vtkMRMLDisplayableNode", "vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLSequenceNode")
DIALOG_ROUNDS = 20
# Each call of a PySide6 method without a result takes one reference from None, and a Python before 3.12 ends when none
# is left. These are enough for all tests; they are never given back.
REFERENCES_TO_NONE = [None] * 2_000_000
ctypes.pythonapi.Py_IncRef(ctypes.py_object(REFERENCES_TO_NONE))
PARENT_PROPERTIES = {
    "title",
    "categories",
    "dependencies",
    "associatedNodeTypes",
    "contributors",
    "helpText",
    "acknowledgementText",
    "icon",
    "hidden",
}


class ModuleParent:
    """The object in which Slicer holds a module's title, categories and texts."""

    def __setattr__(self, name, value):
        if name not in PARENT_PROPERTIES:
            raise AttributeError(f"A module has no property {name}.")
        self.__dict__[name] = value


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class PanelParent:
    """The place where Slicer shows the panel."""

    def __init__(self):
        self.window = QWidget()
        self.isEntered = False
        self._layout = QVBoxLayout(self.window)

    def layout(self):
        return wrap(self._layout)

    def clear(self):
        self._layout.takeAt(0).widget().deleteLater()


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        self.parent = parent or PanelParent()
        self.layout = self.parent.layout()

    def setup(self):
        pass

    def onReload(self):
        """Clean up, import the module again and set up another panel in the same place, without entering it."""
        self.cleanup()
        self.parent.clear()
        for name in [name for name in sys.modules if name.partition(".")[0] in ("SLSFGR", "SLSFGRModule")]:
            del sys.modules[name]
        self.parent.reloaded = load("SLSFGR").SLSFGRWidget(self.parent)
        self.parent.reloaded.setup()

    def resourcePath(self, file_name):
        path = MODULE_FOLDER / "Resources" / file_name
        if not path.is_file():
            raise FileNotFoundError(path)
        return str(path)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        super().__init__()

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode("SLSFGR", "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag("SLSFGR")
            node.SetAttribute("ModuleName", "SLSFGR")
            node.SetName("SLSFGR")
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


class LayoutManager:
    """Three slice views, of Slicer's own slice logic."""

    def __init__(self, scene):
        self.layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
        self._links = slicer.vtkMRMLSliceLinkLogic()
        self._links.SetMRMLScene(scene)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        self._logics = {}
        for name, orientation in VIEWS.items():
            logic = self._logics[name] = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLScene(scene)
            node = logic.AddSliceNode(name)
            node.SetDimensions(256, 256, 1)
            node.SetOrientation(orientation)

    def sliceViewNames(self):
        return tuple(self._logics)

    def setLayout(self, layout):
        self.layout = layout

    def sliceWidget(self, name):
        logic = self._logics[name]
        return types.SimpleNamespace(
            mrmlSliceNode=logic.GetSliceNode,
            mrmlSliceCompositeNode=logic.GetSliceCompositeNode,
            sliceLogic=lambda: logic,
        )

    def mrmlSliceLogics(self):
        logics = vtk.vtkCollection()
        for logic in self._logics.values():
            logics.AddItem(logic)
        return logics


class SubjectHierarchy:
    """Gives each node an item as soon as it is in the scene, as Slicer's plugins do."""

    def __init__(self, scene):
        scene.AddObserver(scene.NodeAddedEvent, self._on_added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._on_removed)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_added(self, caller, event, node):
        isShown = not node.GetHideFromEditors() and not caller.IsImporting()
        if isShown and any(map(node.IsA, WITH_ITEM)):
            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(caller)
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removed(self, caller, event, node):
        hierarchy = caller and caller.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")  # none at the scene's end
        item = hierarchy and hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)


class Application:
    """The part of ``slicer.app`` that the module uses."""

    def __init__(self):
        self.temporaryPath = tempfile.gettempdir()
        self.connections, self.dialogs = {}, []
        self.settings = {}
        self.views = None

    def testingEnabled(self):
        return False

    def userSettings(self):
        """Settings that outlive Slicer; a setting that is missing is None."""
        return types.SimpleNamespace(value=self.settings.get, setValue=self.settings.__setitem__)

    def layoutManager(self):
        return self.views

    def showDialog(self, text, **_options):
        """Show a dialog until the user closes it, which may take long: Slicer goes on meanwhile."""
        self.dialogs.append(text)
        for _ in range(DIALOG_ROUNDS):
            self.processEvents()
            time.sleep(0.005)

    def processEvents(self):
        QEventLoop().processEvents()

    def setOverrideCursor(self, cursor):
        pass

    def restoreOverrideCursor(self):
        pass

    def connect(self, signal, callback):
        if signal not in ("startupCompleted()", "aboutToQuit()"):
            raise ValueError(f"The application has no signal {signal}.")
        self.connections[signal] = callback


def load(name):
    """Import a part of the scripted module; install the stand-ins first."""
    install()
    return importlib.import_module(name)


def install():
    if hasattr(slicer, "app"):
        return
    slicer.app = Application()
    slicer.app.qt = QApplication.instance() or QApplication([])
    qt = QtModule("qt")
    qt.QUiLoader = ui_loader(SLICER_WIDGETS + CTK_WIDGETS)
    sys.modules["qt"] = qt
    _add_module("ctk", **{widget.__name__: wrapper_class(widget) for widget in CTK_WIDGETS})
    for widget in SLICER_WIDGETS:
        setattr(slicer, widget.__name__, wrapper_class(widget))
    _add_module("slicer.i18n", tr=lambda text: text, translate=lambda context, text: text)
    bases = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    _add_module("slicer.ScriptedLoadableModule", **{base.__name__: base for base in bases})
    _add_module("slicer.packaging", pip_check=pip_check)
    slicer.packaging = sys.modules["slicer.packaging"]
    slicer.util.errorDisplay = slicer.app.showDialog
    _add_module("slicer.parameterNodeWrapper", parameterNodeWrapper=parameterNodeWrapper)
    new_scene()
    sys.path.append(str(MODULE_FOLDER))  # as Slicer does with the folder of a scripted module


def new_scene():
    """Give Slicer an empty scene with three slice views and return it."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    # Making the logic teaches Slicer's core what segments can be made of.
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    sequences = slicer.vtkSlicerSequencesLogic()
    sequences.SetMRMLScene(slicer.mrmlScene)
    slicer.modules = types.SimpleNamespace(
        segmentations=types.SimpleNamespace(logic=lambda: logic),
        sequences=types.SimpleNamespace(logic=lambda: sequences),
    )
    slicer.app.views = LayoutManager(slicer.mrmlScene)
    slicer.app.hierarchy = SubjectHierarchy(slicer.mrmlScene)
    return slicer.mrmlScene


def open_widget(widget):
    """Set up and enter a panel, as Slicer does when the user opens the module."""
    widget.setup()
    enter(widget)
    return widget


def enter(widget):
    widget.parent.isEntered = True
    widget.enter()


def leave(widget):
    widget.exit()
    widget.parent.isEntered = False


def pip_check(requirement):
    """Return whether a package is there in the version that is needed, by its metadata alone."""
    needed = Requirement(requirement)
    try:
        return version(needed.name) in needed.specifier
    except PackageNotFoundError:
        return False


def slice_views():
    """Return the nodes that hold which volumes the slice views show."""
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    return [slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode") for index in range(count)]


def _add_module(name, **contents):
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
