"""The panel as a user drives it: the real .ui and widget, drawn by Qt without a screen, and true child processes."""

import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from nodes import add_volume
from phantoms import affine_matrix, empty_image, head_image
from PySide6.QtCore import Qt
from stand_ins import slicer_module
from stand_ins.qmrml_widgets import ctkPathLineEdit

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs.process import JobRunner
from SLSFGRLib.models.model import Model, ModelSettings

module = slicer_module.load("SLSFGR")

FOLDER = Path(__file__).resolve().parent
UI = ElementTree.parse(FOLDER.parents[1] / "SLSFGR/Resources/UI/SLSFGR.ui").getroot()


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.setattr(slicer.app, "temporaryPath", str(tmp_path))
    return slicer_module.new_scene()


@pytest.fixture
def installer():
    return FakeInstaller()


@pytest.fixture
def widget(scene, installer):
    widget = open_panel(installer)
    yield widget
    widget.cleanup()


class RecordingRunner(JobRunner):
    """Runs ``panel_workers.py`` instead of the library's worker, and records the jobs."""

    def __init__(self, how):
        super().__init__(slicer.app.temporaryPath, worker_command(how))
        self.jobs = []

    def start(self, job, *callbacks):
        self.jobs.append(job)
        super().start(job, *callbacks)


class FakeInstaller:
    """Stands for PyTorch and its extension."""

    def __init__(self):
        self.installed, self.extension, self.agrees, self.asked = True, True, True, 0
        self.while_installing = lambda: None

    def isInstalled(self):  # noqa: N802 - the names are the module's
        return self.installed

    def canInstall(self):  # noqa: N802
        return self.extension

    def install(self):
        self.asked += 1
        self.while_installing()
        self.installed = self.agrees

    def reasonNotToCompute(self):  # noqa: N802
        return "" if self.installed else "PyTorch is missing."


def open_panel(installer=None):
    widget = module.SLSFGRWidget(runner=RecordingRunner("finish"), installer=installer or FakeInstaller())
    widget.setup()
    widget.parent.window.resize(420, 760)
    widget.parent.window.show()
    return widget


def worker_command(how):
    return [sys.executable, str(FOLDER / "panel_workers.py"), how]


def use_worker(widget, how):
    widget.exit()  # ends the standby process
    widget.runner.command = worker_command(how)
    widget.enter()


def reopen(widget):
    """Go to another module and back."""
    widget.exit()
    widget.enter()


def small_head(shift=0.0, spacing=7.0):
    image = empty_image((24, 28, 26), spacing=(spacing,) * 3, centre=(3, -4, 5))
    return head_image(image, affine_matrix(shift=(shift, 0.0, 0.0)))[0]


def choose_volumes(widget):
    volumes = add_volume(small_head(), "T1 2024"), add_volume(small_head(-5.0), "T1 2026")
    widget.ui.fixedVolumeSelector.setCurrentNode(volumes[0])
    widget.ui.movingVolumeSelector.setCurrentNode(volumes[1])
    return volumes


def press(button):
    """As the mouse does: a button that is disabled or hidden does nothing."""
    assert button.visible
    button._object.click()


def wait_until(condition, seconds=300):
    end = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < end, "timed out"
        slicer.app.processEvents()
        time.sleep(0.005)


