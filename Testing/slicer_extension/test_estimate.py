"""What the panel says about a run before it starts."""

import re

import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from nodes import add_volume
from panel import choose_volumes, press, small_head, wait_until
from PySide6.QtCore import Qt
from stand_ins import slicer_module

estimate = slicer_module.load("SLSFGRModule.estimate")
Pair = slicer_module.load("SLSFGRModule.run").Pair


def free_memory(monkeypatch, count):
    monkeypatch.setattr("SLSFGRLib.runtime.memory.available_memory", lambda: count)
    estimate._freeMemory.cache_clear()


@pytest.fixture
def brains(scene, monkeypatch):
    """Two volumes as large as a brain at 1 mm, on a computer as fast as that of the estimates."""
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 2)
    free_memory(monkeypatch, 12_000_000_000)
    volumes = [add_volume(small_head(), name) for name in ("T1", "T2")]
    for volume in volumes:
        size = volume.GetImageData().GetDimensions()
        volume.SetSpacing(*(side / count for side, count in zip((160.0, 200.0, 166.0), size, strict=True)))
    return Pair(*volumes)


@pytest.mark.parametrize(
    ("transform", "mode", "text"),
    [
        ("rigid", "standard", "About 3 s, 1.4 GB of memory (12.0 GB are free)."),
        ("deformable", "standard", "About 17 s, 2.5 GB of memory (12.0 GB are free)."),
        ("deformable", "fast", "About 6 s, 1.6 GB of memory (12.0 GB are free)."),
        ("auto", "standard", "About 3 s to 17 s, 2.5 GB of memory (12.0 GB are free)."),
    ],
)
def test_time_and_memory_are_told_in_words(brains, transform, mode, text):
    assert estimate.estimateText([brains], transform, mode) == text


def test_several_volumes_take_longer_but_no_more_memory(brains):
    text = estimate.estimateText([brains] * 5, "deformable", "standard")
    assert text == "About 90 s, 2.5 GB of memory (12.0 GB are free)."
    assert estimate.estimateText([brains] * 20, "deformable", "standard").startswith("About 6 min")


def test_a_computer_without_enough_memory_is_named(brains, monkeypatch):
    free_memory(monkeypatch, 2_000_000_000)
    text = estimate.estimateText([brains], "deformable", "standard")
    assert text.endswith("(2.0 GB are free). Close other programs for a more exact result.")
    free_memory(monkeypatch, None)
    assert estimate.estimateText([brains], "deformable", "standard") == "About 17 s, 2.5 GB of memory."


def test_the_next_estimate_knows_how_fast_this_computer_was(brains):
    report = {"transform": "deformable", "mode": "standard", "seconds": {"total": 4.3}}
    estimate.learnFrom(report, brains)
    assert estimate.estimateText([brains], "deformable", "standard").startswith("About 4 s")
    assert estimate.estimateText([brains], "rigid", "standard").startswith("About 1 s")
    slicer.app.settings[estimate.SETTING] = "0.5"  # as settings are read from a file
    assert estimate.estimateText([brains], "deformable", "standard").startswith("About 9 s")


def test_the_panel_shows_the_estimate_until_it_runs(widget):
    label = widget.ui.estimateLabel
    assert label.text == ""
    choose_volumes(widget)
    one = label.text
    assert re.match(r"About .+ GB of memory \(", one)
    widget.ui.transformTypeComboBox.currentIndex = 1
    assert label.text != one
    widget.ui.moreVolumesSelector.setCheckState(add_volume(small_head(), "T3"), Qt.CheckState.Checked)
    press(widget.ui.registerButton)
    assert not label.visible
    wait_until(lambda: widget.ui.registerButton.text.startswith("Register"))
    assert label.visible
