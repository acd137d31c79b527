import numpy as np
import pytest

import SLSFGRLib
from SLSFGRLib.modes import MODES
from SLSFGRLib.registration.schedules import SCHEDULES, affordable_levels, needed_memory
from SLSFGRLib.spatial.grid import Grid

# A head at 1 mm.
HEAD = Grid((160, 200, 168), np.eye(4))


def test_every_mode_has_a_schedule():
    assert tuple(SCHEDULES) == MODES


def test_enough_or_unknown_memory_leaves_nothing_out():
    for mode in MODES:
        assert affordable_levels(mode, HEAD, None) == (SCHEDULES[mode], "")
        assert affordable_levels(mode, HEAD, 8_000_000_000) == (SCHEDULES[mode], "")


@pytest.mark.parametrize("mode", ["standard", "accurate"])
def test_little_memory_leaves_out_the_steps_at_1_mm_and_says_so(mode):
    levels, note = affordable_levels(mode, HEAD, 1_800_000_000)
    assert levels == SCHEDULES[mode][:-1]
    assert "Worked at 2 mm in place of 1 mm: 1.8 GB of memory are free" in note


def test_one_level_is_always_left():
    assert affordable_levels("fast", HEAD, 0)[0] == SCHEDULES["fast"][:1]


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


def test_half_the_size_needs_an_eighth_beyond_the_base():
    half = Grid(tuple(size // 2 for size in HEAD.shape), np.eye(4))
    whole, small, none = (
        needed_memory(SCHEDULES["standard"], grid) for grid in (HEAD, half, Grid((0, 0, 0), np.eye(4)))
    )
    assert (small - none) * 8 == pytest.approx(whole - none, rel=1e-6)


@pytest.mark.parametrize(("device", "spacing"), [("auto", 4.0), ("cpu", 2.0)])
def test_only_auto_gives_way_and_the_report_says_so(monkeypatch, head, device, spacing):
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.available_memory", lambda: 560_000_000)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = SLSFGRLib.register(head[0], head[0], "standard", device, affine=False)
    field = result.transform.GetNthTransform(1)
    assert field.GetFixedParameters()[6:9] == pytest.approx([spacing] * 3, rel=0.01)
    assert ["Worked at" in note for note in result.report["notes"]] == [True] * (device == "auto")