def run_to_the_end(widget, button=None):
    press(button or widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register")


def begin(widget):
    press(widget.ui.registerButton)
    wait_until(lambda: "Deforming" in widget.ui.progressBar.format)


def nodes_of_scene():
    nodes = (slicer.mrmlScene.GetNthNode(index) for index in range(slicer.mrmlScene.GetNumberOfNodes()))
    return {node.GetName() for node in nodes if node.IsA("vtkMRMLDisplayableNode") or node.IsA("vtkMRMLTableNode")}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def worker_of(folder):
    return int(next(Path(folder).glob("SLSFGR-*/pid")).read_text())


# What the .ui file promises ---------------------------------------------------------------------------------------


def test_every_bound_parameter_is_in_the_parameter_node_and_bound_once():
    bound = [
        element.findtext("string") for element in UI.iter("property") if element.get("name") == "SlicerParameterName"
    ]
    assert len(bound) == len(set(bound))
    kinds = slicer_module.load("SLSFGRModule.parameter_node").SLSFGRParameterNode.allParameters
    assert set(bound) <= set(kinds)
    assert set(kinds) - set(bound) == {"volumesTable", "jacobianVolume", "model"}


def test_the_model_chooser_offers_models_remembers_them_and_leaves_its_binding_to_the_code():
    (chooser,) = (element for element in UI.iter("widget") if element.get("class") == "ctkPathLineEdit")
    values = {found.get("name"): "".join(found.itertext()).strip() for found in chooser.findall("property")}
    assert values["nameFilters"] == "Trained models (*.pt)"
    assert values["settingKey"] == "SLSFGRModel"
    # Slicer would bind it to a pathlib.Path, which shows an empty one as ".".
    assert "SlicerParameterName" not in values


def test_every_selector_lists_the_class_of_its_parameter():
    kinds = slicer_module.load("SLSFGRModule.parameter_node").SLSFGRParameterNode.allParameters
    for element in UI.iter("widget"):
        if element.get("class") == "qMRMLNodeComboBox":
            values = {found.get("name"): found for found in element.findall("property")}
            kind = kinds[values["SlicerParameterName"].findtext("string")]
            assert [item.text for item in values["nodeTypes"][0]] == [kind.__name__]


def test_every_label_belongs_to_the_control_beside_it():
    names = {element.get("name") for element in UI.iter("widget")}
    buddies = [found.findtext("cstring") for found in UI.iter("property") if found.get("name") == "buddy"]
    assert len(buddies) >= 12
    assert set(buddies) <= names


# Choosing -----------------------------------------------------------------------------------------------------------


def test_register_says_what_is_missing_until_it_can_be_pressed(widget):
    button = widget.ui.registerButton
    assert (button.enabled, button.toolTip) == (False, "Select a fixed and a moving volume.")
    fixed, _ = choose_volumes(widget)
    assert button.enabled
    assert not widget.ui.statusLabel.visible
    widget.ui.movingVolumeSelector.setCurrentNode(fixed)
    assert not button.enabled
    assert "the same" in button.toolTip
    assert widget.ui.statusLabel.text == button.toolTip


def test_outputs_that_would_destroy_an_input_or_each_other_are_refused(widget):
    fixed, _ = choose_volumes(widget)
    widget.ui.warpedVolumeSelector.setCurrentNode(fixed)
    assert widget.ui.statusLabel.text.startswith("T1 2024 would be overwritten.")
    widget.ui.warpedVolumeSelector.setCurrentNode(None)
    widget.ui.transformSelector._object.addNode()
    widget.ui.inverseTransformSelector.setCurrentNode(widget.ui.transformSelector.currentNode())
    assert "Transform would be overwritten" in widget.ui.registerButton.toolTip
    assert not widget.ui.registerButton.enabled


def test_an_initial_transform_must_be_linear_and_not_count_twice(widget):
    _, moving = choose_volumes(widget)
    start = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "by hand")
    widget.ui.initialTransformSelector.setCurrentNode(start)
    assert widget.ui.registerButton.enabled
    moving.SetAndObserveTransformNodeID(start.GetID())
    reopen(widget)
    assert "already under by hand" in widget.ui.registerButton.toolTip
    moving.SetAndObserveTransformNodeID(None)
    start.SetAndObserveTransformFromParent(slicer.vtkOrientedBSplineTransform())
    reopen(widget)
    assert "by hand is not linear" in widget.ui.registerButton.toolTip


