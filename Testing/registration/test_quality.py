"""The measures of a registration without ground truth, on solutions whose measures are known."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import balls_subject, smooth_diffeomorphism, texture, with_segmentation

from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.registration.quality import brain_mask, measure
from SLSFGRLib.registration.result import RegistrationResult, Solution, publish
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import warp
from SLSFGRLib.spatial.grid import Grid, image_from_array

SHAPE = (40, 32, 48)
# The head: a box of two periods of 12 voxels along the first axis.
HEAD = (slice(8, 32), slice(8, 24), slice(8, 40))
# A central difference of sin(30 degrees x k) is cos(30 degrees x k) / 2.
AMPLITUDE, STEP = 3.8, np.pi / 6
JACOBIAN = 1.0 + AMPLITUDE * np.sin(STEP) * np.cos(STEP * np.arange(12))


def subject_of(tensor, spacing=1.0):
    """Return a subject whose prepared image is this, (1, 1, D, H, W)."""
    grid = Grid.upright(tensor.shape[2:], spacing, centre=(0.0, 0.0, 0.0))
    return Subject(image_from_array(tensor[0, 0].numpy(), grid), PreparedImage(tensor, grid))


def box_head(spacing=1.0):
    tensor = torch.zeros(1, 1, *SHAPE)
    tensor[(0, 0, *HEAD)] = 1.0
    return subject_of(tensor, spacing)


def waves():
    """Return a field along the first axis that folds in a quarter of each period."""
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 0] = torch.from_numpy(AMPLITUDE * np.sin(STEP * np.arange(SHAPE[0])))[:, None, None]
    return field


def solution_of(subject, field, affine=None):
    affine = affine or Affine.identity()
    # Outside of the head the residual is large.
    residual = torch.full_like(field[:, 0], 9.0)
    residual[..., :42] = 0.25
    return Solution(affine, field, torch.zeros_like(field), residual, subject.grid.resized(field.shape[2:]))


def measured(fixed, moving, solution, transform=None):
    """Return the measures; the transform takes part in Dice alone."""
    return measure(fixed, moving, solution, RegistrationResult(moving.image, transform, transform))


@pytest.mark.parametrize("spacing", [1.0, 2.0])
def test_folding_jacobian_and_displacement_are_those_of_the_field_in_the_head(spacing):
    head, field = box_head(spacing), waves()
    # Outside of the head everything folds.
    field[:, 2, :, :, 42:] = -5.0 * torch.arange(6.0)
    found = measured(head, head, solution_of(head, field))
    assert np.mean(JACOBIAN <= 0) == 0.25
    assert found["folding_percent"] == pytest.approx(25.0)
    assert found["sd_log_jacobian"] == pytest.approx(np.std(np.log(JACOBIAN[JACOBIAN > 0])), rel=1e-4)
    lengths = spacing * AMPLITUDE * np.abs(np.sin(STEP * np.arange(12)))
    assert found["displacement_mm"]["mean"] == pytest.approx(lengths.mean(), rel=1e-5)
    assert found["displacement_mm"]["max"] == pytest.approx(lengths.max(), rel=1e-5)
    assert found["inverse_residual_mm"] == pytest.approx(0.25 * spacing)


def test_affine_transform_counts_in_the_jacobian():
    head = box_head()
    larger = Affine.from_parts(np.diag([1.2, 1.1, 1.0]), (0.0, 0.0, 0.0))
    found = measured(head, head, solution_of(head, torch.zeros(1, 3, *SHAPE), larger))
    assert found["folding_percent"] == 0.0
    # A volume that changes everywhere alike does not spread.
    assert found["sd_log_jacobian"] == pytest.approx(0.0, abs=1e-6)
    mirrored = Affine.from_parts(np.diag([-1.0, 1.0, 1.0]), (0.0, 0.0, 0.0))
    assert measured(head, head, solution_of(head, torch.zeros(1, 3, *SHAPE), mirrored))["folding_percent"] == 100.0


def test_folding_counts_in_the_brain_where_there_is_a_segmentation():
    # Of the two periods in the head the first folds in a quarter; the brain lies in the second, where nothing moves.
    field = waves()
    field[:, :, 21:] = 0.0
    channels = np.zeros([size // 2 for size in SHAPE], int)
    channels[11:16, 4:12, 4:20] = 2
    segmented = with_segmentation(box_head(), channels)
    assert measured(box_head(), box_head(), solution_of(segmented, field))["folding_percent"] == 12.5
    assert measured(segmented, segmented, solution_of(segmented, field), sitk.Transform())["folding_percent"] == 0.0


@pytest.mark.parametrize("factor", [1, 2])
def test_brain_mask_is_where_background_is_improbable(factor):
    channels = np.zeros([size // 2 for size in SHAPE], int)
    channels[6:12, 5:9, 4:16] = 2
    shape = [size // factor for size in SHAPE]
    mask = brain_mask(with_segmentation(box_head(), channels), shape)
    expected = torch.zeros(SHAPE, dtype=torch.bool)
    expected[12:24, 10:18, 8:32] = True
    if factor == 1:
        # At the corners, interpolation leaves 0.75 ** 3 < 0.5 of the structure's probability.
        expected[12:24:11, 10:18:7, 8:32:23] = False
    assert torch.equal(mask, expected[::factor, ::factor, ::factor])


@pytest.mark.parametrize("finds", ["no segmentation", "no brain"])
@pytest.mark.parametrize("factor", [1, 2])
def test_brain_mask_is_the_head_where_no_brain_is_found(factor, finds):
    nothing = np.zeros([size // 2 for size in SHAPE], int)
    head = box_head() if finds == "no segmentation" else with_segmentation(box_head(), nothing)
    mask = brain_mask(head, [size // factor for size in SHAPE])
    expected = torch.zeros(SHAPE, dtype=torch.bool)
    expected[HEAD] = True
    assert torch.equal(mask, expected[::factor, ::factor, ::factor])


def test_similarity_is_that_before_and_after_the_field():
    moving, field = texture(SHAPE, 1.5), smooth_diffeomorphism(SHAPE, 8.0)
    fixed = subject_of(warp(moving, field))
    found = measured(fixed, subject_of(moving), solution_of(fixed, field))
    assert found["similarity_after"] > 0.98
    assert found["similarity_before"] < found["similarity_after"] - 0.1
    still = measured(fixed, fixed, solution_of(fixed, torch.zeros_like(field)))
    assert still["similarity_before"] == still["similarity_after"] == pytest.approx(1.0, abs=0.01)


def test_dice_is_none_without_segmentations():
    head = box_head()
    found = measured(head, head, solution_of(head, torch.zeros(1, 3, *SHAPE)))
    assert (found["dice_before"], found["dice_after"]) == (None, None)


def test_dice_is_that_of_the_structures_as_stored_and_under_the_transform():
    fixed, moving = balls_subject(), balls_subject(Affine.from_parts(np.eye(3), (8.0, 0.0, 0.0)))
    zero = torch.zeros(1, 3, *(size // 8 for size in fixed.grid.shape))
    solution = Solution.from_field(fixed, Affine.from_parts(np.eye(3), (-8.0, 0.0, 0.0)), zero)
    found = measure(fixed, moving, solution, publish(fixed, moving, solution))
    # Two balls of radius 11 at a distance of 8.
    assert found["dice_before"] == pytest.approx(1.0 - 0.75 * 8 / 11 + (8 / 11) ** 3 / 16, abs=0.05)
    assert found["dice_after"] > 0.95
    assert found["inverse_residual_mm"] == 0.0
