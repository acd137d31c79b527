import math

import numpy as np
import pytest
import torch
from phantoms import noise, smooth_field
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter, map_coordinates

from SLSFGRLib.spatial.fields import (
    compose,
    compose_with_step,
    downsample,
    integrate,
    invert,
    jacobian_determinant,
    moving_average,
    resize_field,
    sample,
    smooth,
    vector_norms,
    voxel_grid,
    warp,
)

SHAPE = (9, 12, 10)
# Rows give the displacement along each array axis; not symmetric, so that a transposed matrix is found out.
MATRIX = torch.tensor([[0.10, 0.04, -0.03], [-0.05, 0.06, 0.02], [0.01, -0.07, -0.08]])


def constant_field(vector, shape=SHAPE):
    return torch.tensor(vector).view(1, 3, 1, 1, 1).expand(1, 3, *shape).clone()


def linear_field(matrix, shape=SHAPE, offset=(0.0, 0.0, 0.0)):
    """``u(x) = matrix (x - centre) + offset``."""
    centre = torch.tensor([(size - 1) / 2 for size in shape]).view(1, 3, 1, 1, 1)
    return torch.einsum("rc,bcdhw->brdhw", matrix, voxel_grid(shape) - centre) + constant_field(offset, shape)


def inner(volume, width):
    return volume[..., width:-width, width:-width, width:-width]


def test_channel_of_voxel_grid_is_the_index_along_that_axis():
    assert voxel_grid((3, 4, 5))[0, :, 2, 1, 4].tolist() == [2.0, 1.0, 4.0]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_sample_does_not_depend_on_the_number_of_threads(threads, monkeypatch):
    image, field = noise(1, 2, *SHAPE), smooth_field(2.0, SHAPE)
    positions = (voxel_grid(SHAPE) + field)[..., :7]
    axes = [positions[0, axis].numpy() for axis in range(3)]
    expected = np.stack([map_coordinates(channel.numpy(), axes, order=1, mode="nearest") for channel in image[0]])
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = sample(image, positions)
    assert found.shape == (1, 2, 9, 12, 7)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -2, 0), (0, 0, 3), (2, 1, -1)])
def test_integer_shift_moves_voxels_exactly(shift):
    image = noise(1, 1, *SHAPE)
    warped = warp(image, constant_field([float(step) for step in shift]))
    # Pull-back: the voxel at x gets what lies at x + u.
    expected = torch.roll(image, [-step for step in shift], (2, 3, 4))
    torch.testing.assert_close(inner(warped, 3), inner(expected, 3), atol=1e-5, rtol=0)


def test_outside_is_the_continued_edge_or_nothing():
    image = noise(1, 1, *SHAPE) + 5.0
    shift = constant_field([0.0, 0.0, 4.0])
    continued = image[..., -1:].expand(*image.shape[:-1], 4)
    torch.testing.assert_close(warp(image, shift)[..., -4:], continued, atol=1e-5, rtol=0)
    assert warp(image, shift, padding="zeros")[..., -4:].abs().max() < 1e-4


