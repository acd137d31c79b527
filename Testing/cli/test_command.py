"""The command as a shell user sees it: files, messages, exit codes, and nothing left behind on failure."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import half_head_and_labels

from SLSFGRLib.cli import main

COMMAND = (sys.executable, "-m", "SLSFGRLib")
RESULTS = {"warped.nii.gz", "transform.h5", "inverse_transform.h5", "report.json", "report.html"}


def slsfgr(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, encoding="utf-8", cwd=folder, timeout=300
    )


@pytest.fixture
def here(capfd, monkeypatch) -> Callable[..., subprocess.CompletedProcess]:
    """The same in this process, which has loaded torch already: a process of its own takes seconds for that.

    What native libraries write to standard error counts here; a process of its own discards it.
    """

    def run(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess:
        if folder is not None:
            monkeypatch.chdir(folder)
        code = main(list(map(str, arguments)))
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with a head of half the size, which takes an eighth of the time, the same moved, and their labels."""
    folder = tmp_path_factory.mktemp("images")
    image, labels = half_head_and_labels()
    move = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.1, -0.05, 0.15, (6.0, -4.0, 3.0))
    for name, volume, interpolator in (("image", image, sitk.sitkLinear), ("labels", labels, sitk.sitkNearestNeighbor)):
        sitk.WriteImage(volume, str(folder / f"fixed_{name}.nii.gz"))
        sitk.WriteImage(sitk.Resample(volume, volume, move, interpolator), str(folder / f"moving_{name}.nii.gz"))
    for name, factor in (("metres", 0.001), ("kilometres", 1e4)):
        wrong = sitk.Image(image)
        wrong.SetSpacing([factor * step for step in image.GetSpacing()])
        sitk.WriteImage(wrong, str(folder / f"{name}.nii.gz"))
    (folder / "no dicom").mkdir()
    (folder / "no dicom" / "letter.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def registered(files) -> tuple[Path, subprocess.CompletedProcess]:
    output = files / "new" / "results"
    labels = files / "moving_labels.nii.gz"
    run = slsfgr(
        "register", files / "fixed_image.nii.gz", files / "moving_image.nii.gz", "--output", output,
        "--mode", "fast", "--moving-labels", labels,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return output, run


def test_register_writes_all_results_and_names_them(registered):
    output, run = registered
    expected = RESULTS | {"fixed_labels.nii.gz", "moving_labels.nii.gz"}
    assert {path.name for path in output.iterdir()} == expected
    assert {Path(line).name for line in run.stdout.splitlines()} == expected


def test_progress_goes_to_standard_error_as_plain_lines(registered):
    _, run = registered
    assert "Aligning the heads" in run.stderr
    result = r"^(Similarity \(LNCC\)|Dice) 0\.\d\d → 0\.\d\d · folding 0 % · [\d.]+ s · CPU$"
    assert re.search(result, run.stderr, re.MULTILINE)
    assert "\r" not in run.stderr


def test_report_holds_the_agreed_figures(registered):
    report = json.loads((registered[0] / "report.json").read_text(encoding="utf-8"))
    assert report["mode"] == "fast"
    assert report["device"].startswith("cpu") or report["device"].startswith("cuda")
    assert report["seconds"]["total"] == pytest.approx(sum(report["seconds"]["stages"].values()), rel=0.05)
    assert 0 <= report["folding_percent"] < 1
    assert {"slsfgr", "torch", "SimpleITK"} <= report["versions"].keys()
    assert {"dice_before", "dice_after", "models"} <= report.keys()


def test_apply_repeats_the_warped_image_and_keeps_label_values(registered, files, tmp_path, here):
    output, _ = registered
    for source, options, same in (
        ("moving_image", [], "warped"),
        ("moving_image", ["--interpolation", "linear"], "warped"),
        ("moving_labels", ["--labels"], "fixed_labels"),
    ):
        target = tmp_path / f"{source}.nii.gz"
        run = here(
            "apply", output / "transform.h5", files / f"{source}.nii.gz", target,
            "--reference", files / "fixed_image.nii.gz", *options,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        found, expected = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (target, output / f"{same}.nii.gz"))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_apply_takes_fixed_points_to_the_moving_image_and_back(registered, tmp_path):
    output, _ = registered
    points = np.array([[10.0, -20.0, 15.0], [-25.0, 5.0, -10.0]])
    start = tmp_path / "points.csv"
    start.write_text("x,y,z,name\n" + "".join(f"{x},{y},{z},p\n" for x, y, z in points))
    there, back = tmp_path / "there.csv", tmp_path / "back.csv"
    assert slsfgr("apply", output / "transform.h5", start, there).returncode == 0
    assert slsfgr("apply", output / "inverse_transform.h5", there, back).returncode == 0
    transform = sitk.ReadTransform(str(output / "transform.h5"))
    expected = [transform.TransformPoint(point.tolist()) for point in points]
    np.testing.assert_allclose(np.loadtxt(there, delimiter=",", skiprows=1, usecols=(0, 1, 2)), expected, atol=1e-3)
    np.testing.assert_allclose(np.loadtxt(back, delimiter=",", skiprows=1, usecols=(0, 1, 2)), points, atol=0.2)


def test_evaluate_prints_a_table_and_the_same_as_json(registered, files, here):
    arguments = (
        "evaluate", files / "fixed_labels.nii.gz", files / "moving_labels.nii.gz",
        "--transform", registered[0] / "transform.h5",
    )  # fmt: skip
    figures = json.loads(here(*arguments, "--json").stdout)
    table = here(*arguments).stdout
    assert figures["mean_dice"] > 0.9
    assert figures["folding_percent"] == 0
    assert f"{figures['mean_dice']:.4f}" in table
    assert len(figures["labels"]) == 6


def test_evaluate_measures_the_distance_of_landmarks(tmp_path, here):
    (tmp_path / "fixed.csv").write_text("x,y,z,label\n0,0,0,AC\n0,25,0,PC\n")
    (tmp_path / "moving.csv").write_text("x,y,z,label\n10,25,0,PC\n10,3,4,AC\n")
    sitk.WriteTransform(sitk.TranslationTransform(3, (10.0, 0.0, 0.0)), str(tmp_path / "shift.tfm"))
    arguments = (
        "evaluate", "--fixed-points", tmp_path / "fixed.csv", "--moving-points", tmp_path / "moving.csv",
        "--transform", tmp_path / "shift.tfm",
    )  # fmt: skip
    figures = json.loads(here(*arguments, "--json").stdout)
    assert figures == {"target_registration_error_mm": {"mean": 2.5, "max": 5.0, "landmarks": {"AC": 5.0, "PC": 0.0}}}
    assert "mean" in (table := here(*arguments).stdout)
    assert "largest target registration error: 5.00 mm" in table


def test_register_writes_the_jacobian_determinant_on_request(files, tmp_path, here):
    fixed = files / "fixed_image.nii.gz"
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.diag([1.1, 1.0, 1.0]).flatten().tolist())
    sitk.WriteTransform(transform, str(tmp_path / "wider.tfm"))
    run = here(
        "register", fixed, fixed, "--output", tmp_path, "--mode", "fast", "--jacobian",
        "--initial-transform", tmp_path / "wider.tfm", "--transform", "affine", "--quiet",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = sitk.ReadImage(str(tmp_path / "jacobian.nii.gz"))
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), 1.0, atol=0.02)
    assert found.GetSize() == sitk.ReadImage(str(fixed)).GetSize()


