"""Stand-ins for the widgets of Slicer and CTK that the panel uses; they refuse what the real ones would refuse."""
# ruff: noqa: N801, N802, N815 - the names are Slicer's

import re
from typing import ClassVar

import vtk
from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPalette, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolButton,
    QWidget,
)

HEADER_HEIGHT = 26
DISABLED_TITLE = "#7a7a7a"
PATHS_KEPT = 5


class qMRMLWidget(QWidget):
    """A widget that passes the scene on to the widgets that the .ui file connects."""

    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}  # noqa: RUF012
    mrmlSceneChanged = Signal(object)

    def setMRMLScene(self, scene):
        self.mrmlSceneChanged.emit(scene)

    def connect_scene(self, signal, receiver, slot):
        if (signal, slot) != ("mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)"):
            raise ValueError(f"the stand-ins do not know the connection of {signal} to {slot}.")
        self.mrmlSceneChanged.connect(receiver.setMRMLScene)


class ctkCollapsibleButton(QWidget):
    """A section with a title that can be collapsed."""

    SIGNALS = {"contentsCollapsed(bool)": "contentsCollapsed"}  # noqa: RUF012
    contentsCollapsed = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._text, self._collapsed, self._hidden = "", False, []
        self.setContentsMargins(0, HEADER_HEIGHT, 0, 0)

    def _set_text(self, text):
        self._text = text
        self.update()

    def _set_collapsed(self, collapsed):
        self._collapsed = collapsed
        self._apply()
        self.contentsCollapsed.emit(collapsed)

    text = Property(str, lambda self: self._text, _set_text)
    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)

    def showEvent(self, event):
        self._apply()

    def _apply(self):
        contents = [child for child in self.children() if isinstance(child, QWidget)]
        if self._collapsed:
            self._hidden = [child for child in contents if not child.isHidden()] or self._hidden
        for child in self._hidden if not self._collapsed else contents:
            child.setVisible(not self._collapsed)
        self.setMaximumHeight(HEADER_HEIGHT if self._collapsed else 16777215)

    def paintEvent(self, event):
        painter = QPainter(self)
        painter.fillRect(0, 0, self.width(), HEADER_HEIGHT - 4, self.palette().color(QPalette.ColorRole.Midlight))
        painter.setPen(
            self.palette().color(QPalette.ColorRole.WindowText) if self.isEnabled() else QColor(DISABLED_TITLE)
        )
        arrow = "▸" if self._collapsed else "▾"
        painter.drawText(8, 0, self.width(), HEADER_HEIGHT - 4, Qt.AlignmentFlag.AlignVCenter, f"{arrow}  {self._text}")


class ctkPathLineEdit(QWidget):
    """A line for a path, with a list of recent paths and a button to browse.

    As in CTK, no signal is sent for a path that no name filter accepts, nor for an emptied line; and where the
    settings hold paths of earlier days, the latest is shown as if it were chosen.
    """

    SIGNALS = {"currentPathChanged(QString)": "currentPathChanged"}  # noqa: RUF012
    currentPathChanged = Signal(str)
    settings: ClassVar = {}  # by key, the latest path first; they outlive the widget

    def __init__(self, parent=None):
        super().__init__(parent)
        self._key, self._filters, self._length = "", [], 0
        self._line = QComboBox(self, editable=True, insertPolicy=QComboBox.InsertPolicy.NoInsert)
        layout = QHBoxLayout(self, spacing=0)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line, 1)
        layout.addWidget(QToolButton(self, text="..."))
        self._line.lineEdit().textChanged.connect(self._on_text)

    def _on_text(self, text):
        endings = [ending for name in self._filters for ending in re.findall(r"\*(\.\w+)", name)]
        if text and (not endings or text.endswith(tuple(endings))):
            self.currentPathChanged.emit(text)

    def _set_key(self, key):
        self._key = key
        self.retrieveHistory()

    def retrieveHistory(self):
        path = self._line.currentText()
        self._line.clear()
        self._line.addItems(self.settings.get(self._key, []))
        if path:
            self._line.setEditText(path)

    def addCurrentPathToHistory(self):
        path = self._line.currentText()
        if path:
            known = self.settings.get(self._key, [])
            self.settings[self._key] = [path, *(other for other in known if other != path)][:PATHS_KEPT]
            self._line.clear()  # CTK, too, shows another path in between
            self._line.addItems(self.settings[self._key])

    def _set_filters(self, names):
        self._filters = list(names)

    def _set_length(self, length):
        self._length = length
        self._line.setMinimumContentsLength(length)

    currentPath = Property(str, lambda self: self._line.currentText(), lambda self, path: self._line.setEditText(path))
    settingKey = Property(str, lambda self: self._key, _set_key)
    nameFilters = Property("QStringList", lambda self: self._filters, _set_filters)
    minimumContentsLength = Property(int, lambda self: self._length, _set_length)


def _flag(name):
    return Property(bool, lambda self: self._flags[name], lambda self, value: self._flags.__setitem__(name, value))


def _text(name):
    def store(self, value):
        self._texts[name] = value
        self.refresh()

    return Property(str, lambda self: self._texts[name], store)


def scene_nodes(scene):
    return [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]


