import numpy as np
import pytest
import torch

from SLSFGRLib.segmentation.upsampling import LEAST_SHARE, strongest_channels
from SLSFGRLib.spatial.fields import resize_image


def no_evidence(channel, values):
    return torch.zeros_like(values)


def strongest(logits, evidence=no_evidence, image=None):
    if image is None:
        image = torch.zeros(1, 1, *(2 * size for size in logits.shape[2:]))
    return strongest_channels(logits, logits.softmax(1), image, evidence)


@pytest.fixture
def logits():
    """So near to each other that every channel is possible in each voxel."""
    return 0.5 * torch.randn(1, 5, 6, 7, 8, generator=torch.Generator().manual_seed(0))


def test_channels_are_those_of_the_interpolated_logits(logits):
    assert float(logits.softmax(1).min()) > LEAST_SHARE
    expected = resize_image(logits, (12, 14, 16)).argmax(dim=1)[0].numpy()
    np.testing.assert_array_equal(strongest(logits), expected)
    assert (expected > 0).mean() > 0.5


def test_how_the_channels_lie_in_memory_does_not_matter(logits):
    np.testing.assert_array_equal(strongest(logits), strongest(logits.contiguous(memory_format=torch.channels_last_3d)))


def test_only_the_part_with_a_brain_is_worked_on_and_lands_in_its_place():
    logits = torch.full((1, 3, 12, 12, 12), -3.0)
    logits[:, 0] = 3.0
    logits[:, 2, 3:6, 7:10, 5:8] = 6.0
    expected = resize_image(logits, (24, 24, 24)).argmax(dim=1)[0].numpy()
    seen = []

    def evidence(channel, values):
        seen.append(values.numel())
        return torch.zeros_like(values)

    np.testing.assert_array_equal(strongest(logits, evidence), expected)
    assert (expected == 2).sum() >= 150
    # Background and one other channel where that is; about it nothing but background is possible.
    assert seen == [8 * 27, 0, 8 * 27]


def test_where_a_single_channel_is_possible_no_evidence_is_needed():
    logits = torch.full((1, 3, 6, 6, 6), -9.0)
    logits[:, 0], logits[:, 1, 1:3], logits[:, 2, 3:] = 3.0, 15.0, 15.0
    found = strongest(logits, lambda *_: torch.tensor(torch.nan))
    np.testing.assert_array_equal(found[:, 0, 0], [0] * 2 + [1] * 4 + [2] * 6)


def test_image_without_any_structure_gives_an_empty_map():
    logits = torch.zeros(1, 3, 4, 4, 4)
    logits[:, 0] = 9.0
    assert not strongest(logits).any()


def test_evidence_is_added_to_the_interpolated_logits_in_its_place(logits):
    image = torch.rand(1, 1, 12, 14, 16, generator=torch.Generator().manual_seed(1))
    slopes = torch.tensor([0.0, 3.0, -2.0, 1.0, 2.0])
    found = strongest(logits, lambda channel, values: slopes[channel] * values, image)
    expected = (resize_image(logits, (12, 14, 16))[0] + slopes.view(5, 1, 1, 1) * image[0]).argmax(dim=0).numpy()
    np.testing.assert_array_equal(found, expected)
    assert (found != strongest(logits)).mean() > 0.2


def test_progress_goes_up_through_the_channels(logits):
    told = []
    strongest_channels(logits, logits.softmax(1), torch.zeros(1, 1, 12, 14, 16), no_evidence, told.append)
    assert told == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])
