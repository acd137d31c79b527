"""A stand-in for ``slicer.parameterNodeWrapper``: typed access to a node, and binding to widgets."""
# ruff: noqa: N802 - the names are Slicer's

import enum
import typing

import slicer
import vtk
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit

from .qmrml_widgets import qMRMLNodeComboBox

PROPERTY = "SlicerParameterName"


def parameterNodeWrapper(cls):
    """Turn the annotated names of a class into properties that are stored in a parameter node."""
    hints = typing.get_type_hints(cls)
    for name, kind in hints.items():
        default = getattr(cls, name, None)
        setattr(cls, name, property(_reader(name, kind, default), _writer(name, kind)))
    cls.allParameters = hints
    cls.__init__ = _initialize
    for method in (connectGui, disconnectGui, AddObserver, RemoveObserver):
        setattr(cls, method.__name__, method)
    return cls


def _node_kinds(kind):
    """Return the classes of a parameter that holds a node, which may be of several."""
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)


def _is_node(kind):
    return issubclass(_node_kinds(kind)[0], slicer.vtkMRMLNode)


def _reader(name, kind, default):
    def read(self):
        if _is_node(kind):
            return self.parameterNode.GetNodeReference(name)
        text = self.parameterNode.GetParameter(name)
        if not text:
            return default
        if kind is str:
            return text
        return kind[text] if issubclass(kind, enum.Enum) else text == "True"

    return read


def _writer(name, kind):
    def write(self, value):
        if value is not None and not isinstance(value, _node_kinds(kind)):
            raise TypeError(f"{name} is a {kind}, not {value!r}.")
        if _is_node(kind):
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value else None)
        else:
            self.parameterNode.SetParameter(name, value.name if isinstance(value, enum.Enum) else str(value))

    return write


def _initialize(self, parameterNode):
    self.parameterNode = parameterNode
    self._guis, self._updating = {}, False


def connectGui(self, ui):
    """Bind every widget that has the name of a parameter; return a tag for :func:`disconnectGui`."""
    bound = {
        widget.property(PROPERTY): widget
        for widget in vars(ui).values()
        if hasattr(widget, "property") and widget.property(PROPERTY)
    }
    unknown = bound.keys() - self.allParameters.keys()
    if unknown:
        raise ValueError(f"Cannot find parameters {unknown}.")
    connectors = [_Connector(self, name, self.allParameters[name], widget) for name, widget in bound.items()]
    tag = len(self._guis)
    observer = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _show(self))
    self._guis[tag] = connectors, observer
    return tag


def disconnectGui(self, tag):
    connectors, observer = self._guis.pop(tag)
    self.parameterNode.RemoveObserver(observer)
    for connector in connectors:
        connector.signal.disconnect(connector.changed)


def _show(self):
    if self._updating:
        return
    self._updating = True
    try:
        for connectors, _ in list(self._guis.values()):
            for connector in connectors:
                connector.show()
    finally:
        self._updating = False


def AddObserver(self, event, callback, priority=0.0):
    return self.parameterNode.AddObserver(event, callback, priority)


def RemoveObserver(self, tag):
    self.parameterNode.RemoveObserver(tag)


def _widget_class(kind):
    """Return the class of widgets that Slicer binds to such a parameter."""
    if _is_node(kind):
        return qMRMLNodeComboBox
    return {str: QLineEdit, bool: QCheckBox}.get(kind, QComboBox)


class _Connector:
    """Two-way binding of a parameter and a widget."""

    def __init__(self, parameters, name, kind, widget):
        self.parameters, self.name, self.kind, self.widget = parameters, name, kind, widget
        self.property = {str: "text", bool: "checked"}.get(kind)
        if not isinstance(widget._object, _widget_class(kind)):
            raise RuntimeError(f"Unable to create GUI connector from datatype {kind} to widget type {type(widget)}")
        if _is_node(kind):
            widget.nodeTypes = [node_class.__name__ for node_class in _node_kinds(kind)]
            self.signal = widget.currentNodeChanged
        elif issubclass(kind, enum.Enum):
            widget.clear()
            for member in kind:
                widget.addItem(member.label())
            self.signal = widget.currentIndexChanged
        else:
            self.signal = widget.textChanged if kind is str else widget.stateChanged
        self.show()
        self.signal.connect(self.changed)

    def show(self):
        value = getattr(self.parameters, self.name)
        if _is_node(self.kind):
            self.widget.setCurrentNode(value)
        elif issubclass(self.kind, enum.Enum):
            self.widget.currentIndex = list(self.kind).index(value)
        else:
            setattr(self.widget, self.property, value)

    def changed(self):
        if self.parameters._updating:
            return
        if _is_node(self.kind):
            value = self.widget.currentNode()
        elif issubclass(self.kind, enum.Enum):
            value = list(self.kind)[self.widget.currentIndex]
        else:
            value = getattr(self.widget, self.property)
        setattr(self.parameters, self.name, value)