def test_info_shows_the_versions(here):
    run = here("info")
    assert run.returncode == 0
    assert "PyTorch" in run.stdout
    assert "li_fan.toml" in run.stdout


def bad_calls(folder: Path) -> list[tuple[list[object], str]]:
    fixed, labels = folder / "fixed_image.nii.gz", folder / "fixed_labels.nii.gz"
    return [
        (["register", folder / "absent.nii.gz", fixed, "--output", "out"], "absent.nii.gz: there is no such file"),
        (["register", fixed, fixed, "--output", "out", "--mode", "best"], "best"),
        (["register", fixed, fixed, "--output", "out", "--device", "tpu"], "tpu"),
        (["register", fixed, fixed, "--output", "out", "--model", "absent.pt"], "absent.pt: there is no such model"),
        (["register", fixed, fixed, "--output", "out", "--mode", "fast", "--model", "li_fan"], "untrained"),
        (["register", fixed, fixed], "--output"),
        (["register", fixed, fixed, "--output", fixed], "is a file"),
        (["apply", fixed, fixed, "out.nii.gz", "--reference", fixed], "without displacements"),
        (
            ["apply", folder / "absent.h5", fixed, "out.nii.gz", "--reference", fixed],
            "absent.h5: there is no such file",
        ),
        (["apply", fixed, fixed, "out.nii.gz", "--reference", fixed, "--interpolation", "cubic"], "cubic"),
        (["evaluate", fixed, labels, "--transform", fixed], "not whole numbers"),
        (["evaluate", fixed, "--transform", fixed], "two label maps, or --fixed-points"),
        (["train", folder / "absent.toml"], "absent.toml: there is no such recipe"),
        ([], "COMMAND"),
        (["register", folder / "no dicom", fixed, "--output", "out"], "no dicom: the folder holds no DICOM series"),
        (["register", fixed, folder / "metres.nii.gz", "--output", "out"], "metres.nii.gz: its header gives voxels of"),
        (["segment", folder / "kilometres.nii.gz", "out.nii.gz"], "kilometres.nii.gz: its header gives voxels of"),
    ]


