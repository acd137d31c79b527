"""The optimisation of the field itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from SLSFGRLib.losses import LocalCorrelation
from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.registration.deformable import Level, deform
from SLSFGRLib.segmentation.tissue_maps import TISSUES
from SLSFGRLib.spatial.fields import downsample, integrate, jacobian_determinant, resize_image, smooth, warp
from SLSFGRLib.spatial.grid import Grid
from SLSFGRLib.spatial.warping import AffineWarper

SHAPE = (40, 48, 56)
LEVELS = (Level(spacing=2.0, iterations=15), Level(spacing=1.0, iterations=10))


def prepared(tensor: torch.Tensor, spacing: float = 1.0) -> PreparedImage:
    return PreparedImage(tensor, Grid(tuple(tensor.shape[2:]), np.diag([spacing, spacing, spacing, 1.0])))


def texture(shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    noise = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    blurred = smooth(noise, 1.5)
    return (0.5 + 0.15 * blurred / blurred.std()).clamp(0, 1)


def known_field(peak: float) -> torch.Tensor:
    knots = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    velocity = resize_image(knots, SHAPE)
    ramp = torch.ones(SHAPE)
    for axis, size in enumerate(SHAPE):
        index = torch.arange(size)
        shape = [-1 if other == axis else 1 for other in range(3)]
        ramp = ramp * (torch.minimum(index, size - 1 - index) / 8.0).clamp(max=1.0).view(shape)
    velocity = velocity * ramp
    return integrate(velocity * peak / velocity.norm(dim=1).max())


@pytest.fixture(scope="module")
def recovered() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Moving and fixed image, the known field between them, and the one that was found."""
    moving, truth = texture(), known_field(3.0)
    fixed = warp(moving, truth)
    found = deform(prepared(fixed), prepared(moving), np.eye(4), LEVELS)
    return moving, fixed, truth, found


def mean_length(field: torch.Tensor) -> float:
    """Away from the border, where the images end."""
    return float(field[:, :, 6:-6, 6:-6, 6:-6].norm(dim=1).mean())


def test_known_field_is_recovered(recovered):
    _, _, truth, found = recovered
    assert mean_length(truth) > 0.8
    assert mean_length(found - truth) < 0.25 * mean_length(truth)


def test_images_become_alike_and_nothing_folds(recovered):
    moving, fixed, _, found = recovered
    unlike = LocalCorrelation()
    assert unlike(warp(moving, found), fixed) < 0.2 * unlike(moving, fixed)
    assert jacobian_determinant(found).min() > 0


def test_field_ends_at_zero(recovered):
    found = recovered[3]
    for axis in (2, 3, 4):
        assert found.select(axis, 0).abs().max() == 0
        assert found.select(axis, -1).abs().max() == 0


def test_known_field_is_recovered_from_inverted_contrast(recovered):
    moving, fixed, truth, _ = recovered
    found = deform(prepared(fixed), prepared(1.0 - moving), np.eye(4), LEVELS)
    assert mean_length(found - truth) < 0.25 * mean_length(truth)


def test_equal_images_are_left_alone():
    image = prepared(texture())
    assert deform(image, image, np.eye(4), LEVELS).abs().max() < 0.01


def test_maps_of_the_tissues_that_the_level_names_are_compared_and_no_others(recovered):
    moving, fixed, truth, _ = recovered
    # The images show nothing, and of the maps only that of white matter does.
    blank = prepared(torch.full((1, 1, *SHAPE), 0.5))
    maps = tuple(torch.cat([blank.tensor, blank.tensor, image], dim=1) for image in (fixed, moving))
    named = {names: tuple(replace(level, tissues=names) for level in LEVELS) for names in (TISSUES, TISSUES[2:])}
    for levels in named.values():
        found = deform(blank, blank, np.eye(4), levels, tissues=maps)
        assert mean_length(found - truth) < 0.25 * mean_length(truth)
    others = tuple(replace(level, tissues=TISSUES[:2]) for level in LEVELS)
    for levels in (LEVELS, others):
        assert deform(blank, blank, np.eye(4), levels, tissues=maps).abs().max() < 0.01
    # Without maps there is nothing to compare beside the images.
    assert deform(blank, blank, np.eye(4), named[TISSUES]).abs().max() < 0.01


def test_wider_blur_of_the_field_makes_it_smoother(recovered):
    moving, fixed, _, _ = recovered
    rough, smoother = (
        deform(prepared(fixed), prepared(moving), np.eye(4), (Level(2.0, 15, field_blur=blur),)) for blur in (0.6, 1.2)
    )
    assert jacobian_determinant(smoother).std() < 0.9 * jacobian_determinant(rough).std()


def test_start_is_kept_when_there_is_nothing_to_do(recovered):
    truth = recovered[2]
    kept = deform(prepared(recovered[1]), prepared(recovered[0]), np.eye(4), (Level(1.0, 0),), start=truth)
    torch.testing.assert_close(kept, truth)


def test_progress_rises_from_zero_below_one():
    image, seen = prepared(texture()), []
    deform(image, image, np.eye(4), LEVELS, update=seen.append)
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert 0.9 < seen[-1] < 1.0


def test_levels_are_in_millimetres():
    grid = prepared(texture(), spacing=2.0).grid
    assert [Level(spacing, 1).factor(grid) for spacing in (16.0, 4.0, 2.0, 1.0)] == [8, 2, 1, 1]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_warper_without_motion_averages_as_downsampling_does(factor):
    image = texture()
    warper = AffineWarper(image, np.eye(4), SHAPE, factor)
    still = torch.zeros(1, 3, *[size // factor for size in SHAPE])
    torch.testing.assert_close(warper(still), downsample(image, factor), atol=1e-5, rtol=0)


def test_warper_applies_the_matrix_after_the_field():
    image = resize_image(torch.rand(1, 1, 5, 6, 7, generator=torch.Generator().manual_seed(2)), SHAPE)
    matrix = np.array([[0.0, 1.0, 0.0, 2.0], [1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.5], [0, 0, 0, 1.0]])
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 0], field[:, 2] = 1.5, -2.0
    found = AffineWarper(image, matrix, SHAPE, 1)(field)
    # Voxel (20, 20, 20): after the field (21.5, 20, 18), after the matrix (22, 20.5, 18.5).
    corners = image[0, 0, 22, 20:22, 18:20]
    assert float(found[0, 0, 20, 20, 20]) == pytest.approx(float(corners.mean()), abs=1e-5)
