"""What the slicer-core wheel lacks of Slicer, as little of it as the module needs.

MRML, VTK and ``slicer.util`` are Slicer's own. The panel is not drawn, but built from its .ui file, and the
stand-ins refuse what Slicer would refuse: a widget class, property or signal that does not exist, a file that
is missing, a node in a selector that was never given the scene.
"""
# ruff: noqa: N802 - the names are Slicer's

import importlib
import sys
import types
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import slicer

MODULE_FOLDER = Path(__file__).resolve().parents[1] / "SLSFGR"

WIDGET = {"enabled", "toolTip", "visible", "minimumWidth", "geometry"}
PROPERTIES = {
    "QLabel": WIDGET | {"text", "wordWrap"},
    "QPushButton": WIDGET | {"text", "checkable", "checked"},
    "ctkCollapsibleButton": WIDGET | {"text", "collapsed"},
    "qMRMLNodeComboBox": WIDGET
    | {"nodeTypes", "showChildNodeTypes", "noneEnabled", "noneDisplay", "addEnabled", "removeEnabled"},
    "qMRMLWidget": WIDGET,
}
SIGNALS = {
    "QPushButton": {"clicked()", "clicked(bool)"},
    "ctkCollapsibleButton": {"clicked()", "clicked(bool)", "contentsCollapsed(bool)"},
    "qMRMLNodeComboBox": {"currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)"},
    "qMRMLWidget": {"mrmlSceneChanged(vtkMRMLScene*)"},
}
PARENT_PROPERTIES = {
    "title",
    "categories",
    "dependencies",
    "contributors",
    "helpText",
    "acknowledgementText",
    "icon",
    "hidden",
}


class Widget:
    """A Qt widget of which only the properties and signals are there."""

    def __init__(self, class_name, name):
        if class_name not in PROPERTIES:
            raise RuntimeError(f"{class_name} is no widget that the stand-ins know; add it to PROPERTIES.")
        slots = {"class_name": class_name, "name": name, "values": {}, "callbacks": {}, "contents": []}
        self.__dict__.update(slots, scene=None, scene_receivers=[], node=None)

    def __setattr__(self, name, value):
        if name not in PROPERTIES[self.class_name]:
            raise AttributeError(f"{self.class_name} {self.name} has no property {name}.")
        self.values[name] = value

    def __getattr__(self, name):
        if name not in PROPERTIES[self.class_name]:
            raise AttributeError(f"{self.class_name} {self.name} has no property {name}.")
        return self.values[name]

    def children(self):
        return self.contents

    def connect(self, signal, callback):
        if signal not in SIGNALS.get(self.class_name, ()):
            raise ValueError(f"{self.class_name} {self.name} has no signal {signal}.")
        self.callbacks.setdefault(signal, []).append(callback)

    def emit(self, signal):
        for callback in self.callbacks.get(signal, []):
            callback()

    def click(self):
        if self.enabled:
            self.emit("clicked(bool)")

    def setMRMLScene(self, scene):
        self.__dict__["scene"] = scene
        for receiver in self.scene_receivers:
            receiver.setMRMLScene(scene)

    def currentNode(self):
        return self.node

    def setCurrentNode(self, node):
        if node is not None and self.scene is not node.GetScene():
            raise RuntimeError(f"{self.name} was not given the scene; connect it to mrmlSceneChanged.")
        if node is not None and node.GetClassName() not in self.nodeTypes:
            raise RuntimeError(f"{self.name} does not list nodes of class {node.GetClassName()}.")
        self.__dict__["node"] = node
        self.emit("currentNodeChanged(vtkMRMLNode*)")


class Layout:
    """The layout of the place where Slicer shows the panel."""

    def __init__(self):
        self.widgets = []

    def addWidget(self, widget):
        if not isinstance(widget, Widget):
            raise TypeError(f"{widget!r} is no widget.")
        self.widgets.append(widget)


def loadUI(path):
    """Build the widgets of a .ui file, with the connections that hand on the scene."""
    root = ElementTree.parse(path).getroot()
    widgets = {}
    top = _widget(root.find("widget"), widgets)
    for connection in root.iter("connection"):
        sender, receiver = (widgets[connection.findtext(end)] for end in ("sender", "receiver"))
        if connection.findtext("slot") == "setMRMLScene(vtkMRMLScene*)":
            sender.scene_receivers.append(receiver)
    return top


def _widget(element, widgets):
    widget = Widget(element.get("class"), element.get("name"))
    widgets[widget.name] = widget
    for found in element.findall("property"):
        setattr(widget, found.get("name"), _value(found[0]))
    for item in element.findall("layout/item/widget"):
        widget.contents.append(_widget(item, widgets))
    return widget


def _value(element):
    if element.tag == "bool":
        return element.text == "true"
    if element.tag == "stringlist":
        return [string.text for string in element]
    return element.text or ""


class ModuleParent:
    """The object of Slicer's that holds what a module says of itself."""

    def __setattr__(self, name, value):
        if name not in PARENT_PROPERTIES:
            raise AttributeError(f"A module has no property {name}.")
        self.__dict__[name] = value


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        self.layout = Layout()

    def setup(self):
        pass

    def resourcePath(self, file_name):
        path = MODULE_FOLDER / "Resources" / file_name
        if not path.is_file():
            raise FileNotFoundError(path)
        return str(path)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        pass


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


class Application:
    def testingEnabled(self):
        return True

    def processEvents(self):
        pass

    def setOverrideCursor(self, cursor):
        pass

    def restoreOverrideCursor(self):
        pass


def load(name):
    """Import a part of the scripted module, with ``slicer`` completed as far as needed."""
    if not hasattr(slicer, "app"):
        _install()
    return importlib.import_module(name)


def _install():
    _add_module("qt", Qt=types.SimpleNamespace(WaitCursor=3))
    _add_module("slicer.i18n", tr=lambda text: text, translate=lambda context, text: text)
    bases = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    _add_module("slicer.ScriptedLoadableModule", **{base.__name__: base for base in bases})
    slicer.app = Application()
    slicer.util.loadUI = loadUI
    new_scene()
    sys.path.append(str(MODULE_FOLDER))  # as Slicer does with the folder of a scripted module


def new_scene():
    """Give Slicer an empty scene and return it."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    return slicer.mrmlScene


def _add_module(name, **contents):
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