# Those that load torch before they find fault, which no native library writes about.
LOADING_TORCH = {0, 2, 3, 4, 6, 10, 11, 12, 15, 16}


@pytest.mark.parametrize("number", range(17))
def test_bad_input_gets_one_line_and_leaves_nothing(files, tmp_path, here, number):
    arguments, words = bad_calls(files)[number]
    run = (here if number in LOADING_TORCH else slsfgr)(*arguments, folder=tmp_path)
    assert run.returncode == 2
    lines = [line for line in run.stderr.splitlines() if not line.startswith("[")]  # without progress
    assert len(lines) == 1
    assert lines[0].startswith("slsfgr: error: ")
    assert words in lines[0]
    assert run.stdout == ""
    assert list(tmp_path.iterdir()) == []


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process and its children grow beyond 20000 bytes, which stands for a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "words",
    ["register f.nii m.nii --output o", "segment i.nii l.nii", "batch t.csv --output o", "train recipe.toml"],
)
def test_threads_are_one_or_more(words, capsys):
    assert main([*words.split(), "--threads", "0"]) == 2
    assert capsys.readouterr().err == "slsfgr: error: --threads is 0; give 1 or more.\n"


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha", "img"])
def test_a_full_disk_is_reported_in_one_line(registered, files, tmp_path, ending):
    (tmp_path / f"out.{ending}").write_text("old")
    with full_disk():
        run = slsfgr(
            "apply", registered[0] / "transform.h5", files / "moving_image.nii.gz", f"out.{ending}",
            "--reference", files / "fixed_image.nii.gz", folder=tmp_path,
        )  # fmt: skip
    assert run.returncode == 2
    assert re.fullmatch(rf"slsfgr: error: out\.{ending}: .+; check the folder and the disk\.\n", run.stderr)
    assert [path.name for path in tmp_path.iterdir()] == [f"out.{ending}"]
    assert (tmp_path / f"out.{ending}").read_text() == "old"


def test_a_disk_that_fills_up_during_a_registration_is_reported_in_one_line(files, tmp_path, capsys):
    images = [str(files / f"{name}_image.nii.gz") for name in ("fixed", "moving")]
    options = ["--output", str(tmp_path / "out"), "--mode", "fast", "--transform", "rigid", "--quiet"]
    with full_disk():
        assert main(["register", *images, *options]) == 2
    message = r"slsfgr: error: \S+/out: .+; check the folder and the disk\.\n"
    assert re.fullmatch(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def _listen_to_interrupts() -> None:
    # What a shell starts in the background ignores interrupts, and so do its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_interrupting_leaves_what_was_there(files, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    arguments = ["register", files / "fixed_image.nii.gz", files / "moving_image.nii.gz", "--output", tmp_path]
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, preexec_fn=_listen_to_interrupts
    )
    for line in process.stderr:
        if "Deforming" in line or "Aligning" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    process.stderr.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_help_answers_at_once_without_torch():
    code = """
import sys
from SLSFGRLib.cli import main
try:
    main(["--help"])
finally:
    assert "torch" not in sys.modules
"""
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "register" in run.stdout
    assert time.perf_counter() - start < 2.0
