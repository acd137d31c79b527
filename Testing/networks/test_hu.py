import math

import pytest
import torch

from SLSFGRLib.networks import CompositeNetwork, GlobalNetwork, LocalNetwork
from SLSFGRLib.networks.feature_pyramid import self_similarity
from SLSFGRLib.networks.hu import RADIUS
from SLSFGRLib.networks.lucas_kanade import SCALE, FlowStep, solved
from SLSFGRLib.spatial.fields import (
    smooth,
    voxel_grid,
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


class Constant(torch.nn.Module):
    """A step that always returns the same."""

    def __init__(self, velocity):
        super().__init__()
        self.velocity = torch.tensor(velocity).view(1, 3, 1, 1, 1)

    def forward(self, warped, fixed):
        return self.velocity.expand(len(fixed), -1, *fixed.shape[2:]).clone()


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
