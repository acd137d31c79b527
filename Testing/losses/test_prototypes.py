import math

import pytest
import torch
from torch.nn import functional

from SLSFGRLib.losses.prototypes import INVERSE_TEMPERATURE, feature_dissimilarity
from SLSFGRLib.spatial.fields import average_on_grid

SHAPE = (4, 6, 8)


def halves():
    """A label that fills the lower half, another that fills a quarter; the rest has none."""
    labels = torch.zeros(1, 2, *SHAPE)
    labels[:, 0, :2] = 1.0
    labels[:, 1, 2:, :3] = 1.0
    return labels


def distinct_features(labels):
    """Features that are a different unit vector for each label and for the rest."""
    return torch.cat([1.0 - labels.sum(1, keepdim=True), labels], dim=1)


def test_distinct_features_have_the_smallest_loss():
    labels = halves()
    loss = feature_dissimilarity([distinct_features(labels)], [distinct_features(labels)], labels, labels)
    assert float(loss) == pytest.approx(math.log(1.0 + 2.0 * math.exp(-INVERSE_TEMPERATURE)), rel=1e-3)


def test_features_must_agree_between_the_images():
    labels = halves()
    features = distinct_features(labels)
    exchanged = features[:, [1, 0, 2]]
    # Those of the second label agree; the others each point at the other's. A voxel counts as the root of its
    # label's size says: that of the half 2 ** 0.5, those of the quarters 4 ** 0.5.
    wrong, right = 0.25 * 4**0.5 + 0.5 * 2**0.5, 0.25 * 4**0.5
    expected = INVERSE_TEMPERATURE * wrong / (wrong + right)
    loss = feature_dissimilarity([features], [exchanged], labels, labels)
    assert float(loss) == pytest.approx(expected, rel=1e-3)


def test_labels_may_lie_elsewhere_and_on_a_finer_grid():
    labels = halves()
    moved = labels.flip(2)
    fine = [functional.interpolate(volume, scale_factor=2) for volume in (labels, moved)]
    loss = feature_dissimilarity([distinct_features(labels)], [distinct_features(moved)], *fine)
    assert float(loss) < 1e-3
    torch.testing.assert_close(average_on_grid(fine[0], SHAPE), labels)


def test_learning_makes_features_alike_and_pairs_of_a_batch_do_not_mix():
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([halves(), halves().flip(3)])
    raw = torch.randn(2, 4, 2, *SHAPE, generator=generator).requires_grad_()
    optimiser = torch.optim.Adam([raw], lr=0.1)

    def loss(part=slice(None)):
        moving, fixed = functional.normalize(raw[part], dim=1).unbind(2)
        return feature_dissimilarity([moving], [fixed], labels[part], labels[part])

    together, apart = loss().item(), (loss(slice(0, 1)) + loss(slice(1, 2))).item() / 2
    assert together == pytest.approx(apart, rel=1e-4)
    for _ in range(60):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss().item() < 0.3 * together
