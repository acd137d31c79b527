import math

import pytest
import torch

from SLSFGRLib.losses.segmentation import segmentation_loss

CLASSES = 4
SHAPE = (3, 4, 2)


def volume(*values, channels=1):
    """Values in a row of voxels: (1, channels, N, 1, 1)."""
    return torch.tensor(values).view(1, channels, -1, 1, 1)


def shares(seed=0, count=2, classes=CLASSES):
    values = torch.rand(count, classes, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return values / values.sum(1, keepdim=True)


def random_logits(seed=0, count=2):
    return 2.0 * torch.randn(count, CLASSES, *SHAPE, generator=torch.Generator().manual_seed(seed))


def loss_of_one_image(logits, target, exponent, dice_weight):
    """The loss in plain terms, class by class; both (K, D, H, W)."""
    probability, sizes = logits.softmax(0), target.sum((1, 2, 3))
    weights = (sizes + 1.0) ** -exponent / (sizes * (sizes + 1.0) ** -exponent).sum()
    entropy = -(weights[:, None, None, None] * target * probability.log()).sum()
    losses = []
    for found, wanted in zip(probability[1:], target[1:], strict=True):
        if wanted.sum() > 0:
            losses.append(1.0 - (2.0 * (found * wanted).sum() + 1.0) / ((found + wanted).sum() + 1.0))
    return entropy + dice_weight * torch.stack(losses).mean()


def test_segmentation_loss_is_that_of_hand_computed_numbers():
    # Two voxels, background and one structure; the first voxel is the structure with a probability of 0.8.
    logits = volume(0.0, 0.0, math.log(4.0), 0.0, channels=2)
    target = volume(0.0, 1.0, 1.0, 0.0, channels=2)
    entropy = -(math.log(0.8) + math.log(0.5)) / 2.0
    dice = (2.0 * 0.8 + 1.0) / (0.8 + 0.5 + 1.0 + 1.0)
    assert float(segmentation_loss(logits, target)) == pytest.approx(entropy + 1.0 - dice)
    # One voxel of the structure and one of background, both with a weight of 1 / sqrt(1 + 1), which is scaled to 1 / 2.
    assert float(segmentation_loss(logits, target, 0.5)) == pytest.approx(entropy + 1.0 - dice)
    assert float(segmentation_loss(logits, target, dice_weight=0.1)) == pytest.approx(entropy + 0.1 * (1.0 - dice))


@pytest.mark.parametrize(("exponent", "dice_weight"), [(0.0, 1.0), (0.5, 0.1), (0.7, 0.0)])
def test_segmentation_loss_and_its_gradient_are_those_of_the_plain_formula(exponent, dice_weight):
    target = shares()
    target[1, 2] = 0.0
    target[1] /= target[1].sum(0)
    ours, plain = random_logits().requires_grad_(), random_logits().requires_grad_()
    loss = segmentation_loss(ours, target, exponent, dice_weight)
    expected = torch.stack([loss_of_one_image(plain[i], target[i], exponent, dice_weight) for i in range(2)]).mean()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    loss.backward()
    expected.backward()
    assert plain.grad.abs().max() > 0.01
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-6, rtol=1e-4)


def test_target_gets_no_gradient():
    logits, target = random_logits().requires_grad_(), shares().requires_grad_()
    segmentation_loss(logits, target).backward()
    assert target.grad is None


def test_mixed_precision_leaves_the_sums_over_voxels_their_digits():
    logits, target = random_logits(), shares()
    expected = segmentation_loss(logits, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(segmentation_loss(logits, target), expected)
