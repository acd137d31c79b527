"""A job in a child process, seen from its parent, without Qt or Slicer."""

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import empty_image, head_image

from SLSFGRLib.jobs.job import SegmentationJob
from SLSFGRLib.jobs.process import JobProcess, JobRunner

WORKERS = str(Path(__file__).resolve().parents[1] / "slicer_extension" / "panel_workers.py")


class Listener:
    """Records the calls of a process."""

    def __init__(self):
        self.steps, self.log, self.ends = [], [], []

    def start(self, process, job):
        process.start(job, lambda *step: self.steps.append(step), self.log.append, lambda *end: self.ends.append(end))

    def wait_for(self, process, condition, seconds=60):
        end = time.perf_counter() + seconds
        while not condition():
            assert time.perf_counter() < end, "the condition did not occur"
            process.poll()
            time.sleep(0.01)


@pytest.fixture
def job():
    return SegmentationJob(head_image(empty_image((24, 28, 26), spacing=(7.0,) * 3, centre=(3, -4, 5)))[0])


def process_that(folder, how):
    return JobProcess(folder, [sys.executable, WORKERS, how])


def test_a_job_reports_its_progress_and_log_and_ends_once_with_the_result(tmp_path, job):
    process, listener = process_that(tmp_path, "finish"), Listener()
    listener.start(process, job)
    listener.wait_for(process, lambda: listener.ends)
    assert listener.steps == [(0.42, "Deforming")]
    assert "a warning of some library" in "".join(listener.log)
    ((result, problem),) = listener.ends
    assert problem == ""
    assert set(np.unique(sitk.GetArrayFromImage(result.fixed_labels))) == {0, 2, 17, 53}
    assert process.is_alive()  # and waits for another job
    process.discard()
    assert not process.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_lines_that_are_no_messages_are_ignored(tmp_path, job):
    program = tmp_path / "noisy.py"
    program.write_text(
        "import os, runpy, sys; os.write(1, b'sitecustomize says hello\\n42\\n'); sys.argv = sys.argv[1:]\n"
        "sys.path.insert(0, os.path.dirname(sys.argv[0])); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    process, listener = JobProcess(tmp_path, [sys.executable, str(program), WORKERS, "finish"]), Listener()
    listener.start(process, job)
    listener.wait_for(process, lambda: listener.ends)
    assert listener.steps == [(0.42, "Deforming")]
    assert listener.ends[0][1] == ""


def test_a_folder_that_a_killed_process_still_holds_is_removed_when_it_lets_go(tmp_path, job, monkeypatch):
    tries = []

    def remove(folder, ignore_errors):  # as on Windows
        tries.append(folder)
        if len(tries) > 2:
            remove_now(folder)

    remove_now = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)
    process, listener = process_that(tmp_path, "endless"), Listener()
    listener.start(process, job)
    process.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_reported_in_the_words_of_the_worker(tmp_path, job):
    process, listener = process_that(tmp_path, "refuse"), Listener()
    listener.start(process, job)
    listener.wait_for(process, lambda: listener.ends)
    ((result, problem),) = listener.ends
    assert result is None
    assert problem.startswith("the moving image: every voxel has the value 0")


