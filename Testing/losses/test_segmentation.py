import math

import pytest
import torch

from SLSFGRLib.losses.segmentation import FEW_VOXELS, _CrossEntropyAndDice, segmentation_loss, soft_dice_loss

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


def written_out(logits, target, weight, rarity, part=1.0):
    """The loss of one image in plain terms: (K, D, H, W) and (1, D, H, W)."""
    probability, volumes = logits.softmax(0), (weight * target).sum((1, 2, 3))
    scarce = (volumes + FEW_VOXELS) ** -rarity / (volumes * (volumes + FEW_VOXELS) ** -rarity).sum()
    entropy = -(scarce[:, None, None, None] * weight * target * probability.log()).sum()
    losses = []
    for found, wanted in zip(probability[1:], target[1:], strict=True):
        if (wanted * weight).sum() > 0:
            overlap = 2.0 * (weight[0] * found * wanted).sum() + FEW_VOXELS
            losses.append(1.0 - overlap / ((weight[0] * (found + wanted)).sum() + FEW_VOXELS))
    return entropy + part * (torch.stack(losses).mean() if losses else 0.0)


# --- soft Dice ----------------------------------------------------------------------------------------------


def test_dice_loss_is_that_of_hand_computed_numbers():
    first, second = volume(1.0, 1.0, 0.5, 0.0), volume(1.0, 0.0, 0.5, 0.25)
    # Common 1.25 of 2.5 and 1.75, and one voxel more above and below.
    assert float(soft_dice_loss(first, second)) == pytest.approx(1.0 - 3.5 / 5.25)
    weight = volume(1.0, 0.5, 0.0, 2.0)
    # Common 1; sums 1.5 and 1.5.
    assert float(soft_dice_loss(first, second, weight)) == pytest.approx(1.0 - 3.0 / 4.0)
    assert float(soft_dice_loss(first, second, torch.zeros_like(weight))) == 0.0


def test_dice_loss_is_the_mean_over_channels_and_batch():
    one, none, half = volume(1.0, 1.0), volume(0.0, 0.0), volume(1.0, 0.0)
    first = torch.cat([torch.cat([one, none], 1), torch.cat([half, half], 1)])
    second = torch.cat([torch.cat([one, none], 1), torch.cat([one, none], 1)])
    # 1 and 1 (empty in both); (2 + 1) / (3 + 1) and 1 / 2.
    assert float(soft_dice_loss(first, second)) == pytest.approx(1.0 - (1.0 + 1.0 + 0.75 + 0.5) / 4.0)


