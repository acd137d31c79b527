import csv
import subprocess
import sys
from pathlib import Path

import ablation
import bench
import multimodal
import multimodal_pairs
import multimodal_score
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from ablation import VARIANTS as ABLATION
from bench import Run, finished, planned
from forward_pass import timed_passes
from measuring import Cost, RunError, table_row, timed
from peers.conversion import read_result
from phantoms import DIRECTIONS, affine_matrix, empty_image, positions, rotation_about, transformed
from recontrast import t2_like
from resampling import resampled
from scaling import markdown_table as scaling_table
from scaling import stage_rows
from segmentation import CONDITIONS
from summary import markdown_table, on_common_pairs, summarise
from systems import SYSTEMS, T2, chosen

from SLSFGRLib.spatial.grid import affine_transform, grid_of_image

POINTS = np.random.default_rng(3).uniform(-12, 12, (20, 3))
LINEAR = rotation_about((1, 2, -1), 9) @ np.diag([1.1, 0.95, 1.02])
SHIFT = np.array([4.0, -3.0, 2.0])
RESULT = {
    "dice": 0.6,
    "surface_distance_95_mm": 6.5,
    "folding_percent": 0.0,
    "log_jacobian_deviation": 0.25,
    "seconds": 20.0,
    "cpu_seconds": 38.0,
    "memory_gb": 1.5,
}
COST = Cost(RESULT["seconds"], RESULT["cpu_seconds"], RESULT["memory_gb"])


@pytest.fixture(params=DIRECTIONS)
def fixed_image(request):
    return empty_image((24, 20, 22), (2.0, 2.5, 2.2), DIRECTIONS[request.param], centre=(1.0, -2.0, 3.0))


def bending(points):
    """A smooth displacement in mm, nearly linear between voxels, at LPS points."""
    return np.stack([0.1 * points[..., 1], 1.0 + 0.05 * points[..., 2], -0.08 * points[..., 0]], -1)


def expected(points):
    return (points + bending(points)) @ LINEAR.T + SHIFT


def write_field(path, image):
    field = sitk.GetImageFromArray(bending(positions(image)).astype(np.float32), isVector=True)
    field.CopyInformation(image)
    sitk.WriteImage(field, str(path))


def write_greedy_matrix(path):
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.savetxt(path, turn @ affine_matrix(LINEAR, SHIFT) @ turn)


def test_what_ants_writes_maps_points_through_field_then_affine(fixed_image, tmp_path):
    write_field(tmp_path / "1Warp.nii.gz", fixed_image)
    affine = affine_transform(affine_matrix(LINEAR, SHIFT))
    sitk.WriteTransform(affine, str(tmp_path / "0GenericAffine.mat"))
    found = transformed(read_result("ants", tmp_path, tmp_path), POINTS)
    np.testing.assert_allclose(found, expected(POINTS), atol=1e-4)


def test_what_greedy_writes_maps_points_through_field_then_ras_matrix(fixed_image, tmp_path):
    write_field(tmp_path / "warp.nii.gz", fixed_image)
    write_greedy_matrix(tmp_path / "affine.mat")
    found = transformed(read_result("greedy", tmp_path, tmp_path), POINTS)
    np.testing.assert_allclose(found, expected(POINTS), atol=1e-4)


def test_what_fireants_writes_is_the_whole_transform(fixed_image, tmp_path):
    write_field(tmp_path / "warp.nii.gz", fixed_image)
    found = transformed(read_result("fireants", tmp_path, tmp_path), POINTS)
    np.testing.assert_allclose(found, POINTS + bending(POINTS), atol=1e-4)


def test_voxels_of_convex_adam_become_millimetres_of_any_grid(fixed_image, tmp_path):
    matrix = grid_of_image(fixed_image).matrix[:3, :3]
    voxels = bending(positions(fixed_image)) @ np.linalg.inv(matrix).T
    np.save(tmp_path / "displacements.npy", voxels)
    write_greedy_matrix(tmp_path / "affine.mat")
    sitk.WriteImage(fixed_image, str(tmp_path / "fixed.nii.gz"))
    found = transformed(read_result("convex_adam", tmp_path, tmp_path / "fixed.nii.gz"), POINTS)
    np.testing.assert_allclose(found, expected(POINTS), atol=1e-4)


