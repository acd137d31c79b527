"""The picture of what a network in training makes of examples."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.spatial.fields import voxel_grid
from SLSFGRLib.training.monitoring.samples import BAND, GAP, SCALE, draw_samples, registration_sample

SHAPE = (8, 6, 10)


def volume(seed=0):
    return torch.rand(*SHAPE, generator=torch.Generator().manual_seed(seed))


def drawn(samples, tmp_path):
    draw_samples(samples, tmp_path / "samples.png")
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "samples.png")))


def panel(picture, row, column):
    """What a panel shows, a pixel for each voxel."""
    top = row * (BAND + SCALE * SHAPE[0]) + BAND
    left = GAP + column * (GAP + SCALE * SHAPE[2])
    return picture[top : top + SCALE * SHAPE[0] : SCALE, left : left + SCALE * SHAPE[2] : SCALE]


def test_panels_show_the_middle_from_front_to_back_with_the_top_up(tmp_path):
    first, second = volume(0), volume(1)
    picture = drawn([{"MOVING": first, "FIXED": second}, {"MOVING": second, "FIXED": first}], tmp_path)
    expected = [np.round(255 * image[:, 3].flip(0).numpy()).astype(np.uint8) for image in (first, second)]
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert np.array_equal(panel(picture, row, column)[..., 0], expected[(row + column) % 2])


def test_structures_have_their_colours(tmp_path):
    labels = torch.arange(SHAPE[2]).expand(*SHAPE).clone()
    shown = panel(drawn([{"FOUND": labels}], tmp_path), 0, 0)
    assert not shown[:, 0].any()
    for channel in range(1, SHAPE[2]):
        assert (shown[:, channel] == read_label_table()[channel - 1].color).all()


def test_each_panel_has_a_title(tmp_path):
    picture = drawn([{"MOVING": torch.zeros(8, 6, 30), "FIXED": torch.zeros(8, 6, 30)}], tmp_path)
    for column in (0, 1):
        left = GAP + column * (GAP + SCALE * 30)
        assert (picture[:BAND, left : left + SCALE * 30] > 100).sum() > 100
    assert not picture[BAND:].any()


def test_examples_may_differ_in_size(tmp_path):
    picture = drawn([{"FIXED": volume()}, {"FIXED": torch.ones(4, 6, 20)}], tmp_path)
    assert picture.shape == (2 * BAND + SCALE * 12, 2 * GAP + SCALE * 20, 3)
    assert np.array_equal(panel(picture, 0, 0)[..., 0], np.round(255 * volume()[:, 3].flip(0).numpy()))


@pytest.mark.parametrize("coarser", [1, 2])
def test_the_moving_image_is_shown_under_the_field(coarser):
    depth, height, width = SHAPE
    ramp = voxel_grid(SHAPE)[:, 2:3] / width
    field = torch.zeros(1, 3, depth // coarser, height // coarser, width // coarser)
    field[:, 2] = 2.0 / coarser
    sample = registration_sample(ramp, volume()[None, None], field)
    assert torch.equal(sample["MOVING"], ramp[0, 0])
    expected = ((torch.arange(width) + 2).clamp(max=width - 1) / width).expand(SHAPE)
    torch.testing.assert_close(sample["AFTER"], expected)