def test_dice_loss_falls_as_the_overlap_grows():
    line = torch.arange(30.0)
    fixed = ((line > 10) & (line < 20)).float().view(1, 1, -1, 1, 1)
    losses = [float(soft_dice_loss(fixed.roll(shift, 2), fixed)) for shift in (9, 6, 3, 1, 0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 0.9
    assert losses[-1] == 0.0


# --- cross-entropy and Dice ---------------------------------------------------------------------------------


def test_segmentation_loss_is_that_of_hand_computed_numbers():
    # Two voxels, background and one structure; the first voxel is the structure with a probability of 0.8.
    logits = volume(0.0, 0.0, math.log(4.0), 0.0, channels=2)
    target = volume(0.0, 1.0, 1.0, 0.0, channels=2)
    entropy = -(math.log(0.8) + math.log(0.5)) / 2.0
    dice = (2.0 * 0.8 + 1.0) / (0.8 + 0.5 + 1.0 + 1.0)
    assert float(segmentation_loss(logits, target)) == pytest.approx(entropy + 1.0 - dice)
    # The first voxel thrice as much as the second: three voxels of the structure, each by 1 / sqrt(3 + 1), and one
    # of background by 1 / sqrt(1 + 1).
    entropy = -(1.5 * math.log(0.8) + math.sqrt(0.5) * math.log(0.5)) / (1.5 + math.sqrt(0.5))
    dice = (2.0 * 2.4 + 1.0) / (2.4 + 0.5 + 3.0 + 1.0)
    assert float(segmentation_loss(logits, target, volume(3.0, 1.0), 0.5)) == pytest.approx(entropy + 1.0 - dice)


def test_background_and_absent_structures_are_left_out_of_the_dice():
    logits = volume(0.3, -0.2, 1.0, 0.5, 0.1, 0.7, channels=3)
    nothing = volume(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, channels=3)
    entropy = -logits.log_softmax(1)[0, 0].mean()
    assert float(segmentation_loss(logits, nothing)) == pytest.approx(float(entropy))
    one = volume(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, channels=3)
    probability = logits.softmax(1)[0, :, :, 0, 0]
    entropy = -(probability[0, 0].log() + probability[1, 1].log()) / 2.0
    dice = (2.0 * probability[1, 1] + 1.0) / (probability[1].sum() + 2.0)
    assert float(segmentation_loss(logits, one)) == pytest.approx(float(entropy + 1.0 - dice))


@pytest.mark.parametrize(
    ("weighted", "rarity", "part"), [(False, 0.0, 1.0), (False, 0.5, 0.1), (True, 0.0, 0.0), (True, 0.7, 1.0)]
)
def test_segmentation_loss_and_its_gradient_are_those_of_the_plain_formula(weighted, rarity, part):
    target = shares()
    target[1, 2] = 0.0
    target[1] /= target[1].sum(0)
    weight = torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(5)) if weighted else None
    ours, plain = random_logits().requires_grad_(), random_logits().requires_grad_()
    loss = segmentation_loss(ours, target, weight, rarity, part)
    weights = torch.ones(2, 1, *SHAPE) if weight is None else weight
    expected = torch.stack([written_out(plain[i], target[i], weights[i], rarity, part) for i in range(2)]).mean()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (3.0 * loss).backward()
    (3.0 * expected).backward()
    assert plain.grad.abs().max() > 0.01
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-6, rtol=1e-4)


def test_written_out_gradient_is_the_numerical_one():
    rows, wanted = (tensor.double().flatten(2).mT for tensor in (random_logits(), shares()))
    weight = torch.rand(*rows.shape[:2], 1, dtype=torch.double, generator=torch.Generator().manual_seed(5))
    for weights, rarity in ((torch.ones_like(weight), 0.5), (weight, 0.0), (0.01 * weight, 0.5)):
        leaf = rows.clone().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda logits, w=weights, r=rarity: _CrossEntropyAndDice.apply(logits, wanted, w, r, 0.7), leaf
        )


def test_target_and_weight_carry_no_gradient():
    logits, target = random_logits().requires_grad_(), shares().requires_grad_()
    weight = torch.ones(2, 1, *SHAPE, requires_grad=True)
    segmentation_loss(logits, target, weight).backward()
    assert target.grad is None
    assert weight.grad is None


def test_voxels_without_weight_get_no_gradient():
    logits = random_logits().requires_grad_()
    weight = torch.ones(2, 1, *SHAPE)
    weight[:, :, 1] = 0.0
    segmentation_loss(logits, shares(), weight).backward()
    assert not logits.grad[:, :, 1].any()
    assert logits.grad[:, :, 0].abs().min() > 0


def test_layout_in_memory_changes_nothing():
    last = torch.channels_last_3d
    expected = segmentation_loss(random_logits(), shares())
    found = segmentation_loss(random_logits().contiguous(memory_format=last), shares().contiguous(memory_format=last))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_mixed_precision_leaves_the_sums_over_voxels_their_digits():
    logits, target = random_logits(), shares()
    expected = segmentation_loss(logits, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(segmentation_loss(logits, target), expected)


def test_learning_brings_the_loss_to_nothing():
    target = torch.nn.functional.one_hot(shares().argmax(1), CLASSES).movedim(-1, 1).float()
    logits = random_logits().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.5)
    for _ in range(60):
        optimiser.zero_grad()
        segmentation_loss(logits, target).backward()
        optimiser.step()
    assert float(segmentation_loss(logits, target).detach()) < 0.01