def test_choices_are_kept_in_the_scene_and_come_back(widget, tmp_path):
    choose_volumes(widget)
    widget.ui.modeComboBox.currentIndex = 2
    widget.ui.deviceComboBox.currentIndex = 2
    widget.ui.jacobianCheckBox.checked = True
    widget.exit()
    assert slicer.mrmlScene.Commit(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Import()
    widget.enter()
    assert widget.ui.fixedVolumeSelector.currentNode().GetName() == "T1 2024"
    assert widget.ui.modeComboBox.currentText == "Accurate"
    assert widget.ui.deviceComboBox.currentText == "Processor (CPU)"
    assert widget.ui.jacobianCheckBox.checked


def test_without_the_network_the_panel_says_that_nothing_is_segmented(widget, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.io.resources.can_segment", lambda: False)
    choose_volumes(widget)
    assert not widget.ui.segmentButton.enabled
    assert "can only register" in widget.ui.segmentButton.toolTip
    assert widget.ui.registerButton.enabled
    monkeypatch.setattr("SLSFGRLib.io.resources.can_segment", lambda: True)
    reopen(widget)
    assert widget.ui.segmentButton.enabled


# A model of one's own ------------------------------------------------------------------------------------------------


@pytest.fixture
def earlier_models(monkeypatch):
    """What the settings hold of models that were chosen on other days."""
    monkeypatch.setattr(ctkPathLineEdit, "settings", {"SLSFGRModel": ["/last/week.pt"]})
    return ctkPathLineEdit.settings["SLSFGRModel"]


def type_model(widget, path):
    """As the user does, who types or pastes into the line."""
    widget.ui.modelLineEdit._object.setText(path)


def test_the_bundled_model_is_used_unless_another_is_chosen(earlier_models, widget):
    choose_volumes(widget)
    assert widget.ui.modelPathLineEdit.currentPath == ""  # not what was used last week
    assert widget.ui.modelLineEdit.placeholderText == "None (default)"
    run_to_the_end(widget)
    widget.ui.modelPathLineEdit.currentPath = "/models/hu.pt"  # what its button to browse does
    run_to_the_end(widget)
    assert [job.model for job in widget.runner.jobs] == ["", "/models/hu.pt"]


@pytest.mark.parametrize("typed", ["", "/models/hu.txt", "li_fan"])
def test_the_model_is_what_the_line_shows_whatever_ctk_thinks_of_it(widget, typed):
    choose_volumes(widget)
    type_model(widget, "/models/hu.pt")
    type_model(widget, typed)
    run_to_the_end(widget)
    assert widget.runner.jobs[0].model == widget.ui.modelPathLineEdit.currentPath == typed


def test_models_that_were_used_are_offered_again(earlier_models, widget):
    choose_volumes(widget)
    for path in ("/models/one.pt", "", "/models/two.pt"):
        type_model(widget, path)
        run_to_the_end(widget)
        assert widget.logic.getParameterNode().model == path
    assert ctkPathLineEdit.settings["SLSFGRModel"] == ["/models/two.pt", "/models/one.pt", "/last/week.pt"]


def test_the_model_is_saved_with_the_scene_and_forgotten_with_it(widget, tmp_path):
    choose_volumes(widget)
    type_model(widget, "/models/hu.pt")
    widget.exit()
    assert slicer.mrmlScene.Commit(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Clear(1)
    widget.enter()
    assert widget.ui.modelPathLineEdit.currentPath == ""
    widget.exit()
    slicer.mrmlScene.SetURL(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Import()
    widget.enter()
    assert widget.ui.modelPathLineEdit.currentPath == "/models/hu.pt"


@pytest.mark.slow
def test_a_trained_model_registers_through_the_library_and_its_name_is_noted(widget, tmp_path_factory):
    settings = ModelSettings(network="hu", network_options={"channels": [3, 4], "global_channels": [3]}, pair_steps=0)
    path = tmp_path_factory.mktemp("models") / "my model.pt"
    Model("multimodal", settings, settings.build()).save(path)
    choose_volumes(widget)
    use_worker(widget, "registers_only")
    widget.ui.modeComboBox.currentIndex = 0
    widget.ui.modelPathLineEdit.currentPath = str(path)
    run_to_the_end(widget)
    assert "folding 0 %" in widget.ui.resultLabel.text, widget.ui.statusLabel.text
    assert widget.logic.getParameterNode().transform.GetAttribute("SLSFGR.Model") == "multimodal"


@pytest.mark.slow
def test_a_file_that_is_no_model_is_refused_in_one_sentence(widget, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "holiday.pt"
    path.write_text("no model")
    choose_volumes(widget)
    before = nodes_of_scene()
    use_worker(widget, "registers_only")
    for name, sentence in (
        (str(path), f"{path}: is not a model file; give one that slsfgr train wrote."),
        ("/gone.pt", "/gone.pt: there is no such model file; give one, sl_sfgr, multimodal or li_fan."),
    ):
        widget.ui.modelPathLineEdit.currentPath = name
        run_to_the_end(widget)
        assert widget.ui.statusLabel.text == sentence
    assert nodes_of_scene() == before
    assert widget.ui.registerButton.enabled


# Running ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_register_with_the_library_aligns_the_volumes(widget):
    _, moving = choose_volumes(widget)
    use_worker(widget, "registers_only")
    widget.ui.modeComboBox.currentIndex = 0
    seen = set()
    press(widget.ui.registerButton)
    while widget.ui.registerButton.text != "Register":
        slicer.app.processEvents()
        time.sleep(0.01)
        seen.add(widget.ui.progressBar.format.partition("  ")[0])
    assert {"Preparing the images", "Aligning the heads", "Deforming"} <= seen
    chosen = widget.logic.getParameterNode()
    moved = np.array(chosen.transform.GetTransformFromParent().TransformPoint((10.0, 0.0, 5.0)))
    np.testing.assert_allclose(moved, (5.0, 0.0, 5.0), atol=2.0)
    assert chosen.warpedVolume.GetName() == "T1 2026 warped to T1 2024"
    assert "folding 0 %" in widget.ui.resultLabel.text
    assert moving.GetParentTransformNode() is None


@pytest.mark.slow
def test_with_a_network_that_segments_the_library_gives_segmentations_and_dice(widget):
    fixed, moving = choose_volumes(widget)
    use_worker(widget, "small_network")
    widget.ui.modeComboBox.currentIndex = 0
    run_to_the_end(widget)
    chosen = widget.logic.getParameterNode()
    assert re.fullmatch(r"Dice 0\.\d\d → 0\.\d\d · folding 0 % · [\d.]+ s · CPU", widget.ui.resultLabel.text)
    names = [structure.name for structure in read_label_table()]
    for volume, node in ((fixed, chosen.fixedSegmentation), (moving, chosen.movingSegmentation)):
        assert node.GetName() == f"{volume.GetName()} segmentation"
        assert node.GetAttribute("SLSFGR.Model") == "small"
        assert 0.0 < float(node.GetAttribute("SLSFGR.DiceAfter")) <= 1.0
        segments = node.GetSegmentation()
        assert segments.GetNumberOfSegments() > 1
        for index in range(segments.GetNumberOfSegments()):
            assert segments.GetNthSegment(index).GetName() in names
    columns = chosen.volumesTable.GetTable()
    assert [columns.GetColumnName(index) for index in range(3)] == ["Structure", "T1 2024 (mL)", "T1 2026 (mL)"]
    run_to_the_end(widget, widget.ui.segmentButton)
    assert re.fullmatch(r"\d+ structures · [\d.]+ s · CPU", widget.ui.resultLabel.text)
    assert chosen.fixedSegmentation.GetAttribute("SLSFGR.Model") == "small"
    assert chosen.fixedSegmentation.GetAttribute("SLSFGR.Mode") == "none"


def test_register_shows_progress_then_the_result_over_the_fixed_volume(widget):
    fixed, _ = choose_volumes(widget)
    begin(widget)
    assert widget.ui.progressBar.visible
    assert widget.ui.progressBar.value == 42
    assert widget.ui.registerButton.text == "Cancel"
    assert not widget.ui.inputsCollapsibleButton.enabled
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    assert not widget.ui.progressBar.visible
    assert widget.ui.resultLabel.text == "Dice 0.61 → 0.84 · folding 0 % · 14.2 s · CPU"
    assert widget.ui.resultLabel.toolTip == "cpu (2 threads)"
    label = widget.ui.resultLabel._object
    assert label.fontMetrics().horizontalAdvance(label.text()) < label.width()
    assert "a warning of some library" in widget.ui.logTextEdit.plainText
    warped = widget.logic.getParameterNode().warpedVolume
    for view in slicer_module.slice_views():
        assert view.GetBackgroundVolumeID() == fixed.GetID()
        assert view.GetForegroundVolumeID() == warped.GetID()
        assert view.GetForegroundOpacity() == 0.5


def test_slider_fades_and_switch_shows_a_checkerboard_that_is_not_saved(widget):
    fixed, _ = choose_volumes(widget)
    run_to_the_end(widget)
    widget.ui.fadeSlider.value = 80
    red = slicer_module.slice_views()[0]
    assert red.GetForegroundOpacity() == pytest.approx(0.8)
    widget.ui.checkerboardCheckBox.checked = True
    board = slicer.mrmlScene.GetNodeByID(red.GetBackgroundVolumeID())
    assert board.GetName() == "SLSFGR checkerboard"
    assert not board.GetSaveWithScene()
    assert red.GetForegroundVolumeID() is None
    widget.ui.checkerboardCheckBox.checked = False
    assert red.GetBackgroundVolumeID() == fixed.GetID()
    assert slicer.mrmlScene.GetFirstNodeByName("SLSFGR checkerboard") is None


def test_second_run_updates_the_nodes_of_the_first(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    first, warped = nodes_of_scene(), widget.logic.getParameterNode().warpedVolume
    slicer.util.arrayFromVolume(warped)[:] = 0
    run_to_the_end(widget)
    assert nodes_of_scene() == first
    assert slicer.util.arrayFromVolume(widget.logic.getParameterNode().warpedVolume).max() > 100
    assert widget.logic.getParameterNode().warpedVolume is warped


def test_after_another_choice_of_inputs_the_outputs_are_called_by_it(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    warped, count = widget.logic.getParameterNode().warpedVolume, len(nodes_of_scene())
    widget.ui.movingVolumeSelector.setCurrentNode(add_volume(small_head(4.0), "T1 2028"))
    run_to_the_end(widget)
    assert widget.logic.getParameterNode().warpedVolume is warped
    assert warped.GetName() == "T1 2028 warped to T1 2024"
    assert len(nodes_of_scene()) == count + 1
    assert [name for name in nodes_of_scene() if "2026" in name] == ["T1 2026"]


def test_jacobian_is_made_on_request_only(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    assert widget.logic.getParameterNode().jacobianVolume is None
    widget.ui.jacobianCheckBox.checked = True
    run_to_the_end(widget)
    assert "Jacobian determinant T1 2024 to T1 2026" in nodes_of_scene()


def test_segment_only_segments_what_is_selected(widget):
    fixed = add_volume(small_head(), "T1")
    widget.ui.fixedVolumeSelector.setCurrentNode(fixed)
    run_to_the_end(widget, widget.ui.segmentButton)
    assert nodes_of_scene() == {"T1", "T1 segmentation", "T1 structure volumes"}
    assert widget.ui.resultLabel.text == "3 structures · 14.2 s · CPU"
    assert widget.ui.fixedSegmentationSelector.currentNode().GetName() == "T1 segmentation"


def test_apply_transforms_the_checked_nodes(widget):
    choose_volumes(widget)
    assert "Register first" in widget.ui.applyButton.toolTip
    run_to_the_end(widget)
    assert "Check the nodes" in widget.ui.applyButton.toolTip
    widget.ui.applyCollapsibleButton.collapsed = False
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "tips")
    points.AddControlPoint((10.0, 20.0, 30.0))
    widget.ui.applyNodesSelector.setCheckState(points, Qt.CheckState.Checked)
    press(widget.ui.applyButton)
    copy = slicer.util.getNode("tips warped to T1 2024")
    # The transform takes fixed points 5 mm to the left, to the moving ones: RAS +5 on the first axis.
    np.testing.assert_allclose(copy.GetNthControlPointPosition(0), (5.0, 20.0, 30.0), atol=1e-6)
    np.testing.assert_allclose(points.GetNthControlPointPosition(0), (10.0, 20.0, 30.0))
    widget.ui.directionComboBox.currentIndex = 1
    press(widget.ui.applyButton)
    np.testing.assert_allclose(
        slicer.util.getNode("tips warped to T1 2026").GetNthControlPointPosition(0), (15.0, 20.0, 30.0), atol=1e-6
    )
    assert widget.ui.resultLabel.text == "Created: tips warped to T1 2026"


# Going wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["endless", "launched"])
def test_cancel_leaves_no_process_no_file_and_no_node(widget, tmp_path, how):
    use_worker(widget, how)
    choose_volumes(widget)
    before = nodes_of_scene()
    begin(widget)
    pid = worker_of(tmp_path)
    assert is_alive(pid)
    start = time.perf_counter()
    press(widget.ui.registerButton)
    assert widget.ui.registerButton.text in ("Cancelling...", "Register")
    wait_until(lambda: widget.ui.registerButton.text == "Register" and not is_alive(pid))
    assert time.perf_counter() - start < 1.0
    assert widget.ui.statusLabel.text == "Cancelled."
    assert nodes_of_scene() == before
    assert widget.ui.registerButton.enabled
    widget.exit()
    assert list(tmp_path.iterdir()) == []


def test_worker_ends_when_slicer_does_not_get_to_kill_it(tmp_path):
    job_folder = tmp_path / "SLSFGR-1"
    job_folder.mkdir()
    command = [sys.executable, str(FOLDER / "panel_workers.py"), "orphan", str(job_folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    (job_folder / "job").mkdir()
    while b"Deforming" not in process.stdout.readline():
        pass
    process.stdin.close()  # what the end of Slicer does
    process.wait(1)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_the_library_is_shown_in_its_own_words(widget):
    use_worker(widget, "refuse")
    choose_volumes(widget)
    before = nodes_of_scene()
    run_to_the_end(widget)
    assert widget.ui.statusLabel.text.startswith("The moving image: every voxel has the value 0")
    assert nodes_of_scene() == before
    use_worker(widget, "finish")
    run_to_the_end(widget)
    assert "Dice" in widget.ui.resultLabel.text
    assert not widget.ui.statusLabel.visible


def test_a_crash_of_the_library_takes_nothing_else_down(widget):
    use_worker(widget, "crash")
    choose_volumes(widget)
    run_to_the_end(widget)
    assert "ended unexpectedly" in widget.ui.statusLabel.text


def test_python_that_cannot_be_started_is_reported(widget):
    widget.runner.command = ["/no/such/python"]
    choose_volumes(widget)
    run_to_the_end(widget)
    assert widget.ui.statusLabel.text.startswith("Python could not be started")


def test_closing_the_scene_in_the_middle_ends_the_run(widget, tmp_path):
    use_worker(widget, "endless")
    choose_volumes(widget)
    begin(widget)
    pid = worker_of(tmp_path)
    slicer.mrmlScene.Clear(0)
    assert not is_alive(pid)
    assert nodes_of_scene() == set()
    assert widget.ui.registerButton.toolTip == "Select a fixed and a moving volume."
    assert list(tmp_path.iterdir()) == []
    use_worker(widget, "finish")
    choose_volumes(widget)
    run_to_the_end(widget)
    assert "Dice" in widget.ui.resultLabel.text


def test_removing_a_volume_in_the_middle_ends_the_run_and_says_so(widget, tmp_path):
    use_worker(widget, "endless")
    _, moving = choose_volumes(widget)
    begin(widget)
    pid = worker_of(tmp_path)
    slicer.mrmlScene.RemoveNode(moving)
    assert not is_alive(pid)
    assert "was removed" in widget.ui.statusLabel.text
    assert nodes_of_scene() == {"T1 2024"}


@pytest.mark.parametrize("leave", ["cleanup", "onReload"])
def test_reloading_the_module_or_ending_slicer_in_the_middle_ends_the_run(widget, tmp_path, leave, monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))  # a reload forgets the module
    use_worker(widget, "endless")
    choose_volumes(widget)
    begin(widget)
    pid = worker_of(tmp_path)
    getattr(widget, leave)()
    assert not is_alive(pid)
    assert list(tmp_path.iterdir()) == []


def test_leaving_the_panel_lets_the_run_go_on_but_no_idle_process_stand_by(widget, tmp_path):
    choose_volumes(widget)
    begin(widget)
    widget.exit()
    wait_until(lambda: widget.logic.getParameterNode().warpedVolume is not None)
    assert list(tmp_path.iterdir()) == []
    widget.enter()
    assert "Dice" in widget.ui.resultLabel.text


def test_results_that_cannot_be_published_leave_no_node_and_a_panel_that_works(widget, monkeypatch):
    choose_volumes(widget)
    before = nodes_of_scene()
    monkeypatch.setattr(
        "SLSFGRLib.io.label_table.read_label_table", lambda: read_label_table()[:1]
    )  # another version's
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    assert nodes_of_scene() == before
    assert widget.ui.registerButton.enabled


# Nodes of the user ---------------------------------------------------------------------------------------------------

OUTPUTS = ("warpedVolume", "transform", "inverseTransform", "fixedSegmentation", "movingSegmentation")


def add_nodes_of_the_user():
    """One node of each class that an output can be, with something in it that must not change."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "my planning")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(affine_matrix(shift=(1.0, 2.0, 3.0))))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "my tumour")
    segmentation.GetSegmentation().AddEmptySegment("tumour", "tumour")
    return add_volume(small_head(spacing=6.0), "my T2"), transform, segmentation


def assert_unchanged(volume, transform, segmentation):
    assert volume.GetName() == "my T2"
    assert volume.GetSpacing() == (6.0, 6.0, 6.0)
    assert transform.GetName() == "my planning"
    assert transform.GetTransformToParent().TransformPoint((0.0, 0.0, 0.0)) == (1.0, 2.0, 3.0)
    assert segmentation.GetName() == "my tumour"
    assert list(segmentation.GetSegmentation().GetSegmentIDs()) == ["tumour"]


def delete_in_selector(widget, name):
    getattr(widget.ui, f"{name}Selector")._object.removeCurrentNode()


def delete_by_script(widget, name):
    slicer.mrmlScene.RemoveNode(getattr(widget.logic.getParameterNode(), name))


def hide(widget, name):
    getattr(widget.logic.getParameterNode(), name).HideFromEditorsOn()


@pytest.mark.parametrize("lose", [delete_in_selector, delete_by_script, hide])
def test_an_output_that_is_lost_never_gives_way_to_a_node_of_the_user(widget, lose):
    choose_volumes(widget)
    users = add_nodes_of_the_user()
    run_to_the_end(widget)
    for name in OUTPUTS:
        lose(widget, name)
        assert getattr(widget.logic.getParameterNode(), name) is None, name
        assert getattr(widget.ui, f"{name}Selector").currentNode() is None, name
    run_to_the_end(widget)
    assert "Dice" in widget.ui.resultLabel.text
    assert_unchanged(*users)
    for name in OUTPUTS:
        assert getattr(widget.logic.getParameterNode(), name) not in users


def test_an_output_that_is_deleted_while_it_is_computed_is_created_again(widget):
    choose_volumes(widget)
    users = add_nodes_of_the_user()
    run_to_the_end(widget)
    begin(widget)
    delete_by_script(widget, "warpedVolume")
    delete_by_script(widget, "fixedSegmentation")
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    assert_unchanged(*users)
    assert {"T1 2026 warped to T1 2024", "T1 2024 segmentation"} <= nodes_of_scene()
    assert slicer.mrmlScene.IsNodePresent(widget.logic.getParameterNode().warpedVolume)


def test_an_input_that_is_deleted_leaves_its_selector_empty(widget):
    add_nodes_of_the_user()
    fixed, moving = choose_volumes(widget)
    start = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "by hand")
    widget.ui.initialTransformSelector.setCurrentNode(start)
    for node in (start, moving, fixed):
        slicer.mrmlScene.RemoveNode(node)
    chosen = widget.logic.getParameterNode()
    assert (chosen.fixedVolume, chosen.movingVolume, chosen.initialTransform) == (None, None, None)
    assert widget.ui.registerButton.toolTip == "Select a fixed and a moving volume."


def test_a_node_that_is_needed_as_it_is_cannot_be_an_output(widget):
    _, moving = choose_volumes(widget)
    for name in ("by hand", "head rest"):
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    start, parent = map(slicer.util.getNode, ("by hand", "head rest"))
    widget.ui.initialTransformSelector.setCurrentNode(start)
    moving.SetAndObserveTransformNodeID(parent.GetID())
    for needed in (start, parent):
        widget.ui.transformSelector.setCurrentNode(needed)
        assert not widget.ui.registerButton.enabled
        assert widget.ui.statusLabel.text.startswith(f"{needed.GetName()} would be overwritten.")
    widget.ui.transformSelector.setCurrentNode(None)
    assert widget.ui.registerButton.enabled


@pytest.fixture
def earlier_scene(tmp_path_factory):
    """A scene on disk whose inputs and outputs are chosen; in it, nodes have the IDs of others in the next scene."""
    widget = open_panel()
    choose_volumes(widget)
    run_to_the_end(widget)
    for name in ("fixedVolume", "movingVolume", "warpedVolume"):
        node = getattr(widget.logic.getParameterNode(), name)
        node.SetName(f"earlier {node.GetName()}")
    path = tmp_path_factory.mktemp("scene") / "scene.mrml"
    widget.cleanup()
    assert slicer.mrmlScene.Commit(str(path))
    slicer_module.new_scene()
    return path


def test_a_scene_that_is_added_while_the_panel_is_open_brings_its_choices(scene, earlier_scene):
    widget = open_panel()
    try:
        add_nodes_of_the_user()
        slicer.mrmlScene.SetURL(str(earlier_scene))
        slicer.mrmlScene.Import()
        assert widget.ui.fixedVolumeSelector.currentNode().GetName() == "earlier T1 2024"
        assert widget.ui.movingVolumeSelector.currentNode().GetName() == "earlier T1 2026"
        assert widget.ui.warpedVolumeSelector.currentNode().GetName() == "earlier T1 2026 warped to T1 2024"
    finally:
        widget.cleanup()


def test_a_scene_that_is_added_during_a_run_keeps_its_outputs(scene, earlier_scene):
    widget = open_panel()
    try:
        choose_volumes(widget)
        users = add_nodes_of_the_user()
        begin(widget)
        slicer.mrmlScene.SetURL(str(earlier_scene))
        slicer.mrmlScene.Import()
        earlier = widget.logic.getParameterNode().transform
        before = earlier.GetMTime()
        wait_until(lambda: widget.ui.registerButton.text == "Register")
        assert "Dice" in widget.ui.resultLabel.text
        assert widget.logic.getParameterNode().transform is not earlier
        assert earlier.GetMTime() == before
        assert_unchanged(*users)
    finally:
        widget.cleanup()


def test_a_volume_named_as_the_checkerboard_is_left_alone(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    own = add_volume(small_head(), "SLSFGR checkerboard")
    widget.ui.checkerboardCheckBox.checked = True
    widget.ui.checkerboardCheckBox.checked = False
    assert slicer.mrmlScene.IsNodePresent(own)


def test_apply_can_be_pressed_only_while_a_checked_node_is_there(widget):
    choose_volumes(widget)
    run_to_the_end(widget)
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "tips")
    widget.ui.applyNodesSelector.setCheckState(points, Qt.CheckState.Checked)
    assert widget.ui.applyButton.enabled
    slicer.mrmlScene.RemoveNode(points)
    assert not widget.ui.applyButton.enabled


# PyTorch ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_torch(installer):
    installer.installed = False
    return installer


def test_torch_is_offered_once_and_only_when_register_is_pressed(without_torch, widget):
    choose_volumes(widget)
    assert without_torch.asked == 0
    run_to_the_end(widget)
    assert without_torch.asked == 1
    assert "Dice" in widget.ui.resultLabel.text
    run_to_the_end(widget)
    assert without_torch.asked == 1


def test_a_user_who_declines_torch_can_press_register_again(without_torch, widget):
    without_torch.agrees = False
    choose_volumes(widget)
    press(widget.ui.registerButton)
    assert widget.ui.registerButton.text == "Register"
    assert widget.ui.registerButton.enabled
    assert widget.ui.statusLabel.text == "PyTorch is missing."


def test_without_the_pytorch_extension_nothing_is_installed(without_torch, widget):
    without_torch.extension = False
    choose_volumes(widget)
    press(widget.ui.registerButton)
    assert widget.ui.statusLabel.text == "PyTorch is missing."
    assert without_torch.asked == 0


def test_nothing_can_be_pressed_during_the_installation_which_takes_minutes(without_torch, widget):
    def press_again():
        press(widget.ui.registerButton)
        press(widget.ui.segmentButton)
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
        slicer.mrmlScene.RemoveNode(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLModelNode"))
        press(widget.ui.registerButton)
        assert widget.ui.statusLabel.text == "Installing PyTorch. This takes some minutes."

    without_torch.while_installing = press_again
    choose_volumes(widget)
    run_to_the_end(widget)
    assert without_torch.asked == 1
    assert len(widget.runner.jobs) == 1
    assert "Dice" in widget.ui.resultLabel.text


def test_closing_the_scene_during_the_installation_starts_nothing(without_torch, widget):
    without_torch.while_installing = lambda: slicer.mrmlScene.Clear(0)
    choose_volumes(widget)
    press(widget.ui.registerButton)
    assert widget.runner.jobs == []
    assert widget.ui.registerButton.toolTip == "Select a fixed and a moving volume."
