"""Runs that are cancelled or fail: no process, file or node is left, and the panel can be used again."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from panel import (
    begin,
    choose_volumes,
    is_alive,
    nodes_of_scene,
    press,
    run_to_the_end,
    small_head,
    use_worker,
    wait_until,
    worker_of,
)

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs.job import SegmentationJob, save_job

WORKERS = str(Path(__file__).with_name("panel_workers.py"))


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


def test_cancel_before_the_volumes_are_copied_starts_no_job(widget, tmp_path):
    choose_volumes(widget)
    before = nodes_of_scene()
    press(widget.ui.registerButton)
    press(widget.ui.registerButton)
    wait_until(lambda: widget.ui.registerButton.text == "Register")
    assert widget.ui.statusLabel.text == "Cancelled."
    assert (widget.runner.jobs, nodes_of_scene()) == ([], before)
    widget.exit()
    assert list(tmp_path.iterdir()) == []


def test_worker_ends_when_slicer_does_not_get_to_kill_it(tmp_path):
    job_folder = tmp_path / "SLSFGR-1"
    job_folder.mkdir()
    command = [sys.executable, WORKERS, "endless", str(job_folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    save_job(SegmentationJob(small_head()), job_folder / "unfinished")
    (job_folder / "unfinished").rename(job_folder / "job")
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
    folder = next(tmp_path.glob("SLSFGR-*"))
    getattr(widget, leave)()
    assert not is_alive(pid)
    assert not folder.exists()
    if leave == "onReload":
        widget.parent.reloaded.cleanup()
    assert list(tmp_path.iterdir()) == []


def test_leaving_the_panel_keeps_the_run_but_no_standby_process(widget, tmp_path):
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
    assert slicer.app.dialogs[-1].startswith("The results could not be put into the scene.")