class _NodeList(QComboBox):
    """The part that both node selectors share: the scene, and the classes of nodes to list."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._types, self._hidden_types, self._observers = None, [], [], []
        self._listed, self._leaving, self._observed = [], None, {}
        self._flags = {"showChildNodeTypes": True, "noneEnabled": False, "addEnabled": True}
        self._flags |= {"removeEnabled": True, "renameEnabled": False}
        self._texts = {"noneDisplay": "None", "baseName": ""}

    def paintEvent(self, event):
        """Draw a long name with its middle left out, as ctkComboBox does."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(QStyle.CC_ComboBox, option, QStyle.SC_ComboBoxEditField, self)
        width = field.width() - 6
        text = option.currentText or self.placeholderText()
        option.currentText = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, width)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.CC_ComboBox, option)
        painter.drawControl(QStyle.CE_ComboBoxLabel, option)

    def setMRMLScene(self, scene):
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent)
        self._observers = [scene.AddObserver(event, self._on_scene) for event in events]
        # qMRMLSceneModel lets go of a node before it is removed, after those who observe at the default priority.
        self._observers.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._on_removal, -10.0))
        self.refresh()

    def _on_scene(self, caller, event):
        for node in scene_nodes(self._scene):
            if id(node) not in self._observed:
                self._observed[id(node)] = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_node)
        self.refresh()

    def _on_node(self, node, event):
        if node.GetHideFromEditors() and node in self._listed:
            self.refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_removal(self, caller, event, node):
        self._leaving = node
        self.refresh()
        self._leaving = None

    def listed(self):
        """Return the nodes of the scene that the selector lists."""
        nodes = [] if self._scene is None else scene_nodes(self._scene)
        return [node for node in nodes if node is not self._leaving and self.accepts(node)]

    def accepts(self, node):
        if node.GetHideFromEditors():
            return False
        if self._flags["showChildNodeTypes"]:
            listed = any(node.IsA(kind) for kind in self._types)
            return listed and not any(node.IsA(kind) for kind in self._hidden_types)
        return node.GetClassName() in self._types

    def _set_types(self, kinds):
        self._types = list(kinds)
        self.refresh()

    def _set_hidden_types(self, kinds):
        self._hidden_types = list(kinds)
        self.refresh()

    hideChildNodeTypes = Property("QStringList", lambda self: self._hidden_types, _set_hidden_types)
    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    showChildNodeTypes = _flag("showChildNodeTypes")
    noneEnabled = _flag("noneEnabled")
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    renameEnabled = _flag("renameEnabled")
    noneDisplay = _text("noneDisplay")
    baseName = _text("baseName")


class qMRMLNodeComboBox(_NodeList):
    """A selector of one node or none."""

    SIGNALS = {"currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged"}  # noqa: RUF012
    currentNodeChanged = Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node = None
        self.activated.connect(self._on_activated)

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        if node is not None and self._scene is not node.GetScene():
            raise RuntimeError(f"{self.objectName()} was not given the scene; connect it to mrmlSceneChanged.")
        if node is not None and node.GetHideFromEditors():
            node = None  # the real one selects none, silently, for all that it does not list
        if node is not None and not self.accepts(node):
            raise RuntimeError(f"{self.objectName()} does not list nodes of class {node.GetClassName()}.")
        changed, self._node = node is not self._node, node
        self.refresh()
        if changed:
            self.currentNodeChanged.emit(node)

    def addNode(self):
        """Do what the entry "Create new ..." does."""
        if not self._flags["addEnabled"]:
            raise RuntimeError(f"{self.objectName()} does not create nodes.")
        name = self._scene.GenerateUniqueName(self._texts["baseName"] or "Node")
        self.setCurrentNode(self._scene.AddNewNodeByClass(self._types[0], name))

    def _on_activated(self, index):
        self.setCurrentNode(self._listed[index])

    def refresh(self):
        before, nodes = self._listed, self.listed()
        self._listed = [None, *nodes] if self._flags["noneEnabled"] else nodes
        self.clear()
        self.addItems([node.GetName() if node else self._texts["noneDisplay"] for node in self._listed])
        gone = self._node is not None and self._node not in nodes
        if gone:
            # As QComboBox does: to the row above, be it "None" or another node.
            above = max(before.index(self._node) - 1, 0) if self._node in before else 0
            self._node = self._listed[above] if above < len(self._listed) else None
        if self._node in self._listed:
            self.setCurrentIndex(self._listed.index(self._node))
        if gone:
            self.currentNodeChanged.emit(self._node)

    def removeCurrentNode(self):
        """Do what the entry "Delete current ..." does."""
        if not self._flags["removeEnabled"]:
            raise RuntimeError(f"{self.objectName()} does not delete nodes.")
        self._scene.RemoveNode(self._node)


class qMRMLCheckableNodeComboBox(_NodeList):
    """A selector of any number of nodes."""

    SIGNALS = {"checkedNodesChanged()": "checkedNodesChanged"}  # noqa: RUF012
    checkedNodesChanged = Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._checked = []

    def checkedNodes(self):
        return tuple(self._checked)

    def setCheckState(self, node, state):
        if node not in self.listed():
            raise RuntimeError(f"{self.objectName()} does not list {node.GetName()}.")
        self._checked = [checked for checked in self._checked if checked is not node]
        if state == Qt.CheckState.Checked:
            self._checked.append(node)
        self.refresh()
        self.checkedNodesChanged.emit()

    def refresh(self):
        nodes = self._listed = self.listed()
        self._checked = [node for node in self._checked if node in nodes]
        model = QStandardItemModel(self)
        for node in nodes:
            item = QStandardItem(node.GetName())
            item.setCheckable(True)
            item.setCheckState(Qt.CheckState.Checked if node in self._checked else Qt.CheckState.Unchecked)
            model.appendRow(item)
        self.setModel(model)
        self.setPlaceholderText(", ".join(node.GetName() for node in self._checked) or "None")
        self.setCurrentIndex(-1)


SLICER_WIDGETS = (qMRMLWidget, qMRMLNodeComboBox, qMRMLCheckableNodeComboBox)
CTK_WIDGETS = (ctkCollapsibleButton, ctkPathLineEdit)
