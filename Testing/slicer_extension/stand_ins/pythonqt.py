"""A stand-in for PythonQt, over PySide6: properties are attributes, signals are named by signature.

What PythonQt would refuse, or worse, ignore, is refused here: a property, signal or slot that does not exist,
a property that cannot be written, a value of the wrong type.
"""

import inspect
import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

_WRAPPERS = {}  # by the address of the C++ object, so that one object has one wrapper
_CLASSES = {}


class _Class(type):
    """Access to the constants of the Qt class: ``qt.QProcess.FailedToStart``."""

    def __getattr__(cls, name):
        if name.startswith("_") or name == "qt_class":
            raise AttributeError(name)
        return getattr(cls.qt_class, name)


class Wrapped(metaclass=_Class):
    """A Qt object as PythonQt shows it."""

    def __init__(self, *arguments):
        self.__dict__.update(_object=self.qt_class(*map(unwrap, arguments)), _connections=[])
        _WRAPPERS[id(self._object)] = self

    def __setattr__(self, name, value):
        target = self._object
        index = target.metaObject().indexOfProperty(name)
        if index < 0:
            raise AttributeError(f"{_described(target)} has no property {name}.")
        if not target.metaObject().property(index).isWritable():
            raise AttributeError(f"The property {name} of {_described(target)} cannot be written.")
        kind = type(target.property(name))
        if kind in (str, bool, int) and not isinstance(value, kind):
            raise TypeError(f"The property {name} of {_described(target)} is a {kind.__name__}, not {value!r}.")
        target.setProperty(name, unwrap(value))

    def __getattr__(self, name):
        target = self._object
        if name == "name":
            return target.objectName()
        meta = target.metaObject()
        if meta.indexOfProperty(name) >= 0:
            return wrap(target.property(name))
        if name in _signal_names(meta):
            return _Signal(self, name)
        method = getattr(target, name, None)
        if name.startswith("_") or not callable(method):
            raise AttributeError(f"{_described(target)} has neither a property nor a slot {name}.")
        return lambda *arguments: wrap(method(*map(unwrap, arguments)))

    def connect(self, signature, callback):
        """Connect a signal named by its signature; unlike PythonQt, raise an error if there is none."""
        own = _own_signals(self._object)
        if signature not in own and signature not in _signatures(self._object.metaObject()):
            raise ValueError(f"{_described(self._object)} has no signal {signature}.")
        receiver = _accepting_fewer(callback)
        self._connections.append((callback, receiver))
        if signature in own:
            getattr(self._object, own[signature]).connect(receiver)
        else:
            QtCore.QObject.connect(self._object, QtCore.SIGNAL(signature), receiver)


class _Signal:
    """A signal as an attribute."""

    def __init__(self, wrapper, name):
        self.wrapper, self.name = wrapper, name

    def connect(self, callback):
        receiver = _accepting_fewer(callback)
        self.wrapper._connections.append((callback, receiver))
        getattr(self.wrapper._object, self.name).connect(receiver)

    def disconnect(self, callback):
        for pair in [pair for pair in self.wrapper._connections if pair[0] == callback]:
            getattr(self.wrapper._object, self.name).disconnect(pair[1])
            self.wrapper._connections.remove(pair)


def _described(target):
    return f"{type(target).__name__} {target.objectName()}".rstrip()


def _methods(meta):
    return [meta.method(index) for index in range(meta.methodCount())]


def _signatures(meta):
    signals = (method for method in _methods(meta) if method.methodType() == QtCore.QMetaMethod.MethodType.Signal)
    return {bytes(method.methodSignature().data()).decode() for method in signals}


def _signal_names(meta):
    return {signature.partition("(")[0] for signature in _signatures(meta)}


def _own_signals(target):
    """Return the signals of the stand-in widgets, whose argument types are unknown to Qt."""
    return getattr(target, "SIGNALS", {})


def _accepting_fewer(callback):
    """Pass only as many arguments as the function takes, as PythonQt does."""
    parameters = inspect.signature(callback).parameters.values()
    limit = None if any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters) else len(parameters)
    return lambda *arguments: callback(*map(wrap, arguments[:limit]))


def wrap(value):
    """Wrap a Qt object as PythonQt does; return other values unchanged."""
    if isinstance(value, list):
        return [wrap(item) for item in value]
    if not isinstance(value, QtCore.QObject):
        return value
    known = _WRAPPERS.get(id(value))
    if known is not None and known._object is value:
        return known
    wrapper = object.__new__(wrapper_class(type(value)))
    wrapper.__dict__.update(_object=value, _connections=[])
    _WRAPPERS[id(value)] = wrapper
    return wrapper


def unwrap(value):
    """Undo :func:`wrap`."""
    if isinstance(value, Wrapped):
        return value._object
    return value.qt_class if isinstance(value, _Class) else value


def wrapper_class(qt_class):
    """Return the wrapper for a Qt class."""
    if qt_class not in _CLASSES:
        _CLASSES[qt_class] = _Class(qt_class.__name__, (Wrapped,), {"qt_class": qt_class})
    return _CLASSES[qt_class]


class QtModule(types.ModuleType):
    """Slicer's module ``qt``."""

    def __getattr__(self, name):
        for source in (QtCore, QtGui, QtWidgets):
            found = getattr(source, name, None)
            if found is not None:
                is_object = isinstance(found, type) and issubclass(found, QtCore.QObject)
                return wrapper_class(found) if is_object else found
        raise AttributeError(f"module 'qt' has no attribute {name!r}")


def ui_loader(custom_classes):
    """Return a class ``QUiLoader`` that knows Slicer's widgets and makes the connections that pass on the scene."""

    class QUiLoader:
        def load(self, file):
            loader = QtUiTools.QUiLoader()
            for custom_class in custom_classes:
                loader.registerCustomWidget(custom_class)
            device = unwrap(file)
            content = bytes(device.readAll().data())
            connections = _connections(content)
            bare = QtCore.QBuffer()
            bare.setData(content[: content.index(b"<connections>")] + b"</ui>")
            top = loader.load(bare)
            for sender, signal, receiver, slot in connections:
                _named(top, sender).connect_scene(signal, _named(top, receiver), slot)
            return wrap(top)

    return QUiLoader


def _connections(content):
    from xml.etree import ElementTree

    ends = ("sender", "signal", "receiver", "slot")
    return [[found.findtext(end) for end in ends] for found in ElementTree.fromstring(content).iter("connection")]


def _named(top, name):
    return top if top.objectName() == name else top.findChild(QtWidgets.QWidget, name)
