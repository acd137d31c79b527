import math

import pytest
import torch

from SLSFGRLib.losses.label_overlap import (
    LABEL_MEASURES,
    SCALES,
    MultiScaleLabelSimilarity,
    blurred_copies,
    cross_entropy,
    dice_loss,
    mean_squares,
)
from SLSFGRLib.spatial.fields import voxel_grid


def voxels(*values):
    """Values in a row of voxels: (1, 1, N, 1, 1)."""
    return torch.tensor(values).view(1, 1, -1, 1, 1)


def ball(centre, radius, shape=(40, 44, 36)):
    distance = (voxel_grid(shape) - torch.tensor(centre).view(1, 3, 1, 1, 1)).norm(dim=1, keepdim=True)
    return (radius - distance + 0.5).clamp(0, 1)


# --- one scale ----------------------------------------------------------------------------------------------


def test_dice_by_hand():
    # 2 (1 * 0.5 + 0.5 * 1) / (1 + 0.25 + 0.25 + 1) = 0.8
    found = dice_loss(voxels(1.0, 0.5, 0.0), voxels(0.5, 1.0, 0.0))
    assert found.shape == (1, 1)
    assert float(found) == pytest.approx(0.2, abs=1e-6)


def test_cross_entropy_by_hand():
    expected = -(math.log(0.75) + math.log(0.8)) / 2
    assert float(cross_entropy(voxels(0.75, 0.2), voxels(1.0, 0.0))) == pytest.approx(expected, abs=2e-3)


def test_mean_squares_by_hand():
    assert float(mean_squares(voxels(1.0, 0.5), voxels(0.0, 0.0))) == pytest.approx((1.0 + 0.25) / 2)


@pytest.mark.parametrize("name", LABEL_MEASURES)
def test_equal_labels_cost_nothing_and_others_more_the_less_they_are_alike(name):
    measure, soft = LABEL_MEASURES[name], voxels(1.0, 0.7, 0.2, 0.0)
    costs = [float(measure(other, soft)) for other in (soft, voxels(0.9, 0.6, 0.3, 0.0), voxels(0.0, 0.2, 0.7, 1.0))]
    assert costs[0] == pytest.approx(0.0, abs=1e-6)
    assert 0.0 < costs[1] < costs[2]


def test_labels_and_batch_are_measured_one_by_one():
    first, second = torch.rand(2, 3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    for name, measure in LABEL_MEASURES.items():
        found = measure(first, second)
        assert found.shape == (3, 2)
        alone = measure(first[1:2, 1:], second[1:2, 1:])
        torch.testing.assert_close(found[1:2, 1:], alone, msg=name)


# --- several scales -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0, 3.0, 4.0, 8.0])
def test_blur_has_the_mass_and_the_variance_of_the_gaussian(sigma):
    moments = []
    # A voxel of a coarse copy does not tell where in it something lay: on the average over all places.
    for start in range(56, 72):
        point = torch.zeros(1, 1, 128, 16, 16)
        point[0, 0, start, 8, 8] = 1.0
        (blurred,) = blurred_copies(point, (sigma,))
        factor = 128 // blurred.shape[2]
        assert factor <= 2 * max(1.0, sigma)
        profile = blurred.sum((3, 4)).flatten()
        place = factor * torch.arange(len(profile)) + (factor - 1) / 2
        moments.append(float(((place - start) ** 2 * profile).sum() / profile.sum()))
        if sigma <= 1.0:
            assert factor**3 * float(profile.sum()) == pytest.approx(1.0, rel=1e-4)
    assert sum(moments) / len(moments) == pytest.approx(sigma**2, rel=1e-3)


def test_wide_gaussians_reach_balls_that_do_not_touch():
    first, near, far = ball((20.0, 12.0, 18.0), 4.0), ball((20.0, 24.0, 18.0), 4.0), ball((20.0, 32.0, 18.0), 4.0)
    narrow, wide = MultiScaleLabelSimilarity("dice", (0.0,)), MultiScaleLabelSimilarity("dice", (8.0,))
    assert float(narrow(first, near)) == pytest.approx(1.0, abs=1e-4)
    assert float(narrow(first, far)) == pytest.approx(1.0, abs=1e-4)
    assert float(wide(first, near)) < float(wide(first, far)) - 0.05 < 0.9


def test_it_is_the_mean_over_the_scales():
    first, second = ball((20.0, 20.0, 18.0), 6.0), ball((22.0, 24.0, 18.0), 6.0)
    parts = [float(MultiScaleLabelSimilarity("dice", (scale,))(first, second)) for scale in SCALES]
    together = float(MultiScaleLabelSimilarity()(first, second))
    assert together == pytest.approx(sum(parts) / len(SCALES), rel=1e-5)
    # However faint a wide Gaussian makes a label, an equal one is equal.
    assert float(MultiScaleLabelSimilarity()(first, first)) == pytest.approx(0.0, abs=1e-5)
