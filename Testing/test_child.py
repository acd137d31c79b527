"""A job in a process of its own, as whoever starts it sees it: no Qt and no Slicer."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import empty_image, head_image

from SLSFGRLib.child import JobProcess
from SLSFGRLib.jobs import SegmentationJob

WORKERS = str(Path(__file__).with_name("panel_workers.py"))


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.steps, self.log, self.ends = [], [], []

    def start(self, process, job):
        process.start(job, lambda *step: self.steps.append(step), self.log.append, lambda *end: self.ends.append(end))

    def wait_for(self, process, told, seconds=60):
        end = time.perf_counter() + seconds
        while not told():
            assert time.perf_counter() < end, "waited in vain"
            process.poll()
            time.sleep(0.01)


@pytest.fixture
def job():
    return SegmentationJob(head_image(empty_image((24, 28, 26), spacing=(7.0,) * 3, centre=(3, -4, 5)))[0])


def process_that(folder, how):
    return JobProcess(folder, [sys.executable, WORKERS, how])


def test_a_job_tells_its_progress_and_log_and_ends_once_with_the_result(tmp_path, job):
    process, listener = process_that(tmp_path, "finish"), Listener()
    listener.start(process, job)
    listener.wait_for(process, lambda: listener.ends)
    assert listener.steps == [(0.42, "Deforming")]
    assert "a warning of some library" in "".join(listener.log)
    ((result, problem),) = listener.ends
    assert problem == ""
    assert set(np.unique(sitk.GetArrayFromImage(result.fixed_labels))) == {0, 2, 17, 53}
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_told_in_the_words_of_the_worker(tmp_path, job):
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


def test_an_abandoned_process_is_gone_and_tells_nobody(tmp_path, job):
    process, listener = process_that(tmp_path, "endless"), Listener()
    listener.start(process, job)
    process.abandon()
    assert not process.is_alive()
    assert listener.ends == []
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there_is_told(tmp_path, job):
    process, listener = JobProcess(tmp_path, ["/no/such/python"]), Listener()
    assert not process.is_alive()
    listener.start(process, job)
    process.poll()
    assert listener.ends[0][0] is None
    assert listener.ends[0][1].startswith("Python could not be started")
    assert list(tmp_path.iterdir()) == []
