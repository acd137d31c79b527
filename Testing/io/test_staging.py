"""Results appear complete or not at all, and nothing stays behind."""

import os
import platform
import subprocess
import sys

import pytest

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.staging import staged_file, staged_folder


def leftover(folder, process, machine=None):
    """What a run killed in the middle leaves in a folder."""
    path = folder / f".slsfgr-{machine or platform.node()}-{process}-ab_12xyz"
    path.mkdir(parents=True)
    (path / "warped.nii.gz").write_bytes(b"half")
    return path


@pytest.fixture
def ended_process():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_run_left_is_removed_by_the_next_run(tmp_path, ended_process):
    dead = leftover(tmp_path, ended_process)
    with staged_folder(tmp_path) as folder:
        (folder / "result.txt").write_text("whole")
    assert not dead.exists()
    dead = leftover(tmp_path, ended_process)
    with staged_file(tmp_path / "file.txt") as path:
        path.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"result.txt", "file.txt"}


def test_what_a_running_process_or_another_machine_owns_stays(tmp_path, ended_process):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        owned = [
            leftover(tmp_path, os.getpid()),
            leftover(tmp_path, running.pid),
            leftover(tmp_path, ended_process, machine="another-node"),
        ]
        unrelated = tmp_path / ".slsfgr-notes"
        unrelated.mkdir()
        with staged_folder(tmp_path) as folder:
            (folder / "result.txt").touch()
        running.communicate(b"\n")
    assert all((path / "warped.nii.gz").exists() for path in owned)
    assert unrelated.exists()


def test_a_killed_process_leaves_a_folder_that_the_next_run_removes(tmp_path):
    program = (
        "import os, pathlib, sys; from SLSFGRLib.io.staging import staged_folder\n"
        "with staged_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with staged_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_written_beside_a_file_are_moved_with_it(tmp_path):
    with staged_file(tmp_path / "image.mhd") as path:
        path.write_text("header")
        path.with_suffix(".raw").write_text("voxels")
    assert {path.name for path in tmp_path.iterdir()} == {"image.mhd", "image.raw"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError, RuntimeError])
def test_an_error_leaves_what_was_there(tmp_path, error):
    (tmp_path / "old.txt").write_text("old")

    def write_half_a_folder():
        with staged_folder(tmp_path / "new" / "folder") as folder:
            (folder / "half").touch()
            raise error

    def write_half_a_file():
        with staged_file(tmp_path / "old.txt") as path:
            path.write_text("half")
            raise error

    for write in (write_half_a_folder, write_half_a_file):
        with pytest.raises(error):
            write()
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"
