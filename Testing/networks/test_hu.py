import math

import pytest
import torch

from SLSFGRLib.losses.label_overlap import MultiScaleLabelSimilarity
from SLSFGRLib.networks import CompositeNetwork, GlobalNetwork, LocalNetwork
from SLSFGRLib.networks.feature_pyramid import self_similarity
from SLSFGRLib.networks.hu import RADIUS
from SLSFGRLib.networks.lucas_kanade import SCALE, FlowStep, solved
from SLSFGRLib.spatial.fields import (
    compose,
    downsample,
    integrate,
    jacobian_determinant,
    resize_field,
    smooth,
    voxel_grid,
    warp,
)

SHAPE = (16, 24, 16)
FIELD_SHAPE = (8, 12, 8)
LOCAL = {"channels": (4, 6, 5), "matching_channels": 4}
BUILD = {
    "hu": lambda: CompositeNetwork((4, 6, 8), **LOCAL),
    "hu_local": lambda: LocalNetwork(**LOCAL),
    "hu_global": lambda: GlobalNetwork((4, 6, 8)),
}


def images(count=2, shape=SHAPE, seed=0):
    noise = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(seed))
    return (4.0 * smooth(noise, 1.5) - 1.5).clamp(0, 1)


def network(name, spread=None):
    """A small network; with ``spread`` the weights that start at zero are random."""
    torch.manual_seed(0)
    made = BUILD[name]()
    if spread is not None:
        with torch.no_grad():
            for part, parameter in made.named_parameters():
                if "trust" in part or "logarithm" in part:
                    parameter.normal_(std=spread)
    return made


