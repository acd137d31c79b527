"""The picture of what a network in training makes of examples."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.spatial.fields import voxel_grid
from SLSFGRLib.training.monitoring.samples import draw_samples, registration_sample, samples_figure

SHAPE = (8, 6, 10)


def volume(seed=0, shape=SHAPE):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def panels(samples):
    """Title and picture of each panel."""
    shown = [axes for axes in samples_figure(samples).axes if axes.images]
    return [(axes.get_title(), np.asarray(axes.images[0].get_array())) for axes in shown]


def test_panels_show_the_middle_coronal_slice_with_superior_up():
    first, second, other_size = volume(0), volume(1), volume(2, (4, 6, 20))
    found = panels([{"Moving": first, "Fixed": second}, {"Fixed": other_size}])
    assert [title for title, _ in found] == ["Moving", "Fixed", "Fixed"]
    for (_, picture), image in zip(found, (first, second, other_size), strict=True):
        np.testing.assert_array_equal(picture, image[:, 3].flip(0))


def test_structures_have_their_colours():
    labels = torch.arange(SHAPE[2]).expand(*SHAPE).clone()
    ((_, picture),) = panels([{"Found": labels}])
    assert not picture[:, 0].any()
    for channel in range(1, SHAPE[2]):
        assert (picture[:, channel] == read_label_table()[channel - 1].color).all()


def test_picture_is_written(tmp_path):
    draw_samples([{"Fixed": volume()}], tmp_path / "samples.png")
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "samples.png")))
    assert not picture[0, 0, :3].any()
    assert picture[..., :3].max() > 200


@pytest.mark.parametrize("coarser", [1, 2])
def test_the_moving_image_is_warped_by_the_field(coarser):
    depth, height, width = SHAPE
    ramp = voxel_grid(SHAPE)[:, 2:3] / width
    field = torch.zeros(1, 3, depth // coarser, height // coarser, width // coarser)
    field[:, 2] = 2.0 / coarser
    sample = registration_sample(ramp, volume()[None, None], field)
    assert torch.equal(sample["Moving"], ramp[0, 0])
    expected = ((torch.arange(width) + 2).clamp(max=width - 1) / width).expand(SHAPE)
    torch.testing.assert_close(sample["Warped"], expected)
