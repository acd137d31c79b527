import numpy as np
import pytest
import torch

from SLSFGRLib.segmentation.upsampling import MIN_POSTERIOR, argmax_upsampled
from SLSFGRLib.spatial.fields import resize_image


def no_ratio(channel, values):
    return torch.zeros_like(values)


def upsampled(logits, log_likelihood_ratio=no_ratio, image=None):
    if image is None:
        image = torch.zeros(1, 1, *(2 * size for size in logits.shape[2:]))
    return argmax_upsampled(logits, logits.softmax(1), image, log_likelihood_ratio)


@pytest.fixture
def logits():
    """Logits so near to each other that every channel is possible in each voxel."""
    return 0.5 * torch.randn(1, 5, 6, 7, 8, generator=torch.Generator().manual_seed(0))


def test_channels_are_those_of_the_interpolated_logits(logits):
    assert float(logits.softmax(1).min()) > MIN_POSTERIOR
    expected = resize_image(logits, (12, 14, 16)).argmax(dim=1)[0].numpy()
    np.testing.assert_array_equal(upsampled(logits), expected)
    assert (expected > 0).mean() > 0.5


def test_order_of_the_channels_in_memory_does_not_matter(logits):
    np.testing.assert_array_equal(upsampled(logits), upsampled(logits.contiguous(memory_format=torch.channels_last_3d)))


def test_only_the_part_with_a_brain_is_computed_and_stored_where_it_lies():
    logits = torch.full((1, 3, 12, 12, 12), -3.0)
    logits[:, 0] = 3.0
    logits[:, 2, 3:6, 7:10, 5:8] = 6.0
    expected = resize_image(logits, (24, 24, 24)).argmax(dim=1)[0].numpy()
    seen = []

    def log_likelihood_ratio(channel, values):
        seen.append(values.numel())
        return torch.zeros_like(values)

    np.testing.assert_array_equal(upsampled(logits, log_likelihood_ratio), expected)
    assert (expected == 2).sum() >= 150
    # Background and one other channel where that is; about it nothing but background is possible.
    assert seen == [8 * 27, 8 * 27]


def test_where_a_single_channel_is_possible_no_ratio_is_needed():
    logits = torch.full((1, 3, 6, 6, 6), -9.0)
    logits[:, 0], logits[:, 1, 1:3], logits[:, 2, 3:] = 3.0, 15.0, 15.0
    found = upsampled(logits, lambda *_: torch.tensor(torch.nan))
    np.testing.assert_array_equal(found[:, 0, 0], [0] * 2 + [1] * 4 + [2] * 6)


def test_image_without_any_structure_has_an_empty_label_map():
    logits = torch.zeros(1, 3, 4, 4, 4)
    logits[:, 0] = 9.0
    assert not upsampled(logits).any()


def test_log_likelihood_ratio_is_added_to_the_interpolated_logits_of_the_same_voxel(logits):
    image = torch.rand(1, 1, 12, 14, 16, generator=torch.Generator().manual_seed(1))
    slopes = torch.tensor([0.0, 3.0, -2.0, 1.0, 2.0])
    found = upsampled(logits, lambda channel, values: slopes[channel] * values, image)
    expected = (resize_image(logits, (12, 14, 16))[0] + slopes.view(5, 1, 1, 1) * image[0]).argmax(dim=0).numpy()
    np.testing.assert_array_equal(found, expected)
    assert (found != upsampled(logits)).mean() > 0.2


def test_many_voxels_are_computed_in_blocks_with_progress(logits, monkeypatch):
    expected = upsampled(logits)
    monkeypatch.setattr("SLSFGRLib.segmentation.upsampling.BLOCK_VOXELS", 84)
    fractions = []
    found = argmax_upsampled(logits, logits.softmax(1), torch.zeros(1, 1, 12, 14, 16), no_ratio, fractions.append)
    np.testing.assert_array_equal(found, expected)
    assert fractions == pytest.approx([0.0, 0.25, 0.5, 0.75])