def same_shift(field, shift):
    expected = torch.tensor(shift).view(1, 3, 1, 1, 1).expand_as(field)
    torch.testing.assert_close(field, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", BUILD)
def test_fresh_network_moves_nothing(name):
    for field in network(name)(*images().split(1)):
        assert field.shape == (1, 3, *FIELD_SHAPE)
        assert float(field.detach().abs().max()) == 0.0


@pytest.mark.parametrize("name", BUILD)
def test_field_of_a_pair_does_not_depend_on_its_batch(name):
    made = network(name, spread=1.0)
    moving, fixed = images(6).split(3)
    together = made(moving, fixed)[-1]
    for number in range(3):
        alone = made(moving[number : number + 1], fixed[number : number + 1])[-1]
        assert float(alone.detach().abs().max()) > 0.1
        torch.testing.assert_close(together[number : number + 1], alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", BUILD)
def test_any_size_that_is_a_multiple_will_do(name):
    made = network(name, spread=0.5)
    assert made.size_multiple == 8
    for shape in ((16, 8, 8), (24, 16, 40)):
        (moving, fixed) = images(2, shape).split(1)
        assert made(moving, fixed)[-1].shape == (1, 3, *(size // 2 for size in shape))


@pytest.mark.parametrize("name", BUILD)
def test_every_parameter_learns_from_labels(name):
    moving, fixed = images().split(1)
    labels = [downsample((image > 0.5).float(), 2) for image in (moving, fixed)]
    made = network(name)
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    # What starts at zero lets no gradient through to what lies before it.
    for _ in range(2):
        optimiser.zero_grad()
        field = made(moving, fixed)[-1]
        MultiScaleLabelSimilarity()(warp(labels[0], field, padding="zeros"), labels[1]).backward()
        optimiser.step()
    for part, parameter in made.named_parameters():
        assert torch.isfinite(parameter.grad).all(), part
        assert float(parameter.grad.abs().max()) > 0.0, part


class Constant(torch.nn.Module):
    """A step that always returns the same."""

    def __init__(self, velocity):
        super().__init__()
        self.velocity = torch.tensor(velocity).view(1, 3, 1, 1, 1)

    def forward(self, warped, fixed):
        return self.velocity.expand(len(fixed), -1, *fixed.shape[2:]).clone()


def test_velocity_is_the_sum_over_the_resolutions_in_the_voxels_of_the_finest():
    made = network("hu_local")
    pair = [described.compared for described in made.describe(*images().split(1))]
    made.steps[0][0] = Constant((0.3, -0.2, 0.1))
    same_shift(made.velocity(*pair), (1.2, -0.8, 0.4))
    made.steps[2][0] = Constant((0.0, 0.5, 0.0))
    same_shift(made.velocity(*pair), (1.2, -0.3, 0.4))
    made.steps[1][0] = Constant((0.0, 0.0, 0.2))
    same_shift(made.velocity(*pair), (1.2, -0.3, 0.8))


def test_each_step_sees_what_those_before_it_have_left():
    made = network("hu_local", spread=0.03)
    seen = []
    last = made.steps[2][0]
    last.register_forward_pre_hook(lambda step, inputs: seen.append(inputs))
    moving, fixed = (described.compared for described in made.describe(*images().split(1)))
    whole = made.velocity(moving, fixed)
    warped, same = seen[0]
    assert torch.equal(same, fixed[2])
    before = whole - smooth(last(warped, fixed[2]), 1.0)
    assert float(before.detach().abs().max()) > 0.05
    torch.testing.assert_close(warped, warp(moving[2], integrate(before, 5)), atol=1e-3, rtol=0)


def test_long_velocities_do_not_fold():
    (field,) = network("hu_local", spread=0.2)(*images(2, (64, 64, 64)).split(1))
    assert float(field.detach().abs().max()) > 2.0
    assert float(jacobian_determinant(field.detach()).min()) > 0.0


def test_what_is_compared_before_anything_is_learned_does_not_depend_on_the_contrast():
    image = images(1, (32, 32, 32))
    known, other = (self_similarity(one, 3) for one in (image, 0.8 - 0.5 * image))
    assert [tuple(level.shape) for level in known] == [(1, 12, *[size] * 3) for size in (4, 8, 16)]
    for level, same in zip(known, other, strict=True):
        torch.testing.assert_close(level, same, atol=1e-3, rtol=0)
        lengths = level.norm(dim=1)
        assert float(lengths.max()) <= 1.0
        assert float(lengths.mean()) > 0.5
    assert float(self_similarity(torch.zeros(1, 1, 8, 8, 8), 1)[0].abs().max()) == 0.0


def waves(shift=(0.0, 0.0, 0.0), shape=(20, 24, 22)):
    """Four features of length one that depend on the position, of a shifted head."""
    place = voxel_grid(shape) + torch.tensor(shift).view(1, 3, 1, 1, 1)
    angles = [0.3 * place[:, axis] + 0.2 * place[:, (axis + 1) % 3] for axis in range(3)]
    features = torch.stack([*(angle.sin() for angle in angles), angles[0].cos()], dim=1)
    return features / features.norm(dim=1, keepdim=True)


def test_step_finds_a_shift_and_follows_it_as_far_as_it_trusts():
    step = FlowStep()
    with torch.no_grad():
        step.trust.fill_(0.5 / SCALE)
        step.caution.fill_(-8.0 / SCALE)
    shift = torch.tensor((0.3, -0.2, 0.1))
    found = step(waves(), waves(shift.tolist())).detach()[0, :, 6:-6, 6:-6, 6:-6].flatten(1)
    expected = 0.5 * shift.tanh()
    torch.testing.assert_close(found, expected[:, None].expand_as(found), atol=0.01, rtol=0)


def test_step_is_cautious_where_features_are_alike():
    step = FlowStep()
    with torch.no_grad():
        step.trust.fill_(1.0 / SCALE)
    flat = torch.ones(1, 4, 8, 8, 8) / 2.0
    assert float(step(flat, flat).detach().abs().max()) == 0.0
    lengths = []
    for caution in (-4.0, 0.0, 4.0):
        with torch.no_grad():
            step.caution.fill_(caution / SCALE)
        lengths.append(float(step(waves(), waves((0.3, 0.0, 0.0))).detach().norm(dim=1).mean()))
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[2] < 0.2 * lengths[0]


def test_three_equations_are_solved_in_every_voxel():
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(5, 3, 3, generator=generator)
    matrix, right = half @ half.mT, torch.randn(5, 3, generator=generator)
    upper = torch.stack([matrix[:, row, column] for row in range(3) for column in range(row, 3)], dim=1)
    found = solved(torch.cat([upper, right], dim=1), 0.5)
    expected = torch.linalg.solve(matrix + 0.5 * torch.eye(3), right)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_features_are_the_image_s_own_and_of_length_one():
    made = network("hu_local")
    moving, fixed = images().split(1)
    _, described = made.describe(moving, fixed)
    again, _ = made.describe(fixed, fixed)
    assert [tuple(level.shape) for level in described.features] == [(1, 4, 2, 3, 2), (1, 4, 4, 6, 4), (1, 4, 8, 12, 8)]
    assert [level.shape[1] for level in described.compared] == [16, 16, 16]
    for level, alone in zip(described.compared, again.compared, strict=True):
        torch.testing.assert_close(level, alone, atol=1e-4, rtol=0)
    for level in described.features:
        torch.testing.assert_close(level.norm(dim=1), torch.ones_like(level[:, 0]), atol=1e-2, rtol=0)


# --- affine -------------------------------------------------------------------------------------------------


def set_logarithm(made, rows):
    with torch.no_grad():
        made.logarithm.bias.copy_(torch.tensor(rows).flatten() / made.gain)


def test_shift_is_in_radii_and_the_same_for_every_size():
    made = network("hu_global")
    set_logarithm(made, [[0.0, 0.0, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, -0.2]])
    for shape in (SHAPE, (24, 16, 32)):
        same_shift(made(*images(2, shape).split(1))[0], (0.1 * RADIUS, 0.0, -0.2 * RADIUS))


def test_rotation_is_about_the_middle():
    made = network("hu_global")
    angle = 0.3
    set_logarithm(made, [[0.0, -angle, 0.0, 0.0], [angle, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    (field,) = made(*images().split(1))
    offset = voxel_grid(FIELD_SHAPE) - torch.tensor([3.5, 5.5, 3.5]).view(1, 3, 1, 1, 1)
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0], [0.0, 0.0, 1.0]]
    )
    expected = torch.einsum("rc,bcdhw->brdhw", turn, offset) - offset
    torch.testing.assert_close(field, expected, atol=1e-4, rtol=0)


def test_affine_transformation_never_mirrors():
    made = network("hu_global")
    set_logarithm(made, [[-3.0, 1.0, 0.0, 0.5], [2.0, -2.0, 1.0, 0.0], [0.0, 1.0, -4.0, 0.0]])
    matrix = made.matrix(*images().split(1))
    assert float(torch.linalg.det(matrix[0]).detach()) == pytest.approx(math.exp(-9.0), rel=1e-3)


def test_global_network_can_tell_where_a_feature_lies():
    """Pooled means alone would give the same matrix for an image and its mirror image."""
    made = network("hu_global", spread=1.0)
    moving, fixed = images(2, (32, 32, 32)).split(1)
    matrix, mirrored = made.matrix(moving, fixed), made.matrix(moving.roll(6, dims=2), fixed.roll(6, dims=2))
    assert float((matrix - mirrored).detach().abs().max()) > 1e-3


def test_global_network_learns_a_shift():
    moving, fixed = images(2, (32, 32, 32))[:1].expand(2, -1, -1, -1, -1).split(1)
    made = network("hu_global")
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    moving = moving.roll(3, dims=3)
    for _ in range(60):
        optimiser.zero_grad()
        field = resize_field(made(moving, fixed)[-1], fixed.shape[2:])
        loss = (warp(moving, field) - fixed)[..., 4:-4, 4:-4, 4:-4]
        loss = loss.square().mean()
        loss.backward()
        optimiser.step()
    # In voxels of half the resolution.
    field = made(moving, fixed)[0].detach()[..., 2:-2, 2:-2, 2:-2].mean((0, 2, 3, 4))
    torch.testing.assert_close(field, torch.tensor([0.0, 1.5, 0.0]), atol=0.2, rtol=0)


# --- composition --------------------------------------------------------------------------------------------


def test_composition_of_a_known_affine_and_a_known_local_field():
    """A scaling by 1.1 about the centre after a shift: x -> 1.1 (x - c + shift) + c."""
    made = network("hu")
    set_logarithm(made.affine, [[math.log(1.1), 0, 0, 0], [0, math.log(1.1), 0, 0], [0, 0, math.log(1.1), 0]])
    made.local.steps[-1][0] = Constant((0.5, 0.0, -0.25))
    affine, field = made(*images().split(1))
    shift = torch.tensor([0.5, 0.0, -0.25]).view(1, 3, 1, 1, 1)
    offset = voxel_grid(FIELD_SHAPE) - torch.tensor([3.5, 5.5, 3.5]).view(1, 3, 1, 1, 1)
    torch.testing.assert_close(affine, 0.1 * offset, atol=1e-4, rtol=0)
    torch.testing.assert_close(field, 1.1 * (offset + shift) - offset, atol=1e-4, rtol=0)
    # Adding them, as the public code does, would leave out what the scaling makes of the shift.
    assert float((field - affine - shift).detach().abs().max()) == pytest.approx(0.05, abs=1e-3)


def test_composition_agrees_with_composing_fields_on_the_grid():
    made = network("hu", spread=0.2)
    moving, fixed = images(2, (64, 80, 64)).split(1)
    seen = []
    match = made.local.match
    made.local.match = lambda *described: seen.append(match(*described)) or seen[-1]
    affine, field = made(moving, fixed)
    ((dense,),) = seen
    inner = (slice(None), slice(None), *[slice(8, -8)] * 3)
    assert float(dense.detach().abs().max()) > 0.2
    assert float(affine.detach().abs().max()) > 0.2
    torch.testing.assert_close(field[inner], compose(affine, dense)[inner], atol=2e-3, rtol=0)


def test_features_of_every_resolution_are_aligned_alike():
    made = network("hu")
    set_logarithm(made.affine, [[0.0, 0.0, 0.0, 4.0 / RADIUS], [0.0] * 4, [0.0] * 4])
    seen = []
    match = made.local.match
    made.local.match = lambda moving, fixed: seen.append(moving.compared) or match(moving, fixed)
    moving, fixed = images(2, (64, 32, 32)).split(1)
    made(moving, fixed)
    # Four voxels of the fields are two and one of those with a half and a quarter of their resolution.
    for shift, before, after in zip((1, 2, 4), made.describe(moving, fixed)[0].compared, seen[0], strict=True):
        torch.testing.assert_close(after[:, :, :-shift], before[:, :, shift:], atol=1e-4, rtol=0)
