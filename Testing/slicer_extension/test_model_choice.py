"""The choice of a model in the panel."""

import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from panel import (
    choose_half_heads,
    choose_volumes,
    nodes_of_scene,
    run_to_the_end,
    use_worker,
)
from stand_ins.qmrml_widgets import ctkPathLineEdit

from SLSFGRLib.models.model import Model, ModelSettings


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
def test_the_model_is_what_the_line_shows_also_where_ctk_sends_no_signal(widget, typed):
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
    choose_half_heads(widget)
    use_worker(widget, "registers_only")
    widget.ui.modeComboBox.currentIndex = 0
    widget.ui.modelPathLineEdit.currentPath = str(path)
    run_to_the_end(widget)
    assert "folding 0 %" in widget.ui.resultLabel.text, widget.ui.statusLabel.text
    models = widget.logic.getParameterNode().transform.GetAttribute("SLSFGR.Model")
    assert models == "multimodal (registration)"


@pytest.mark.slow
def test_a_file_that_is_no_model_is_refused_in_one_sentence(widget, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "holiday.pt"
    path.write_text("no model")
    choose_half_heads(widget)
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
