from dataclasses import replace

import pytest
import torch

from SLSFGRLib.losses.dice import soft_dice
from SLSFGRLib.losses.segmentation import segmentation_loss
from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.networks.sl_sfgr import Description
from SLSFGRLib.spatial.fields import downsample, resize_field, smooth, voxel_grid, warp
from SLSFGRLib.training.methods.semi_supervised_losses import Example, _Direction, pair_losses

SHAPE = (16, 24, 16)
HALF = (8, 12, 8)
CLASSES = 4
INTENSITIES = torch.tensor([0.0, 0.4, 0.7, 1.0]).view(1, CLASSES, 1, 1, 1)


def small_network(**options):
    """A network of few channels in which nothing is zero any longer."""
    torch.manual_seed(0)
    network = SLSFGRNetwork(CLASSES - 1, (4, 6, 8, 8), 4, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("strength") or "layers.3" in name or "gains.2" in name:
                parameter.normal_(std=0.1)
    return network


def labels(seed):
    noise = torch.rand(1, CLASSES, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(smooth(noise, 2.0).argmax(1), CLASSES).movedim(-1, 1).float()


def example(seed, labelled=True):
    """Structures of different intensities."""
    parts = labels(seed)
    image = smooth((parts * INTENSITIES).sum(1, keepdim=True), 0.7)
    return Example(image, image, parts if labelled else None)


def trained_by(loss, network):
    """The names of the parameters that a loss moves."""
    network.zero_grad()
    loss.backward()
    return {
        name for name, parameter in network.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }


def direction(field, moving, fixed, seed=0):
    """One direction with a given field; descriptions have random logits."""
    generator = torch.Generator().manual_seed(seed)
    described = [Description([], 3.0 * torch.randn(1, CLASSES, *SHAPE, generator=generator)) for _ in range(2)]
    fields = [torch.zeros(1, 3, 2, 3, 2), torch.zeros(1, 3, 4, 6, 4), field]
    return _Direction(fields, *described, moving, fixed)


def shift(*voxels):
    """A field that is the same everywhere, at half the resolution."""
    return torch.tensor(voxels).view(1, 3, 1, 1, 1).expand(1, 3, *HALF).clone()


def without(first, second):
    return replace(first, labels=None), replace(second, labels=None)


# --- what each loss moves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["similarity", "anatomy", "roughness"])
def test_terms_of_the_registration_move_the_fields_and_not_the_segmentation(term):
    network = small_network(guidance=False)
    moved = trained_by(pair_losses(network, example(0), example(1), 1.0)[term], network)
    names = {name for name, _ in network.named_parameters()}
    assert moved == {name for name in names if name.startswith(("refinements", "adapters", "encoder"))}


@pytest.mark.parametrize("labelled", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("term", ["similarity", "anatomy"])
def test_terms_of_the_registration_move_the_guides_but_never_the_logits(term, labelled):
    network = small_network()
    moving, fixed = (example(seed, seen) for seed, seen in enumerate(labelled))
    moved = trained_by(pair_losses(network, moving, fixed, 1.0)[term], network)
    assert {"segmenter.merging.0.0.weight", "segmenter.merging.1.0.weight", "adapters.0.value.weight"} <= moved
    assert not {"segmenter.logits.weight", "segmenter.logits.bias", "segmenter.merging.2.0.weight"} & moved


@pytest.mark.parametrize("labelled", [(True, True), (True, False), (False, True), (False, False)])
def test_segmentation_moves_the_segmentation_and_not_the_fields(labelled):
    network = small_network()
    moving, fixed = (example(seed, seen) for seed, seen in enumerate(labelled))
    moved = trained_by(pair_losses(network, moving, fixed, 1.0)["segmentation"], network)
    names = {name for name, _ in network.named_parameters()}
    assert moved == {name for name in names if name.startswith(("segmenter", "encoder"))}


@pytest.mark.parametrize("labelled", [(True, True), (True, False), (False, True), (False, False)])
def test_pairs_with_any_labels_take_one_path(labelled):
    moving, fixed = (example(seed, seen) for seed, seen in enumerate(labelled))
    network = small_network()
    losses = pair_losses(network, moving, fixed, 1.0)
    assert set(losses) == {"similarity", "roughness", "anatomy", "segmentation"}
    for loss in losses.values():
        assert loss.ndim == 0
        assert 0.0 < float(loss.detach()) < 10.0
    # Both directions have the same weight: the two images can be swapped.
    for name, loss in pair_losses(network, fixed, moving, 1.0).items():
        assert float(loss.detach()) == pytest.approx(float(losses[name].detach()), rel=1e-5)


# --- propagated labels --------------------------------------------------------------------------------------


def test_propagated_labels_are_the_labels_under_the_field():
    moving, fixed = example(0), example(1, labelled=False)
    coarse = downsample(moving.labels, 2)
    target, _ = direction(shift(0.0, 0.0, 0.0), moving, fixed).pseudo_labels()
    assert torch.allclose(target, coarse, atol=1e-6)
    target, _ = direction(shift(2.0, -1.0, 0.0), moving, fixed).pseudo_labels()
    torch.testing.assert_close(target[:, :, :6, 1:], coarse[:, :, 2:, :-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(target.sum(1), torch.ones(1, *HALF))


def test_without_labels_the_network_s_own_structures_are_propagated():
    moving, fixed = without(example(0), example(1))
    one = direction(shift(0.0, 0.0, 0.0), moving, fixed)
    torch.testing.assert_close(
        one.pseudo_labels()[0], downsample(one.described_moving.logits.softmax(1), 2), atol=1e-5, rtol=0
    )


def test_propagated_labels_and_their_confidence_have_no_gradient():
    moving, fixed = without(example(0), example(1))
    one = direction(shift(0.5, 0.0, 0.0).requires_grad_(), moving, fixed)
    for description in (one.described_moving, one.described_fixed):
        description.logits.requires_grad_()
    for tensor in one.pseudo_labels():
        assert not tensor.requires_grad
    one.segmentation(1.0).backward()
    assert one.fields[-1].grad is None
    assert one.described_moving.logits.grad is None
    assert one.described_fixed.logits.grad.abs().max() > 0


def test_confidence_is_one_where_the_images_agree_and_small_where_they_do_not():
    def structured(seed):
        return 5.0 * smooth(torch.rand(1, 1, 32, 48, 32, generator=torch.Generator().manual_seed(seed)), 2.0) - 2.0

    first, other = structured(0), structured(1)
    half = torch.cat([first[:, :, :, :24], other[:, :, :, 24:]], dim=3)
    moving, fixed = Example(first, first, first), Example(half, half, None)
    target, confidence = direction(torch.zeros(1, 3, 16, 24, 16), moving, fixed).pseudo_labels()
    assert confidence.shape == target.shape == (1, 1, 16, 24, 16)
    torch.testing.assert_close(confidence[:, :, :, :9], torch.ones(1, 1, 16, 9, 16), atol=1e-3, rtol=0)
    # Away from the border, where both images end alike.
    assert confidence[:, :, 3:-3, 15:-3, 3:-3].mean() < 0.15
    assert confidence.min() >= 0
    assert confidence.max() < 1.0 + 1e-4


def test_pseudo_weight_scales_the_losses_without_labels_only():
    half = direction(shift(0.0, 0.0, 0.0), example(0), example(1, labelled=False))
    whole = float(half.segmentation(1.0))
    assert whole > 0.1
    assert float(half.segmentation(0.25)) == pytest.approx(0.25 * whole)
    assert float(half.segmentation(0.0)) == 0.0
    labelled = direction(shift(0.0, 0.0, 0.0), example(0), example(1))
    expected = float(segmentation_loss(labelled.described_fixed.logits, labelled.fixed.labels))
    for weight in (0.0, 1.0):
        assert float(labelled.segmentation(weight)) == pytest.approx(expected)


def test_little_weight_of_the_overlap_leaves_the_cross_entropy_of_labels_and_little_of_propagated_ones():
    labelled, propagated = (
        direction(shift(0.0, 0.0, 0.0), example(0), example(1, labelled=seen)) for seen in (True, False)
    )
    expected = float(segmentation_loss(labelled.described_fixed.logits, labelled.fixed.labels, dice_weight=0.25))
    assert float(labelled.segmentation(1.0, 0.25)) == pytest.approx(expected)
    assert float(labelled.segmentation(1.0, 0.25)) < float(labelled.segmentation(1.0)) - 0.1
    assert float(propagated.segmentation(1.0, 0.25)) == pytest.approx(0.25 * float(propagated.segmentation(1.0)))


# --- the terms themselves -----------------------------------------------------------------------------------


def test_anatomy_and_similarity_are_best_at_the_true_field():
    moving = example(0)
    # The fixed image is the moving one, seen four voxels, of the field two, further on.
    fixed = Example(*(tensor.roll(-4, 3) for tensor in (moving.image, moving.reference, moving.labels)))
    for term in ("anatomy", "similarity"):
        losses = {
            step: float(getattr(direction(shift(0.0, step, 0.0), moving, fixed), term)())
            for step in (-2.0, 0.0, 1.0, 2.0)
        }
        assert min(losses, key=losses.get) == 2.0
        assert losses[2.0] < losses[0.0] - 0.1


def test_what_was_cut_from_an_image_does_not_pull_the_field():
    whole = example(3)
    seen = whole.labels.clone()
    seen[:, :, :6] = torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1, 1)
    cut = Example(whole.image, whole.reference, seen, whole.labels)
    still = torch.zeros(1, 3, *HALF)
    expected = direction(still, whole, whole).anatomy()
    torch.testing.assert_close(direction(still, cut, whole).anatomy(), expected)
    torch.testing.assert_close(direction(still, whole, cut).anatomy(), expected)
    assert direction(still, replace(cut, anatomy=None), whole).anatomy() > expected + 0.05
    # The segmentation still learns what the image shows.
    description = direction(still, whole, cut).described_fixed
    torch.testing.assert_close(
        direction(still, whole, cut).segmentation(1.0), segmentation_loss(description.logits, seen)
    )


def test_training_on_one_pair_raises_its_dice():
    def nested(*shift):
        radius = (voxel_grid(SHAPE) - torch.tensor([7.5, 11.5, 7.5]).add(torch.tensor(shift)).view(1, 3, 1, 1, 1)) / 2.0
        radius = radius.norm(dim=1)
        parts = torch.nn.functional.one_hot((radius < 3.2).long() + (radius < 2.4) + (radius < 1.5), CLASSES)
        parts = parts.movedim(-1, 1).float()
        return Example(*[smooth((parts * INTENSITIES).sum(1, keepdim=True), 0.7)] * 2, parts)

    def dice():
        with torch.no_grad():
            field = resize_field(network(moving.image, fixed.image)[-1], SHAPE)
            return float(soft_dice(warp(moving.labels, field)[:, 1:], fixed.labels[:, 1:]).mean())

    moving, fixed = nested(1.0, 2.0, 0.0), nested(-1.0, -1.0, 0.5)
    torch.manual_seed(0)
    network = SLSFGRNetwork(CLASSES - 1, (4, 6, 8, 8), 4)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    before = dice()
    for _ in range(12):
        losses = pair_losses(network, moving, replace(fixed, labels=None), 1.0)
        optimiser.zero_grad()
        (losses["similarity"] + losses["anatomy"] + losses["segmentation"] + 0.1 * losses["roughness"]).backward()
        optimiser.step()
    assert dice() > before + 0.2
