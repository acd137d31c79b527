"""The optimisation of a displacement field on the channels of two brains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from phantoms import smooth_diffeomorphism, texture

from SLSFGRLib.losses import LocalCorrelation
from SLSFGRLib.registration.channels import INTENSITY, ChannelImage
from SLSFGRLib.registration.field_optimisation import Level, optimise_field
from SLSFGRLib.segmentation.tissue_maps import TISSUES
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import downsample, jacobian_determinant, resize_image, warp
from SLSFGRLib.spatial.grid import Grid
from SLSFGRLib.spatial.warping import AffineWarper

SHAPE = (40, 48, 56)
LEVELS = (Level(spacing=2.0, iterations=15), Level(spacing=1.0, iterations=10))
IDENTITY = Affine.identity()


def channel_image(intensity: torch.Tensor, spacing: float = 1.0, **channels: torch.Tensor) -> ChannelImage:
    return ChannelImage(Grid.upright(intensity.shape[2:], spacing), {INTENSITY: intensity} | channels)


@pytest.fixture(scope="module")
def recovered() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Moving and fixed image, the known field between them, and the one that was found."""
    moving, truth = texture(SHAPE, 1.5), smooth_diffeomorphism(SHAPE, 3.0)
    fixed = warp(moving, truth)
    found = optimise_field(channel_image(fixed), channel_image(moving), IDENTITY, LEVELS)
    return moving, fixed, truth, found


def mean_length(field: torch.Tensor) -> float:
    """Return the mean length away from the border, where the images end."""
    return float(field[:, :, 6:-6, 6:-6, 6:-6].norm(dim=1).mean())


def test_known_field_is_recovered(recovered):
    _, _, truth, found = recovered
    assert mean_length(truth) > 0.8
    assert mean_length(found - truth) < 0.25 * mean_length(truth)


def test_images_become_similar_and_nothing_folds(recovered):
    moving, fixed, _, found = recovered
    dissimilarity = LocalCorrelation()
    assert dissimilarity(warp(moving, found), fixed) < 0.2 * dissimilarity(moving, fixed)
    assert jacobian_determinant(found).min() > 0


def test_field_is_zero_on_its_border(recovered):
    found = recovered[3]
    for axis in (2, 3, 4):
        assert found.select(axis, 0).abs().max() == 0
        assert found.select(axis, -1).abs().max() == 0


def test_known_field_is_recovered_from_inverted_contrast(recovered):
    moving, fixed, truth, _ = recovered
    found = optimise_field(channel_image(fixed), channel_image(1.0 - moving), IDENTITY, LEVELS)
    assert mean_length(found - truth) < 0.25 * mean_length(truth)


def test_affine_transform_follows_the_field(recovered):
    moving, fixed, truth, _ = recovered
    # The same moving image, stored in reversed order along its first axis: the affine transform undoes that.
    reflection = Affine.from_parts(np.diag([1.0, 1.0, -1.0]), (0.0, 0.0, SHAPE[0] - 1.0))
    found = optimise_field(channel_image(fixed), channel_image(moving.flip(2)), reflection, LEVELS)
    assert mean_length(found - truth) < 0.25 * mean_length(truth)


def test_equal_images_give_no_displacement():
    image = channel_image(texture(SHAPE, 1.5))
    assert optimise_field(image, image, IDENTITY, LEVELS).abs().max() < 0.01


def test_channels_that_the_level_names_are_compared_and_no_others(recovered):
    moving, fixed, truth, _ = recovered
    # The intensities show nothing, and of the tissue maps only that of white matter does.
    blank = torch.full((1, 1, *SHAPE), 0.5)
    pair = tuple(channel_image(blank, csf=blank, gm=blank, wm=image) for image in (fixed, moving))

    def field_with(weights, pair=pair):
        return optimise_field(
            *pair, IDENTITY, [Level(level.spacing, level.iterations, weights=weights) for level in LEVELS]
        )

    all_tissues = {INTENSITY: 1.0} | dict.fromkeys(TISSUES, 0.5)
    for weights in (all_tissues, {INTENSITY: 1.0, "wm": 0.5}):
        assert mean_length(field_with(weights) - truth) < 0.25 * mean_length(truth)
    for weights in ({INTENSITY: 1.0}, {INTENSITY: 1.0, "csf": 0.5, "gm": 0.5}):
        assert field_with(weights).abs().max() < 0.01
    # Channels that the images lack are left out.
    assert field_with(all_tissues, (channel_image(blank), channel_image(blank))).abs().max() < 0.01


def test_channel_with_the_larger_weight_decides_where_two_disagree(recovered):
    moving, fixed, truth, _ = recovered
    # By the intensities the brains differ by the known field, by the map of white matter they are equal.
    pair = channel_image(fixed, wm=moving), channel_image(moving, wm=moving)
    errors = {}
    for weight in (0.1, 10.0):
        levels = [Level(level.spacing, level.iterations, weights={INTENSITY: 1.0, "wm": weight}) for level in LEVELS]
        found = optimise_field(*pair, IDENTITY, levels)
        errors[weight] = mean_length(found - truth), mean_length(found)
    assert errors[0.1][0] < 0.5 * errors[0.1][1]
    assert errors[10.0][1] < 0.5 * errors[10.0][0]


def test_more_smoothing_of_the_field_makes_it_smoother(recovered):
    moving, fixed, _, _ = recovered
    rough, smoother = (
        optimise_field(channel_image(fixed), channel_image(moving), IDENTITY, [Level(2.0, 15, field_sigma=sigma)])
        for sigma in (0.6, 1.2)
    )
    assert jacobian_determinant(smoother).std() < 0.9 * jacobian_determinant(rough).std()


def test_start_is_kept_when_there_is_nothing_to_do(recovered):
    moving, fixed, truth, _ = recovered
    kept = optimise_field(channel_image(fixed), channel_image(moving), IDENTITY, [Level(1.0, 0)], start=truth)
    torch.testing.assert_close(kept, truth)


def test_spacing_of_a_level_is_in_millimetres():
    grid = Grid.upright(SHAPE, 2.0)
    assert [Level(spacing, 1).factor(grid) for spacing in (16.0, 4.0, 2.0, 1.0)] == [8, 2, 1, 1]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_warper_without_displacement_averages_as_downsampling_does(factor):
    image = texture(SHAPE, 1.5)
    warper = AffineWarper(image, np.eye(4), SHAPE, factor)
    zero = torch.zeros(1, 3, *[size // factor for size in SHAPE])
    torch.testing.assert_close(warper(zero), downsample(image, factor), atol=1e-5, rtol=0)


def test_warper_applies_the_matrix_after_the_field():
    image = resize_image(torch.rand(1, 1, 5, 6, 7, generator=torch.Generator().manual_seed(2)), SHAPE)
    matrix = np.array([[0.0, 1.0, 0.0, 2.0], [1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.5], [0, 0, 0, 1.0]])
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 0], field[:, 2] = 1.5, -2.0
    found = AffineWarper(image, matrix, SHAPE, 1)(field)
    # Voxel (20, 20, 20): after the field (21.5, 20, 18), after the matrix (22, 20.5, 18.5).
    corners = image[0, 0, 22, 20:22, 18:20]
    assert float(found[0, 0, 20, 20, 20]) == pytest.approx(float(corners.mean()), abs=1e-5)