def test_t2_like_image_turns_the_order_of_the_tissues_and_keeps_the_background():
    t1 = np.zeros((40, 40, 40), np.float32)
    tissues = {"fluid": (10, 300.0), "grey": (20, 580.0), "white": (30, 940.0)}
    for first, value in tissues.values():
        t1[first : first + 8, 5:35, 5:35] = value
    t1[38, 5:35, 5:35] = 1040.0
    found = t2_like(t1)
    means = {name: found[t1 == value].mean() for name, (_, value) in tissues.items()}
    assert means["fluid"] > 1.5 * means["grey"] > 2 * means["white"] > 0
    assert found.dtype == np.int16
    assert not found[t1 == 0].any()
    assert found[t1 == 580.0].std() == pytest.approx(20.0, rel=0.05)
    np.testing.assert_array_equal(found, t2_like(t1))


def test_resampled_image_covers_the_same_box():
    image = empty_image((20, 30, 24), (1.0, 1.0, 1.0), DIRECTIONS["LAS"], (5.0, 60.0, -7.0)) + 3.0
    for spacing in (2.0, 0.5):
        found = resampled(image, spacing)
        assert found.GetSize() == tuple(int(size / spacing) for size in image.GetSize())
        np.testing.assert_allclose(grid_of_image(found).centre, grid_of_image(image).centre, atol=1e-6)
        assert sitk.GetArrayViewFromImage(found)[2:-2, 2:-2, 2:-2] == pytest.approx(3.0)


def printed_by(code):
    """What a small process prints that can import the scripts of the benchmark."""
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=Path(bench.__file__).parent, capture_output=True, check=True).stdout.decode()


def test_timed_measures_seconds_and_memory_of_the_child():
    # It sleeps for longer than even a busy machine takes to start it.
    child = "import time; a = b'x' * 300_000_000; time.sleep(3)"
    cost = printed_by(f"import sys; from measuring import timed; print(timed([sys.executable, '-c', {child!r}], 1))")
    seconds, cpu_seconds, memory = (float(part.rstrip(")\n").split("=")[1]) for part in cost.split(","))
    assert seconds > 3 > cpu_seconds > 0
    assert memory == pytest.approx(0.31, abs=0.02)


@pytest.mark.parametrize("script", ["bench", "multimodal", "pairs", "scaling"])
def test_scripts_that_measure_memory_stay_small_themselves(script):
    # At exec, Linux hands the parent's peak of memory to the child.
    code = f"import {script}, sys; print({{'torch', 'SimpleITK', 'numpy', 'matplotlib'}} & set(sys.modules))"
    assert printed_by(code) == "set()\n"


