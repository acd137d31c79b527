"""The scripted module: loads without torch, and its panel keeps what its .ui file promises."""

import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs the slicer-core wheel")

import slicer
import slicer_stand_ins

module = slicer_stand_ins.load("SLSFGR")
engine = slicer_stand_ins.load("SLSFGRModule.engine")
publishing = slicer_stand_ins.load("SLSFGRModule.publishing")

REPOSITORY = Path(__file__).resolve().parents[1]
UI = ElementTree.parse(REPOSITORY / "SLSFGR/Resources/UI/SLSFGR.ui").getroot()
DISPLAY_ONLY = {"QLabel", "QWidget", "QProgressBar", "qMRMLWidget"}


@pytest.fixture
def scene():
    return slicer_stand_ins.new_scene()


@pytest.fixture
def widget(scene):
    widget = module.SLSFGRWidget()
    widget.setup()
    return widget


def add_volume(name):
    return slicer.util.addVolumeFromArray(np.ones((4, 5, 6), np.float32), name=name)


def select_two_volumes(widget):
    widget.ui.fixedVolumeSelector.setCurrentNode(add_volume("fixed"))
    widget.ui.movingVolumeSelector.setCurrentNode(add_volume("moving"))


def test_panel_opens_where_torch_cannot_be_imported_and_imports_no_library():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import slicer_stand_ins; slicer_stand_ins.load('SLSFGR').SLSFGRWidget().setup()\n"
        "print([name for name in sys.modules if name.startswith('SLSFGRLib')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY / "Testing", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_module_says_what_it_is_in_the_registration_category():
    parent = slicer_stand_ins.ModuleParent()
    module.SLSFGR(parent)
    assert parent.title == "Brain Registration (SLSFGR)"
    assert parent.categories == ["Registration"]
    assert "moving brain MRI" in parent.helpText


def test_every_mrml_widget_is_given_the_scene():
    mrml_widgets = {element.get("name") for element in UI.iter("widget") if element.get("class").startswith("qMRML")}
    root = UI.find("widget").get("name")
    wired = {
        connection.findtext("receiver")
        for connection in UI.iter("connection")
        if connection.findtext("sender") == root
        and connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and connection.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    assert wired == mrml_widgets - {root}


def test_every_control_has_a_tool_tip():
    without = [
        element.get("name")
        for element in UI.iter("widget")
        if element.get("class") not in DISPLAY_ONLY
        and not any(
            found.get("name") == "toolTip" and found.findtext("string") for found in element.findall("property")
        )
    ]
    assert without == []


def test_every_widget_that_the_code_uses_is_in_the_panel():
    code = "".join(path.read_text() for path in (REPOSITORY / "SLSFGR").rglob("*.py"))
    used = set(re.findall(r"\bui\.(\w+)", code)) - {"ui"}
    assert {"registerButton", "statusLabel"} <= used
    assert used <= {element.get("name") for element in UI.iter("widget")}


def test_every_custom_widget_class_is_declared():
    used = {element.get("class") for element in UI.iter("widget") if not element.get("class").startswith("Q")}
    assert used == {element.findtext("class") for element in UI.iter("customwidget")}


def test_button_is_disabled_and_says_why_until_two_volumes_are_selected(widget):
    button = widget.ui.registerButton
    assert (button.enabled, button.toolTip) == (False, "Select a fixed and a moving volume.")
    volume = add_volume("T1")
    widget.ui.fixedVolumeSelector.setCurrentNode(volume)
    widget.ui.movingVolumeSelector.setCurrentNode(volume)
    assert not button.enabled
    assert "the same" in button.toolTip
    assert widget.ui.statusLabel.text == button.toolTip
    widget.ui.movingVolumeSelector.setCurrentNode(add_volume("T2"))
    assert (button.enabled, button.toolTip) == (True, "Align the moving volume with the fixed volume.")
    assert widget.ui.statusLabel.text == ""


def test_register_button_registers_the_selected_volumes_and_shows_the_result(widget, monkeypatch):
    calls, layers = [], {}
    select_two_volumes(widget)
    warped = add_volume("warped")

    def register(*volumes):
        calls.append([volume.GetName() for volume in volumes])
        return publishing.RegistrationNodes(warped, None, None, {})

    monkeypatch.setattr(widget.logic, "register", register)
    monkeypatch.setattr(slicer.util, "setSliceViewerLayers", lambda **given: layers.update(given))
    widget.ui.registerButton.click()
    assert calls == [["fixed", "moving"]]
    assert layers["background"].GetName() == "fixed"
    assert layers["foreground"] is warped
    assert widget.ui.statusLabel.text == "Done: warped"


def test_panel_says_that_a_registration_failed(widget, monkeypatch):
    def fail(*volumes):
        raise RuntimeError("no memory")

    select_two_volumes(widget)
    monkeypatch.setattr(widget.logic, "register", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        widget.ui.registerButton.click()
    assert widget.ui.statusLabel.text == "Registration failed."


def test_tests_for_inside_slicer_pass(widget, monkeypatch):
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: widget, raising=True)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(module.SLSFGRTest)
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun >= 1
    assert result.failures + result.errors == []


def test_missing_torch_is_told_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="Install the PyTorch extension"):
        engine.registerWithLibrary(None, None)


def test_library_is_found_in_a_source_checkout_without_getting_before_others(tmp_path, monkeypatch):
    path = tmp_path / "SLSFGR/SLSFGRModule/engine.py"
    path.parent.mkdir(parents=True)
    shutil.copy(engine.__file__, path)
    (tmp_path / "SLSFGRLib").mkdir()
    (tmp_path / "SLSFGRLib/__init__.py").write_text("NAME = 'the one of this checkout'")
    for name in [name for name in sys.modules if name.partition(".")[0] == "SLSFGRLib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not (Path(place) / "SLSFGRLib").exists()])
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("engine_of_checkout", path)
    checkout = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checkout)
    try:
        assert checkout.importLibrary().NAME == "the one of this checkout"
    finally:
        sys.modules.pop("SLSFGRLib", None)
    assert sys.path == [*before, str(tmp_path)]