def test_composing_linear_fields_multiplies_their_matrices():
    inner_matrix = MATRIX.T * 0.8
    both = compose(linear_field(MATRIX), linear_field(inner_matrix))
    expected = (torch.eye(3) + MATRIX) @ (torch.eye(3) + inner_matrix) - torch.eye(3)
    torch.testing.assert_close(inner(both, 2), inner(linear_field(expected), 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("step", [[0.3, -0.9, 0.0], [-0.5, 0.5, 1.0]])
def test_composing_with_the_same_step_everywhere_interpolates(step):
    field, inner_field = noise(1, 3, *SHAPE), constant_field(step)
    before = field.clone()
    torch.testing.assert_close(compose_with_step(field, inner_field), compose(field, inner_field), atol=1e-4, rtol=0)
    assert torch.equal(field, before)


def test_composing_with_a_smooth_step_is_nearly_composing():
    field, step = smooth_field(2.0), smooth_field(0.5, seed=1)
    both = compose(field, step)
    assert vector_norms(both - field).max() > 0.4
    difference = vector_norms(compose_with_step(field, step) - both)
    assert difference.max() < 0.05
    assert difference.mean() < 0.005


def test_many_steps_fold_nothing():
    step = smooth_field(0.5)
    field, at_once = (torch.zeros_like(step) for _ in range(2))
    for _ in range(12):
        field, at_once = compose_with_step(field, step), at_once + step
    assert jacobian_determinant(at_once).min() < 0.0
    assert jacobian_determinant(field).min() > 0.0


def test_linear_velocity_is_integrated_to_the_matrix_exponential():
    expected = torch.tensor(expm(3 * MATRIX.double().numpy()), dtype=torch.float32) - torch.eye(3)
    shape = (24, 24, 24)
    field = integrate(linear_field(3 * MATRIX, shape), steps=10)
    torch.testing.assert_close(inner(field, 8), inner(linear_field(expected, shape), 8), atol=5e-3, rtol=0)
    assert (inner(field, 8) - inner(linear_field(3 * MATRIX, shape), 8)).abs().max() > 0.05


@pytest.mark.parametrize("amount", [0.5, 3.0])
def test_inverse_composes_to_the_identity_on_both_sides(amount):
    field = integrate(smooth_field(amount, (28, 32, 30)))
    inverse, residual = invert(field)
    assert field.norm(dim=1).max() > 0.4 * amount
    assert compose(field, inverse).norm(dim=1).max() < 0.03
    assert compose(inverse, field).norm(dim=1).mean() < 0.03
    torch.testing.assert_close(residual, compose(field, inverse).norm(dim=1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("slope", [1.3, 2.5, 5.0])
def test_field_with_a_slope_above_one_is_inverted(slope):
    # Plain fixed-point steps diverge: they multiply the error by the slope. Half steps diverge from 3 on.
    matrix = torch.diag(torch.tensor([slope, -0.4, 0.0]))
    shape = (20, 20, 20)
    inverse, _ = invert(linear_field(matrix, shape))
    expected = linear_field(torch.linalg.inv(torch.eye(3) + matrix) - torch.eye(3), shape)
    torch.testing.assert_close(inverse[:, :, :, 6:14], expected[:, :, :, 6:14], atol=0.05, rtol=0)


@pytest.mark.parametrize("new", [(18, 24, 20), (5, 6, 5), (9, 6, 20)])
def test_resized_linear_field_is_the_same_motion_in_new_voxels(new):
    ratio = torch.tensor([after / before for after, before in zip(new, SHAPE, strict=True)])
    resized = resize_field(linear_field(MATRIX, SHAPE, (1.0, 2.0, -1.0)), new)
    expected = linear_field(ratio[:, None] * MATRIX / ratio, new, (ratio * torch.tensor([1.0, 2.0, -1.0])).tolist())
    torch.testing.assert_close(inner(resized, 2), inner(expected, 2), atol=1e-5, rtol=0)


def test_downsampling_averages_blocks():
    image = noise(1, 1, 4, 6, 8)
    expected = image.view(1, 1, 2, 2, 3, 2, 4, 2).mean(dim=(3, 5, 7))
    torch.testing.assert_close(downsample(image, 2), expected)
    assert downsample(image, 1) is image
    torch.testing.assert_close(
        downsample(noise(1, 1, 5, 7, 9), 2), downsample(noise(1, 1, 5, 7, 9)[:, :, :4, :6, :8], 2)
    )


@pytest.mark.parametrize("factor", [2, 3])
def test_moving_average_holds_what_downsampling_gives(factor):
    image = noise(1, 2, 9, 12, 10)
    average = moving_average(image, factor)
    torch.testing.assert_close(average[..., ::factor, ::factor, ::factor], downsample(image, factor))
    expected = image[0, 1, 4 : 4 + factor, 5 : 5 + factor, 6 : 6 + factor].mean()
    torch.testing.assert_close(average[0, 1, 4, 5, 6], expected)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_smooth_is_a_gaussian(sigma):
    volume = noise(1, 2, 20, 22, 24)
    expected = np.stack(
        [
            gaussian_filter(channel.double().numpy(), sigma, mode="nearest", radius=max(1, math.ceil(3 * sigma - 0.5)))
            for channel in volume[0]
        ]
    )
    np.testing.assert_allclose(smooth(volume, sigma)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "matrix",
    [
        torch.diag(torch.tensor([0.2, -0.3, 0.5])),
        torch.tensor([[0.0, 0.7, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        torch.tensor([[0.0, 0.7, 0.0], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]),
        10 * MATRIX,
    ],
    ids=["scaling", "one shear", "two shears", "folding shear", "general"],
)
def test_jacobian_determinant_of_a_linear_field_is_that_of_its_matrix(matrix):
    expected = torch.linalg.det(torch.eye(3) + matrix).expand(1, *SHAPE)
    torch.testing.assert_close(jacobian_determinant(linear_field(matrix)), expected, atol=1e-4, rtol=0)


def test_pairs_in_a_batch_do_not_touch_one_another():
    images, fields = noise(3, 2, *SHAPE), 0.5 * noise(3, 3, *SHAPE, seed=1)
    for function in (lambda a, b: warp(a, b), lambda a, b: compose(b, 0.5 * b), lambda a, b: integrate(b)):
        together = function(images, fields)
        alone = torch.cat([function(images[i : i + 1], fields[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