def test_a_cancelled_job_ends_within_a_second_with_no_problem_and_no_file(tmp_path, job):
    process, listener = process_that(tmp_path, "endless"), Listener()
    listener.start(process, job)
    listener.wait_for(process, lambda: listener.steps)
    begin = time.perf_counter()
    process.cancel()
    listener.wait_for(process, lambda: listener.ends)
    assert time.perf_counter() - begin < 1.0
    assert listener.ends == [(None, "")]
    assert not process.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_a_large_job_is_written_in_many_short_calls_and_can_be_cancelled_between_them(tmp_path, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.jobs.process.STEP_SECONDS", 0.0)
    process, listener = process_that(tmp_path, "endless"), Listener()
    listener.start(process, SegmentationJob(sitk.Image((256, 256, 256), sitk.sitkUInt8)))
    (folder,) = tmp_path.iterdir()
    for _call in range(2):
        process.poll()
        assert (folder / "unfinished").exists()
    process.cancel()
    listener.wait_for(process, lambda: listener.ends)
    assert listener.ends == [(None, "")]
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_cannot_be_written_is_reported_and_leaves_no_process(tmp_path, job):
    process, listener = process_that(tmp_path, "finish"), Listener()
    listener.start(process, job)
    (folder,) = tmp_path.iterdir()
    shutil.rmtree(folder / "unfinished")  # as a cleaner of temporary folders does
    listener.wait_for(process, lambda: listener.ends)
    assert listener.ends == [(None, f"The volumes could not be written to {tmp_path}: No such file or directory.")]
    assert not process.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_program_is_reported(tmp_path, job):
    process, listener = JobProcess(tmp_path, ["/no/such/python"]), Listener()
    assert not process.is_alive()
    listener.start(process, job)
    process.poll()
    assert listener.ends[0][0] is None
    assert listener.ends[0][1].startswith("Python could not be started")
    assert list(tmp_path.iterdir()) == []


# One job after the other --------------------------------------------------------------------------------------------


def runner_that(folder, how):
    return JobRunner(folder, [sys.executable, WORKERS, how])


def standing_by(folder):
    """The folders of processes that wait for a job or do one."""
    return {path.name for path in folder.glob("SLSFGR-*")}


def test_the_process_that_stands_by_does_the_next_job(tmp_path, job):
    runner, listener = runner_that(tmp_path, "finish"), Listener()
    runner.stand_by(True)
    waiting = standing_by(tmp_path)
    assert len(waiting) == 1
    runner.stand_by(True)
    assert standing_by(tmp_path) == waiting
    listener.start(runner, job)
    assert runner.is_running
    assert standing_by(tmp_path) == waiting
    listener.wait_for(runner, lambda: listener.ends)
    assert not runner.is_running
    assert listener.ends[0][0] is not None
    assert standing_by(tmp_path) == waiting  # for a job of the same fixed image
    runner.release()
    assert standing_by(tmp_path) == set()


def test_a_runner_starts_a_process_where_none_stands_by_and_does_several_jobs(tmp_path, job):
    runner, listener = runner_that(tmp_path, "finish"), Listener()
    for count in (1, 2):
        listener.start(runner, job)
        listener.wait_for(runner, lambda count=count: len(listener.ends) == count)
    assert [problem for _result, problem in listener.ends] == ["", ""]
    runner.poll()
    runner.cancel()
    assert len(listener.ends) == 2
    assert len(standing_by(tmp_path)) == 1
    runner.release()
    assert standing_by(tmp_path) == set()


def test_jobs_that_follow_each_other_are_done_by_the_same_process_until_it_is_released(tmp_path, job):
    runner, listener = runner_that(tmp_path, "finish"), Listener()
    folders = []

    def on_end(*end):
        listener.ends.append(end)
        folders.append(standing_by(tmp_path))
        if len(listener.ends) < 3:
            runner.start(job, lambda *step: None, listener.log.append, on_end)

    runner.start(job, lambda *step: None, listener.log.append, on_end)
    listener.wait_for(runner, lambda: len(listener.ends) == 3)
    assert [problem for _result, problem in listener.ends] == ["", "", ""]
    assert folders == [folders[0]] * 3
    assert len(folders[0]) == 1
    runner.release()
    assert standing_by(tmp_path) == set()


def test_a_process_that_refused_a_job_does_the_next(tmp_path, job):
    runner, listener = runner_that(tmp_path, "refuse_first"), Listener()

    def on_end(*end):
        listener.ends.append(end)
        if len(listener.ends) == 1:
            runner.start(job, lambda *step: None, listener.log.append, on_end)

    runner.start(job, lambda *step: None, listener.log.append, on_end)
    listener.wait_for(runner, lambda: len(listener.ends) == 2)
    assert listener.ends[0][1].startswith("the moving image")
    assert listener.ends[1][0] is not None
    runner.release()


def test_a_process_that_is_not_needed_any_more_ends(tmp_path):
    runner = runner_that(tmp_path, "endless")
    runner.stand_by(True)
    runner.stand_by(False)
    assert standing_by(tmp_path) == set()


def test_the_end_of_a_cancelled_run_is_reported_and_that_of_a_discarded_one_is_not(tmp_path, job):
    runner, listener = runner_that(tmp_path, "endless"), Listener()
    listener.start(runner, job)
    listener.wait_for(runner, lambda: listener.steps)
    runner.cancel()
    listener.wait_for(runner, lambda: listener.ends)
    assert listener.ends == [(None, "")]
    listener.start(runner, job)
    runner.discard()
    assert not runner.is_running
    assert listener.ends == [(None, "")]
    assert standing_by(tmp_path) == set()


def test_a_job_that_cannot_be_handed_over_leaves_no_process(tmp_path, job):
    runner, listener = runner_that(tmp_path, "endless"), Listener()
    with pytest.raises(TypeError):
        listener.start(runner, SegmentationJob(fixed=object()))
    assert not runner.is_running
    assert standing_by(tmp_path) == set()
    listener.start(runner, job)
    assert runner.is_running
    runner.discard()


def test_without_a_temporary_folder_no_process_stands_by_and_a_job_says_why(tmp_path, job):
    runner, listener = runner_that(tmp_path / "missing", "finish"), Listener()
    runner.stand_by(True)
    with pytest.raises(FileNotFoundError):
        listener.start(runner, job)
    assert not runner.is_running
