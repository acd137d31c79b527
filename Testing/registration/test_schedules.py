"""The levels of each mode, and which of them fit an image and the memory."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import empty_image

import SLSFGRLib
from SLSFGRLib.modes import MODES
from SLSFGRLib.preprocessing import prepare
from SLSFGRLib.registration.channels import INTENSITY
from SLSFGRLib.registration.schedules import (
    SCHEDULES,
    across_contrasts,
    affordable_levels,
    needed_memory,
    planned_levels,
)
from SLSFGRLib.spatial.grid import Grid

# A head at 1 mm.
HEAD = Grid((160, 200, 168), np.eye(4))


def spacings(levels):
    return [level.spacing for level in levels]


def test_every_mode_has_a_schedule():
    assert tuple(SCHEDULES) == MODES


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.7, 1.7, 1.7), (0.9, 0.9, 5.0)])
def test_image_with_fine_voxels_along_any_axis_gets_the_whole_schedule(mode, spacing):
    assert planned_levels(mode, empty_image(spacing=spacing)) == SCHEDULES[mode]


@pytest.mark.parametrize("mode", MODES)
def test_across_contrasts_the_tissues_count_more_than_the_intensities_at_fine_levels(mode):
    for level, planned in zip(across_contrasts(SCHEDULES[mode]), SCHEDULES[mode], strict=True):
        intensity, tissue = (1.0, 0.5) if planned.spacing >= 4.0 else (0.5, 0.75)
        assert level.weights == {INTENSITY: intensity, "csf": tissue, "gm": tissue, "wm": tissue}
        unchanged = {"weights": {}} if planned.spacing >= 2.0 else {"weights": {}, "iterations": 0, "field_sigma": 0.0}
        assert replace(level, **unchanged) == replace(planned, **unchanged)
        # Only at 1 mm the field is smoother, and an iteration so slow that there are fewer.
        if planned.spacing < 2.0:
            assert level.field_sigma > planned.field_sigma
            assert level.iterations < planned.iterations


@pytest.mark.parametrize("mode", MODES)
def test_where_one_intensity_tells_the_other_for_certain_the_fine_levels_stay_as_planned(mode):
    assert across_contrasts(SCHEDULES[mode], 1.0)[2:] == SCHEDULES[mode][2:]


def test_in_between_a_level_is_the_mean_of_both():
    (found,) = across_contrasts(SCHEDULES["standard"][-1:], 0.4)
    assert found.weights == pytest.approx({INTENSITY: 0.7, "csf": 0.45, "gm": 0.45, "wm": 0.45})
    assert found.field_sigma == pytest.approx(0.65)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spacing", [(1.8, 1.8, 1.8), (2.0, 2.0, 2.0), (3.0, 3.0, 5.0)])
def test_coarse_image_gets_no_level_finer_than_2_mm(mode, spacing):
    levels = planned_levels(mode, empty_image(spacing=spacing))
    assert spacings(levels) == [max(2.0, level.spacing) for level in SCHEDULES[mode]]
    # All else is as for a fine image.
    for level, original in zip(levels, SCHEDULES[mode], strict=True):
        assert (level.iterations, level.field_sigma, level.weights) == (
            original.iterations,
            original.field_sigma,
            original.weights,
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("memory", [None, 8_000_000_000])
def test_enough_or_unknown_memory_leaves_nothing_out(mode, memory):
    assert affordable_levels(SCHEDULES[mode], HEAD, memory) == (SCHEDULES[mode], "")


@pytest.mark.parametrize("mode", ["standard", "accurate"])
def test_little_memory_leaves_out_the_level_at_1_mm_and_the_note_says_so(mode):
    levels, note = affordable_levels(SCHEDULES[mode], HEAD, 1_800_000_000)
    assert levels == SCHEDULES[mode][:-1]
    needed = needed_memory(SCHEDULES[mode], HEAD) / 1e9
    assert note == (
        "The field has 2 mm voxels instead of 1 mm, to save memory. "
        f"1.8 GB of memory are free, and {needed:.1f} GB are needed. Close other programs for a more exact result."
    )


def test_coarse_image_with_little_memory_loses_both_levels_at_2_mm():
    levels = planned_levels("standard", empty_image(spacing=(2.0, 2.0, 2.0)))
    assert spacings(levels) == [8.0, 4.0, 2.0, 2.0]
    kept, note = affordable_levels(levels, HEAD, needed_memory(levels, HEAD) - 1)
    assert spacings(kept) == [8.0, 4.0]
    assert "4 mm voxels instead of 2 mm" in note


def test_one_level_is_always_left():
    assert affordable_levels(SCHEDULES["fast"], HEAD, 0)[0] == SCHEDULES["fast"][:1]


@pytest.mark.parametrize(
    ("shape", "peaks"),
    [
        # docs/benchmarks.md: 1000-1001, 1011-1012 and 1036-1000.
        ((164, 208, 172), {"fast": 1.40, "standard": 2.29, "accurate": 2.40}),
        ((156, 208, 156), {"fast": 1.498, "standard": 2.13, "accurate": 2.24}),
        ((156, 208, 168), {"fast": 1.41, "standard": 2.37, "accurate": 2.26}),
    ],
)
def test_needed_memory_is_at_least_what_was_measured_and_little_more(shape, peaks):
    for mode, measured in peaks.items():
        assert measured <= needed_memory(SCHEDULES[mode], Grid(shape, np.eye(4))) / 1e9 <= 1.2 * measured


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_registration_on_the_cpu_works_within_the_memory_and_the_report_says_so(monkeypatch, head, device):
    grid = prepare(head[0]).grid
    memory = needed_memory(planned_levels("standard", head[0])[:2], grid)
    monkeypatch.setattr("SLSFGRLib.registration.find_field.available_memory", lambda: memory)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = SLSFGRLib.register(head[0], head[0], "standard", device, affine=False)
    field = result.transform.GetNthTransform(1)
    assert field.GetFixedParameters()[6:9] == pytest.approx([4.0] * 3, rel=0.01)
    (note,) = result.report["notes"]
    assert note.startswith("The field has 4 mm voxels instead of 2 mm, to save memory.")
