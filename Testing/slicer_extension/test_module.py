"""The scripted module: loads without torch, and its panel keeps what its .ui file promises."""

import ast
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from stand_ins import slicer_module

module = slicer_module.load("SLSFGR")
library = slicer_module.load("SLSFGRModule.library")

REPOSITORY = Path(__file__).resolve().parents[2]
UI = ElementTree.parse(REPOSITORY / "SLSFGR/Resources/UI/SLSFGR.ui").getroot()
# Names that others gave.
NOT_FOR_USERS = {
    "Binary labelmap",
    "Cerebrospinal fluid",
    "SLSFGR contributors",
}
DISPLAY_ONLY = {"QLabel", "qMRMLWidget"}


@pytest.fixture
def scene():
    return slicer_module.new_scene()


@pytest.fixture
def widget(scene):
    widget = slicer_module.open_widget(module.SLSFGRWidget())
    yield widget
    widget.cleanup()


def test_slicer_starts_and_the_panel_opens_without_loading_what_takes_long():
    program = (
        "import sys, time; from stand_ins import slicer_module; slicer_module.install()\n"
        # Also where one of these cannot be imported at all.
        "sys.modules |= dict.fromkeys(('torch', 'SimpleITK', 'numpy', 'vtk.util.numpy_support'))\n"
        "module = slicer_module.load('SLSFGR')\n"
        # Of the processor, so that other programs on this machine do not count.
        "start = time.process_time(); slicer_module.open_widget(module.SLSFGRWidget())\n"
        "print(time.process_time() - start)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY / "Testing/slicer_extension",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # 0.1 to 0.3 by the processor; loading torch alone would be 2.
    assert float(done.stdout) < 1.0


def test_module_says_what_it_is_in_the_registration_category():
    parent = slicer_module.ModuleParent()
    module.SLSFGR(parent)
    assert parent.title == "Brain Registration (SLSFGR)"
    assert parent.categories == ["Registration"]
    assert "moving brain MRI" in parent.helpText
    assert slicer.app.connections["startupCompleted()"] is module.registerSampleData


def test_sample_data_are_the_pair_of_the_tutorial_by_name_and_checksum(monkeypatch):
    registered = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: registered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    module.registerSampleData()
    (source,) = registered
    assert source["nodeNames"] == ["MRBrainTumor1", "MRBrainTumor2"]
    assert len(source["uris"]) == len(source["fileNames"]) == len(source["checksums"]) == 2
    for uri, checksum in zip(source["uris"], source["checksums"], strict=True):
        assert re.fullmatch("SHA256:[0-9a-f]{64}", checksum)
        assert uri.endswith("SHA256/" + checksum.removeprefix("SHA256:"))
    assert Path(source["thumbnailFileName"]).is_file()


def test_texts_for_the_user_are_translatable():
    """Every sentence, which is what has a blank, goes through the translation; f-strings cannot."""
    for path in (REPOSITORY / "SLSFGR").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        translated = {
            id(part)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("_", "translate")
            for part in ast.walk(call)
        }
        documented = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
        }
        for text in ast.walk(tree):
            if (
                isinstance(text, ast.Constant)
                and isinstance(text.value, str)
                and id(text) not in translated | documented
            ):
                assert not re.search(r"[A-Za-z]{2,} [a-z]{2,}", text.value) or text.value in NOT_FOR_USERS, text.value


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
    code = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "SLSFGR").rglob("*.py"))
    used = set(re.findall(r"\bui\.(\w+)", code)) - {"ui", *re.findall(r"\bui\.(\w+) = ", code)}
    assert {"registerButton", "statusLabel"} <= used
    assert used <= {element.get("name") for element in UI.iter("widget")}


def test_every_custom_widget_class_is_declared():
    used = {element.get("class") for element in UI.iter("widget") if not element.get("class").startswith("Q")}
    assert used == {element.findtext("class") for element in UI.iter("customwidget")}


def test_tests_for_inside_slicer_pass(widget, monkeypatch):
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: widget, raising=True)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(module.SLSFGRTest)
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun >= 1
    assert result.failures + result.errors == []


@pytest.mark.parametrize(
    ("installed", "sentence"),
    [
        ({"torch": "2.1.0"}, ""),
        ({"torch": "2.0.1", "PyTorchUtils": ""}, "PyTorch >=2.1 is not installed. Press Register"),
        ({"torch": None, "PyTorchUtils": ""}, "Press Register"),  # a folder that pip left behind
        ({"PyTorchUtils": ""}, "Press Register"),
        ({}, "Install the PyTorch extension"),
    ],
)
def test_missing_torch_is_reported_with_the_way_to_get_it(tmp_path, monkeypatch, installed, sentence):
    for name, version in installed.items():
        (tmp_path / name).mkdir()
        if version is not None:
            (tmp_path / name / "__init__.py").touch()
            (tmp_path / f"{name}-{version}.dist-info").mkdir()
            (tmp_path / f"{name}-{version}.dist-info/METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    # Modules of the test are already imported, and the rest are not looked for.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in ("torch", "PyTorchUtils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    modules = installed
    installer = library.TorchInstaller()
    reason = installer.reasonNotToCompute()
    assert sentence in reason
    assert bool(reason) == (not installer.isInstalled())
    assert installer.canInstall() == ("PyTorchUtils" in modules)


def test_torch_is_installed_by_the_extension_which_asks_the_user(monkeypatch):
    asked = []
    logic = SimpleNamespace(installTorch=lambda **options: asked.append(options))
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    library.TorchInstaller().install()
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=2.1"}]


def test_library_is_found_in_a_source_checkout_without_getting_before_others(tmp_path, monkeypatch):
    path = tmp_path / "SLSFGR/SLSFGRModule/library.py"
    path.parent.mkdir(parents=True)
    shutil.copy(library.__file__, path)
    (tmp_path / "SLSFGRLib").mkdir()
    (tmp_path / "SLSFGRLib/__init__.py").write_text("NAME = 'the one of this checkout'")
    for name in [name for name in sys.modules if name.partition(".")[0] == "SLSFGRLib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not (Path(place) / "SLSFGRLib").exists()])
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("library_of_checkout", path)
    checkout = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checkout)
    try:
        assert checkout.importLibrary().NAME == "the one of this checkout"
    finally:
        sys.modules.pop("SLSFGRLib", None)
    assert sys.path == [*before, str(tmp_path)]
