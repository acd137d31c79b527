"""Masks and lesions: where they lie, what stands in their place, and what a registration makes of them."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import empty_image, filled, head_image, positions, smooth_diffeomorphism, stored, texture

from SLSFGRLib import InputError
from SLSFGRLib.losses import LocalCorrelation
from SLSFGRLib.losses.lncc import LocalCorrelationGradient, WeightedCorrelationGradient
from SLSFGRLib.registration.channels import INTENSITY, ChannelImage
from SLSFGRLib.registration.field_optimisation import Level, optimise_field
from SLSFGRLib.registration.regions import Regions, with_regions
from SLSFGRLib.registration.rigid import align_heads
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import jacobian_determinant, warp
from SLSFGRLib.spatial.grid import Grid, voxel_positions

CENTRE, RADIUS = np.array([26.0, 4.0, 8.0]), 14.0


def ball_on(image, centre=CENTRE):
    """A label map of a ball on the grid of an image."""
    return filled(image, (np.linalg.norm(positions(image) - centre, axis=-1) < RADIUS).astype(np.uint8) * 3)


@pytest.fixture(scope="module")
def image():
    return head_image(empty_image((72, 86, 76), (2.5, 2.5, 2.5), centre=(0.0, 0.0, 0.0)))[0]


@pytest.fixture(scope="module")
def subject(image):
    return Subject.from_image(image)


def test_a_region_belongs_to_a_place_in_space_and_not_to_voxels(image, subject):
    grids = [image, stored(image, (2, 0, 1), (True, False, True)), empty_image((60, 60, 60), centre=CENTRE)]
    points = voxel_positions(subject.grid)
    inside = np.linalg.norm(points - CENTRE, axis=-1) < RADIUS
    for grid in grids:
        compared = with_regions(subject, Regions(mask=ball_on(grid)), "the image").compared[0, 0].numpy()
        assert ((compared > 0.5) == inside).mean() > 0.998
        both = with_regions(subject, Regions(mask=ball_on(grid), lesion=ball_on(grid)), "the image")
        assert both.compared.max() < 0.3


def test_a_lesion_is_replaced_by_what_is_around_it(image, subject):
    array = sitk.GetArrayFromImage(image)
    lesion = ball_on(image)
    inside = sitk.GetArrayViewFromImage(lesion) > 0
    array[inside] = 219.0
    diseased = Subject.from_image(filled(image, array))
    repaired = with_regions(diseased, Regions(lesion=lesion), "the image")
    deep = np.linalg.norm(voxel_positions(subject.grid) - CENTRE, axis=-1) < RADIUS - 3.0
    around = np.linalg.norm(voxel_positions(subject.grid) - CENTRE, axis=-1) > RADIUS + 6.0
    # The ball lies in a hemisphere with an intensity of 160 of 220.
    assert np.abs(repaired.prepared.tensor[0, 0].numpy()[deep] - 160.0 / 220.0).mean() < 0.08
    np.testing.assert_array_equal(
        repaired.prepared.tensor[0, 0].numpy()[around], diseased.prepared.tensor[0, 0].numpy()[around]
    )
    assert repaired.compared[0, 0].numpy()[deep].max() < 0.05
    assert repaired.compared[0, 0].numpy()[around].min() > 0.95


@pytest.mark.parametrize(
    ("centre", "words"), [((400.0, 0.0, 0.0), "only 0% of it lies inside"), ((1e5, 0.0, 0.0), "is empty")]
)
def test_a_region_of_another_image_is_refused(subject, centre, words):
    grid = empty_image((40, 40, 40), centre=(400.0, 0.0, 0.0))
    with pytest.raises(InputError, match=f"^the mask of the fixed image: {words}"):
        with_regions(subject, Regions(mask=ball_on(grid, np.array(centre))), "the fixed image")


def test_with_equal_weights_the_weighted_gradient_is_the_plain_one():
    fixed, moving = texture((32, 36, 34), 1.0), texture((32, 36, 34), 1.5)
    found = WeightedCorrelationGradient(fixed)(moving, torch.ones_like(moving))
    # At the edges the weighted one knows that there is nothing outside.
    middle = (..., slice(6, -6), slice(6, -6), slice(6, -6))
    torch.testing.assert_close(found[middle], LocalCorrelationGradient(fixed)(moving)[middle], atol=1e-4, rtol=1e-3)


def test_what_has_no_weight_changes_nothing_elsewhere():
    fixed, moving = texture((24, 24, 24), 1.0), texture((24, 24, 24), 1.4)
    weights = torch.ones_like(fixed)
    weights[..., 8:16, 8:16, 8:16] = 0.0
    spoilt = torch.where(weights > 0, moving, torch.rand(moving.shape))
    measure = WeightedCorrelationGradient(fixed)
    torch.testing.assert_close(measure(spoilt, weights), measure(moving, weights))
    assert measure(moving, weights)[weights == 0].abs().max() == 0.0


def test_the_field_continues_smoothly_through_a_lesion():
    shape = (48, 56, 52)
    moving, truth = texture(shape, 1.5), smooth_diffeomorphism(shape, 3.0)
    fixed = warp(moving, truth)
    grid = Grid.upright(shape, 1.0)
    distance = torch.from_numpy(np.linalg.norm(voxel_positions(grid) - grid.centre, axis=-1))
    compared = (distance > 9.0).float()[None, None]
    spoilt = torch.where(compared > 0, fixed, torch.ones_like(fixed))
    levels = (Level(spacing=2.0, iterations=15), Level(spacing=1.0, iterations=8))

    def found(image, weights):
        images = ChannelImage(grid, {INTENSITY: image}, weights), ChannelImage(grid, {INTENSITY: moving})
        return optimise_field(*images, Affine.identity(), levels)

    plain, healed, hurt = found(fixed, None), found(spoilt, compared), found(spoilt, None)
    outside = (distance > 11.0)[None]
    change = lambda field: (field - plain).norm(dim=1)[outside].mean()  # noqa: E731
    assert change(healed) < 0.1
    assert change(healed) < 0.5 * change(hurt)
    volumes = jacobian_determinant(healed)[(distance < 9.0)[None]]
    assert 0.4 < volumes.min() < volumes.max() < 2.5
    assert LocalCorrelation()(warp(moving, healed), fixed) < 0.4 * LocalCorrelation()(moving, fixed)


def test_only_the_mask_decides_the_pose_of_a_head(image):
    # Half of the head has moved with respect to the other.
    shift = np.eye(4)
    shift[0, 3] = 5.0
    array, other = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(head_image(image, shift)[0])
    upper = positions(image)[..., 2] > 0
    moving = Subject.from_image(filled(image, np.where(upper, array, other)))
    fixed = Subject.from_image(image)
    for mask, expected in ((upper, 0.0), (~upper, -5.0)):
        regions = Regions(mask=filled(image, mask.astype(np.uint8)))
        found = align_heads(with_regions(fixed, regions, "the fixed image"), moving, Affine.identity())
        np.testing.assert_allclose(found.apply(np.zeros(3)), (expected, 0.0, 0.0), atol=0.8)
