"""Batches: every case once, none stopped by another, continued where they were stopped."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from batch_work import QuickLibrary, die_on_three, slowly
from phantoms import head_image

from SLSFGRLib.cli import main
from SLSFGRLib.errors import Cancelled
from SLSFGRLib.jobs.batch import register_folder, run_batch
from SLSFGRLib.jobs.cases import REGISTER, cases_of_folder, cases_of_table
from SLSFGRLib.jobs.cluster import cluster_client, do_on_workers, local_client
from SLSFGRLib.report import results

COMMAND = (sys.executable, "-m", "SLSFGRLib")
# No affine registration, which takes long on phantoms.
QUICK = ("--mode", "fast", "--no-affine")
GOOD = ("one", "three", "two")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A fixed image, and a folder with three good images and one that is none."""
    folder = tmp_path_factory.mktemp("cohort")
    image = sitk.BinShrink(head_image()[0], [3, 3, 3])
    sitk.WriteImage(image, str(folder / "fixed.nii.gz"))
    (folder / "scans").mkdir()
    for number, name in enumerate(GOOD):
        moved = sitk.Resample(image, image, sitk.TranslationTransform(3, (0.0, 2.0 + number, 0.0)))
        sitk.WriteImage(moved, str(folder / "scans" / f"{name}.nii.gz"))
    whole = (folder / "fixed.nii.gz").read_bytes()
    (folder / "scans" / "corrupt.nii.gz").write_bytes(whole[: len(whole) // 2])
    return folder


def batch(*arguments):
    return ["batch", *map(str, arguments), *QUICK]


@pytest.fixture
def without_pictures(monkeypatch):
    """The reports show no pictures, which take half a second a case."""
    monkeypatch.setattr(results, "pictures_module", lambda: None)


def written(output):
    """When the results of each case were written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in output.glob("*/transform.h5")}


def table(output):
    with (output / "results.csv").open(encoding="utf-8", newline="") as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def in_process(scans, output, library, **settings):
    fixed = sitk.ReadImage(str(scans / "fixed.nii.gz"))
    return register_folder(fixed, scans / "scans", output, library=library, **settings)


def test_a_bad_case_stops_no_other_and_is_reported(scans, tmp_path):
    corrupt, *good = in_process(scans, tmp_path, QuickLibrary(), mode="fast")
    assert "corrupt.nii.gz: is incomplete or damaged" in corrupt.problem
    assert [case.path.name for case in good] == [f"{name}.nii.gz" for name in GOOD]
    rows = table(tmp_path)
    assert {name: row["status"] for name, row in rows.items()} == {"corrupt": "failed"} | dict.fromkeys(GOOD, "done")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    # The failed one first, then by similarity.
    order = sorted(GOOD, key=lambda name: float(rows[name]["similarity_after"]))
    places = [page.index(f">{name}</") for name in ("corrupt", *order)]
    assert places == sorted(places)
    assert 'src="one/thumbnail.jpg"' in page


def test_a_second_run_repeats_nothing_unless_something_changed(scans, tmp_path, without_pictures):
    fixed = sitk.ReadImage(str(scans / "fixed.nii.gz"))
    library, said = QuickLibrary(), []

    def run(**settings):
        before = len(library.calls)
        cases = cases_of_folder(scans / "scans", REGISTER, settings, fixed)
        run_batch(cases, tmp_path, say=said.append, library=library)
        return len(library.calls) - before

    assert run(mode="fast") == 3
    assert run(mode="fast") == 0
    assert said[-1] == "3 of 4 cases are done already and are kept."
    assert run(mode="standard") == 3
    assert said[-1] == "3 of 4 cases are done again: its settings changed (3)."
    (tmp_path / "one" / "transform.h5").unlink()
    assert run(mode="standard") == 1
    os.utime(scans / "scans" / "two.nii.gz", (1e9, 1e9))
    assert run(mode="standard") == 1
    assert "its inputs changed (1)" in said[-1]
    record = tmp_path / "two" / "case.json"
    record.write_text(record.read_text().replace('"version": "', '"version": "0.'))
    assert run(mode="standard") == 1
    fixed += 1
    assert run(mode="standard") == 3
    assert run(mode="standard") == 0


def test_an_unforeseen_error_or_a_full_disk_is_the_case_s_own(scans, tmp_path, monkeypatch):
    class Broken(QuickLibrary):
        def register(self, *images, **options):
            if len(self.calls) == 1:
                self.calls.append(None)
                raise RuntimeError("ITK ERROR: something\nodd")
            if len(self.calls) == 2:
                self.calls.append(None)
                raise OSError(28, "No space left on device", str(tmp_path / "two"))
            return super().register(*images, **options)

    _, one, three, two = in_process(scans, tmp_path, Broken())
    assert not one.problem
    assert three.problem == "RuntimeError: ITK ERROR: something odd; please report this."
    assert "No space left on device" in two.problem
    assert {path.name for path in tmp_path.iterdir()} == {"one", "results.csv", "index.html"}


def test_the_user_can_stop_a_batch(scans, tmp_path, without_pictures):
    def stop(fraction, _message):
        if fraction > 0.5:
            raise Cancelled

    fixed, library = sitk.ReadImage(str(scans / "fixed.nii.gz")), QuickLibrary()
    with pytest.raises(Cancelled):
        register_folder(fixed, scans / "scans", tmp_path, stop, library)
    assert written(tmp_path).keys() == {"one"}
    register_folder(fixed, scans / "scans", tmp_path, None, library)
    # The second was stopped in its middle, and is the only one that was begun twice.
    assert len(library.calls) == 4


def test_all_settings_and_files_reach_the_registration(scans, tmp_path):
    (tmp_path / "cases.csv").write_text(
        "fixed,moving,moving_labels,fixed_lesion,no_affine,transform,jacobian\n"
        f"{scans}/fixed.nii.gz,{scans}/scans/one.nii.gz,labels.nii.gz,labels.nii.gz,yes,deformable,yes\n"
    )
    image = sitk.ReadImage(str(scans / "fixed.nii.gz"))
    sitk.WriteImage(sitk.Cast(image > 100, sitk.sitkUInt8), str(tmp_path / "labels.nii.gz"))
    library = QuickLibrary()
    (row,) = run_batch(cases_of_table(tmp_path / "cases.csv", REGISTER, {}), tmp_path / "out", library=library)
    assert row["status"] == "done", row["problem"]
    (call,) = library.calls
    assert (call["affine"], call["transform"]) == (False, "deformable")
    assert call["moving_labels"].GetPixelID() == sitk.sitkInt32
    assert sitk.GetArrayViewFromImage(call["fixed_lesion"]).max() == 1
    assert (tmp_path / "out" / "one" / "jacobian.nii.gz").is_file()


@pytest.mark.slow
def test_command_with_a_worker_of_its_own(scans, tmp_path, capsys):
    for name in ("corrupt", "two"):
        shutil.copy(scans / "scans" / f"{name}.nii.gz", tmp_path)
    (tmp_path / "cases.csv").write_text("moving\ncorrupt.nii.gz\ntwo.nii.gz\n")
    output = tmp_path / "out"
    arguments = (tmp_path / "cases.csv", "--fixed", scans / "fixed.nii.gz", "--output", output, "--workers", 1)
    # In a process, since its worker loads the same main module once more.
    run = subprocess.run([*COMMAND, *batch(*arguments)], capture_output=True, encoding="utf-8", timeout=200)
    assert run.returncode == 2
    assert "Dask's dashboard: http://127.0.0.1:" in run.stderr
    assert "1 of 2 cases failed, the others are done; the first is corrupt:" in run.stderr
    assert run.stdout.split() == [str(output / "results.csv"), str(output / "index.html")]
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "two" / "warped.nii.gz"))).astype(float)
    fixed = sitk.GetArrayFromImage(sitk.ReadImage(str(scans / "fixed.nii.gz")))
    assert np.corrcoef(warped.ravel(), fixed.ravel())[0, 1] > 0.99
    first = written(output)
    assert main(batch(*arguments[:-2])) == 2
    assert "1 of 2 cases are done already" in capsys.readouterr().err
    assert written(output) == first


@pytest.fixture
def dask_cluster(tmp_path):
    """A scheduler and two workers as processes of their own; gives the address and the processes."""
    root = Path(__file__).resolve().parents[2]
    # They import `batch_work`, too.
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'Testing'}"}
    file = tmp_path / "scheduler.json"

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments], env=environment, cwd=tmp_path, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file)]
    while not file.exists() or not file.read_text():
        time.sleep(0.1)
    address = json.loads(file.read_text())["address"]
    processes += [start("worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny") for _ in range(2)]
    yield address, processes
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_killed_worker_and_a_corrupt_case_on_a_dask_cluster_and_resuming(scans, tmp_path, dask_cluster):
    address, (_, victim, _) = dask_cluster
    output = tmp_path / "out"
    cases = cases_of_folder(scans / "scans", REGISTER, {"mode": "fast"}, scans / "fixed.nii.gz")

    def kill_one_at_work():
        while len(list(output.glob("*.begun"))) < 2:
            time.sleep(0.01)
        victim.kill()

    with cluster_client(address) as client:
        client.wait_for_workers(2, timeout=60)
        threading.Thread(target=kill_one_at_work, daemon=True).start()
        rows = run_batch(cases, output, lambda waiting: do_on_workers(client, waiting, output, 1, slowly))
    expected = {"corrupt": "failed"} | dict.fromkeys(GOOD, "done")
    assert {row["name"]: row["status"] for row in rows} == expected
    assert {name: row["status"] for name, row in table(output).items()} == expected
    # The case that the killed worker had begun was begun again by the other one, and no case else.
    assert len(list(output.glob("*.begun"))) == len(cases) + 1
    first = written(output)
    with cluster_client(address) as client:
        run_batch(cases, output, lambda waiting: do_on_workers(client, waiting, output, 1, slowly))
    assert written(output) == first


@pytest.mark.slow
def test_a_case_that_kills_its_workers_is_given_up_alone(scans, tmp_path):
    cases = cases_of_folder(scans / "scans", REGISTER, {"mode": "fast"}, scans / "fixed.nii.gz")
    with local_client(2) as client:
        rows = run_batch(cases, tmp_path, lambda waiting: do_on_workers(client, waiting, tmp_path, 1, die_on_three))
    status = {row["name"]: row["status"] for row in rows}
    assert status == {"corrupt": "failed", "one": "done", "three": "failed", "two": "done"}
    assert "was ended each time" in next(row["problem"] for row in rows if row["name"] == "three")


def test_without_a_scheduler_or_with_wrong_numbers_nothing_begins(scans, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.jobs.cluster.ANSWER_SECONDS", 1)
    arguments = (scans / "scans", "--fixed", scans / "fixed.nii.gz", "--output", tmp_path / "out")
    assert main(batch(*arguments, "--workers", 0)) == 2
    assert capsys.readouterr().err == "slsfgr: error: --workers is 0; give 1 or more.\n"
    assert main(batch(*arguments, "--scheduler", "tcp://127.0.0.1:9")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("slsfgr: error: tcp://127.0.0.1:9: no Dask scheduler answers")
    assert not (tmp_path / "out").exists()