def test_timed_reports_a_failure_and_sets_the_threads(tmp_path):
    with (tmp_path / "log").open("w") as log, pytest.raises(RunError, match="exit 2"):
        timed([sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS']); raise SystemExit(2)"], 2, log)
    assert (tmp_path / "log").read_text() == "2\n"


def test_a_table_with_other_columns_is_not_appended_to(tmp_path):
    table_row(tmp_path / "table.csv", {"a": 1})
    table_row(tmp_path / "table.csv", {"a": 2})
    with pytest.raises(ValueError, match="other columns"):
        table_row(tmp_path / "table.csv", {"b": 3})
    assert (tmp_path / "table.csv").read_text().split() == ["a", "1", "2"]


@pytest.fixture
def stand_ins(monkeypatch):
    """Registration and scoring that take no time; gives the list of what was run, and greedy-3-1 fails."""
    done = []

    def timed_stand_in(command, threads, log):
        done.append(command)
        if "3vox" in command:
            raise RunError("exit 1")
        return COST

    monkeypatch.setattr(bench, "timed", timed_stand_in)
    monkeypatch.setattr(bench, "score", lambda *_: RESULT | {"labels": {"4": 0.5, "23": 0.7}})
    return done


def run_bench(monkeypatch, output, systems):
    words = ["bench.py", "--output", str(output), "--pairs", "2", "--systems", systems]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        bench.main()
    return stop.value.code


def test_benchmark_continues_where_it_stopped(stand_ins, monkeypatch, tmp_path):
    assert run_bench(monkeypatch, tmp_path, "greedy,greedy-3-1") == 1
    assert len(stand_ins) == 4
    assert run_bench(monkeypatch, tmp_path, "greedy,greedy-3-1,ants-syn") == 1
    assert len(stand_ins) == 4 + 2 + 2  # the failed ones again, and the new system
    assert finished(tmp_path / "results.csv") == {
        Run("same", 1, system, pair) for system in ("greedy", "ants-syn") for pair in ("1000-1001", "1002-1006")
    }
    with (tmp_path / "labels.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 4 * 2
    with (tmp_path / "structures-same.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream)) == {"label": "4", "ants-syn": "0.5000", "greedy": "0.5000"}


def test_plan_goes_pair_by_pair():
    found = [(run.repeat, run.pair, run.system) for run in planned(["a", "b"], "same", 2, 2)]
    assert found[:3] == [(1, "1000-1001", "a"), (1, "1000-1001", "b"), (1, "1002-1006", "a")]
    assert len(found) == 8


def row(system, pair, repeat, **figures):
    return {"contrast": "same", "repeat": str(repeat), "system": system, "pair": pair} | {
        name: str(value) for name, value in (RESULT | figures).items()
    }


def test_table_gives_mean_and_spread_over_pairs_and_repeats():
    rows = [
        row("greedy", "a", 1, dice=0.60),
        row("greedy", "a", 2, dice=0.62),
        row("greedy", "b", 1, dice=0.70),
        row("greedy", "b", 2, dice=0.72),
        row("slsfgr-fast", "a", 1, dice=0.5, seconds=4.0),
    ]
    _, _, ours, greedy = markdown_table(rows).splitlines()
    assert ours.startswith("| SLSFGR fast | 0.500 ± 0.000 |")
    assert ours.endswith("| 4.0 ± 0.0 | 1.50 ± 0.00 | once | 1 |")
    # Pairs: 0.61 and 0.71; repeats: 0.65 and 0.67.
    assert greedy.startswith("| greedy NCC, 1.732 / 0.707 | 0.660 ± 0.071 | 6.50 ± 0.00 | 0.0000 ± 0.0000 | 0.25 ±")
    assert greedy.endswith("| ± 0.0141 | 2 |")


def test_summary_draws_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    for found in (row("greedy", "a", 1), row("slsfgr-fast", "a", 1, dice=0.58, seconds=4)):
        table_row(tmp_path / "results.csv", found)
    assert "SLSFGR fast" in summarise(tmp_path)
    assert sitk.ReadImage(str(tmp_path / "picture-same.png")).GetSize()[0] > 1000


def test_picture_compares_systems_on_the_pairs_that_all_have_done():
    rows = [row("greedy", pair, 1) for pair in "abc"] + [row("slsfgr-fast", pair, 1) for pair in "bcd"]
    found, count = on_common_pairs(rows)
    assert count == 2
    assert [(one["system"], one["pair"]) for one in found] == [
        (system, pair) for system in ("greedy", "slsfgr-fast") for pair in "bc"
    ]


def test_each_system_has_its_script_and_reader(tmp_path):
    for system in SYSTEMS.values():
        command = system.command(Path("f.nii"), Path("m.nii"), tmp_path)
        assert command[0] == sys.executable
        assert system.script is None or Path(command[1]).is_file()
        with pytest.raises((RuntimeError, OSError)):
            read_result(system.result, tmp_path, tmp_path)


def test_unknown_system_is_refused_with_the_known_ones():
    with pytest.raises(SystemExit, match="no system 'greedy' for --contrast t2; there are slsfgr-fast"):
        chosen("greedy", T2)


def test_scaling_table_has_the_stages():
    report = {"seconds": {"stages": {"align": 2.0, "deform": 9.5}}}
    rows = stage_rows("fast", 2.0, COST, report)
    assert [entry["stage"] for entry in rows] == ["align", "deform", "process"]
    assert scaling_table(rows).splitlines()[2] == "| fast | 2 | 20.0 | 1.50 | 2.0 | 9.5 |"


# --- segmentation -------------------------------------------------------------------------------------------


@pytest.fixture
def brain_with_labels():
    """A ball with a bright half and its labels, 1 and 2."""
    image = empty_image((40, 44, 48), (1.0, 1.0, 1.0))
    points = positions(image)
    ball = np.linalg.norm(points - points.mean((0, 1, 2)), axis=-1) < 14
    labels = np.where(ball, 1 + (points[..., 0] > points[..., 0].mean()), 0).astype(np.uint8)
    return like(100.0 * labels, image), like(labels, image)


def like(array, image):
    out = sitk.GetImageFromArray(array)
    out.CopyInformation(image)
    return out


def test_turned_head_keeps_its_labels(brain_with_labels):
    image, manual = CONDITIONS["turned"](*brain_with_labels)
    found, wanted = sitk.GetArrayFromImage(image) / 100.0, sitk.GetArrayFromImage(manual)
    assert np.abs(np.rint(found) - wanted).mean() < 0.01
    assert wanted.astype(bool).sum() == pytest.approx(sitk.GetArrayFromImage(brain_with_labels[1] > 0).sum(), rel=0.01)
    middle_before, middle = (
        np.argwhere(sitk.GetArrayFromImage(labels == 2)).mean(0) for labels in (brain_with_labels[1], manual)
    )
    ball_before, ball = (
        np.argwhere(sitk.GetArrayFromImage(labels > 0)).mean(0) for labels in (brain_with_labels[1], manual)
    )
    cosine = (middle - ball) @ (middle_before - ball_before) / np.linalg.norm(middle - ball) ** 2
    # The axis lies at (0.5, 0.6, 0.62) to x: cos 30 + 0.25 / |axis|^2 (1 - cos 30).
    assert cosine == pytest.approx(np.cos(np.radians(30)) + 0.25 / 0.9944 * (1 - np.cos(np.radians(30))), abs=0.02)


def test_thick_slices_are_means_and_their_labels_those_of_their_middles(brain_with_labels):
    image, manual = brain_with_labels
    thick, middles = CONDITIONS["thick"](image, manual)
    assert thick.GetSpacing() == middles.GetSpacing() == (1.0, 1.0, 5.0)
    assert thick.GetOrigin() == middles.GetOrigin()
    assert thick[20, 22, 4] == pytest.approx(np.mean([image[20, 22, k] for k in range(20, 25)]))
    count = thick.GetSize()[2]
    expected = sitk.GetArrayViewFromImage(manual)[2 : 5 * count : 5]
    assert np.array_equal(sitk.GetArrayViewFromImage(middles), expected)
    assert len(np.unique(expected)) > 2
    again, same = CONDITIONS["thick-at-1mm"](image, manual)
    assert same is manual
    assert np.array_equal(sitk.GetArrayViewFromImage(again), sitk.GetArrayViewFromImage(thick))


def test_another_contrast_leaves_the_labels_alone(brain_with_labels):
    image, manual = brain_with_labels
    dark, same = CONDITIONS["t2"](image, manual)
    assert same is manual
    # The brightest tissue is the darkest in the other contrast.
    assert dark[25, 22, 24] < dark[14, 22, 24]
    assert dark[0, 0, 0] == 0


# --- ablation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ABLATION)
def test_variants_of_the_ablation_differ_in_what_their_names_say(name):
    made = ablation.recipe(ABLATION[name], steps=40, seed=2)
    network = made.model.build()
    assert (network.segmenter is not None) == (name != "no segmentation")
    adapter = network.adapters[0]
    assert (adapter.gate is not None) == (name not in ("no segmentation", "+ segmentation loss"))
    without_frequency = ("no segmentation", "+ segmentation loss", "+ feature guidance")
    assert isinstance(adapter.enhance, torch.nn.Identity) == (name in without_frequency)
    assert made.training.dynamic_weights == (name == "+ dynamic weights" or name.startswith("label"))
    percent = int(name.split()[2]) if name.startswith("label") else 50
    assert made.supervision.label_fraction == percent / 100.0
    assert (made.training.steps, made.training.seed) == (40, 2)


def test_ablation_table_gives_mean_and_spread_over_the_seeds():
    rows = [
        {"variant": "a", "seed": 0, "registration_dice": 0.5, "folding_percent": 0.0},
        {"variant": "a", "seed": 1, "registration_dice": 0.7, "folding_percent": 0.2},
    ]
    assert ablation.table(rows).splitlines()[2] == "| a | 0.6000 ± 0.1414 | - | 0.1000 ± 0.1414 |"


# --- unlike contrasts ---------------------------------------------------------------------------------------


def test_systems_of_the_multimodal_benchmark():
    systems = multimodal.compared("hu.pt", None)
    assert {"affine", "SLSFGR fast", "SLSFGR standard", "Hu et al. fast", "Hu et al. standard"} <= set(systems)
    words = systems["Hu et al. fast"].command(Path("f.nii"), Path("m.nii"), Path("out"))
    assert words[1:4] == ["-m", "SLSFGRLib", "register"]
    assert words[-4:] == ["--mode", "fast", "--model", "hu.pt"]
    assert not any("LNCC" in title for title in systems)


def test_multimodal_tables_hold_the_means_of_each_set():
    def row(pair, system, dice, error):
        figures = {"dice": dice, "error_mm": error, "surface_distance_95_mm": "2", "folding_percent": "0"}
        return {"pair": pair, "system": system, "seconds": "10"} | figures

    rows = [
        row("sri24/a", "fast", "0.5", "1.5"),
        row("sri24/b", "fast", "0.7", "0.5"),
        row("malc/c", "fast", "0.9", ""),
    ]
    lines = multimodal.tables(rows).splitlines()
    assert "**sri24**" in lines
    assert "| fast | 2 | 0.600 | 1.000 | 2.000 | 0.000 | 10.000 |" in lines
    assert "| fast | 1 | 0.900 |  | 2.000 | 0.000 | 10.000 |" in lines


def test_known_deformation_has_its_peak_and_its_inverse():
    image = empty_image((40, 48, 36), (4.0, 4.0, 5.0), DIRECTIONS["oblique left-handed"], centre=(5, 6, 7))
    there, back = multimodal_pairs.known_deformation(image, 0)
    inner = positions(image)[8:-8, 8:-8, 8:-8].reshape(-1, 3)[::50]
    moved = transformed(there, inner)
    lengths = np.linalg.norm(moved - inner, axis=1)
    assert 4.0 < lengths.max() <= 10.0
    assert np.linalg.norm(transformed(back, moved) - inner, axis=1).mean() < 0.1


def test_error_is_measured_against_the_truth_inside_the_brain(tmp_path):
    image = empty_image((20, 22, 24), (2, 2, 2))
    image[5:15, 5:15, 5:15] = 100.0
    sitk.WriteTransform(sitk.TranslationTransform(3, (1.0, 2.0, 2.0)), str(tmp_path / "truth.h5"))
    identity = sitk.Transform(3, sitk.sitkIdentity)
    assert multimodal_score.mean_error(identity, tmp_path / "truth.h5", image) == pytest.approx(3.0)
    assert multimodal_score.mean_error(identity, tmp_path / "none.h5", image) is None


def test_first_pass_of_a_network_is_not_timed(monkeypatch):
    seen = []
    ticks = iter([0.0, 9.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr("forward_pass.time.perf_counter", lambda: next(ticks))
    assert timed_passes(lambda moving, fixed: seen.append((moving.shape, fixed.shape)), (4, 6, 8), 2) == [2.0, 3.0]
    assert seen == [((1, 1, 4, 6, 8),) * 2] * 3
