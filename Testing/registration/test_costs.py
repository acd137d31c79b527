"""Estimates of time and memory before a registration."""

import numpy as np
import pytest

from SLSFGRLib.modes import MODES
from SLSFGRLib.registration.costs import FINEST, expected_costs, peak_bytes
from SLSFGRLib.registration.schedules import SCHEDULES, needed_memory
from SLSFGRLib.spatial.grid import Grid


@pytest.mark.parametrize("mode", MODES)
def test_the_estimate_knows_the_finest_level_of_each_mode(mode):
    levels = SCHEDULES[mode]
    assert (levels[-1].spacing, len(levels[-1].weights) - 1) == FINEST[mode]
    grid = Grid((160, 180, 170), np.eye(4))
    assert peak_bytes(160 * 180 * 170, round(FINEST[mode][0]), FINEST[mode][1]) == needed_memory(levels, grid)


def test_a_large_field_of_view_costs_memory_and_little_time():
    brain, head = ((160, 200, 166), (1.0, 1.0, 1.0)), ((512, 512, 400), (0.5, 0.5, 0.5))
    small, large = (expected_costs([image, image], "deformable", "standard") for image in (brain, head))
    assert small.seconds[0] == pytest.approx(17.5, abs=0.5)
    assert large.seconds[0] < 3 * small.seconds[0]
    assert large.memory - small.memory > 2e9


def test_where_the_images_decide_the_time_is_a_range():
    brain = ((160, 200, 166), (1.0, 1.0, 1.0))
    low, high = expected_costs([brain, brain], "auto", "standard").seconds
    assert low == expected_costs([brain, brain], "rigid", "standard").seconds[0]
    assert high == expected_costs([brain, brain], "deformable", "standard").seconds[1]
