import numpy as np
import pytest
import SimpleITK as sitk

from SLSFGRLib.preprocessing import BrainMask, prepare
from SLSFGRLib.preprocessing.brain_mask import FADE_MM, FARTHEST_MM, KEPT_MM, fading
from SLSFGRLib.spatial.grid import Grid, image_from_array, voxel_positions

RADIUS, SKULL = 40.0, (50.0, 56.0)
GRID = Grid.upright((70, 80, 76), 2.0, centre=(5.0, -3.0, 8.0))
DISTANCE = np.linalg.norm(voxel_positions(GRID) - GRID.centre, axis=-1)


@pytest.fixture(scope="module")
def mask():
    return BrainMask(DISTANCE < RADIUS, GRID)


def head(skull_intensity):
    """A ball with intensity 100 within a shell."""
    values = np.where(DISTANCE < RADIUS, 100.0, 0.0)
    values[(SKULL[0] < DISTANCE) & (SKULL[1] > DISTANCE)] = skull_intensity
    return values.astype(np.float32)


def test_box_and_distance_are_those_of_a_ball(mask):
    lower, upper = mask.box()
    middle = (np.array(GRID.shape) * GRID.spacing) / 2.0
    np.testing.assert_allclose(lower, middle - RADIUS, atol=2.0)
    np.testing.assert_allclose(upper, middle + RADIUS, atol=2.0)
    # The surface runs through the outermost voxels of the mask.
    distance = sitk.GetArrayFromImage(mask.distance)
    np.testing.assert_allclose(distance, np.minimum(DISTANCE - RADIUS, FARTHEST_MM), atol=3.5)


def test_distance_in_the_box_is_that_of_the_whole_grid():
    inside = np.zeros((40, 30, 50), bool)
    inside[25:30, 2:8, 30:33] = inside[29:35, 5:9, 31] = True
    matrix = np.diag([1.5, 2.0, 1.0, 1.0])[[2, 1, 0, 3]]
    brain = BrainMask(inside, Grid(inside.shape, matrix))
    image = image_from_array(inside.astype(np.uint8), brain.grid)
    expected = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True))
    assert (expected > FARTHEST_MM).any()
    np.testing.assert_allclose(sitk.GetArrayFromImage(brain.distance), np.minimum(expected, FARTHEST_MM), rtol=1e-6)
    empty = BrainMask(np.zeros_like(inside), brain.grid)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(empty.distance), FARTHEST_MM)


def test_image_fades_out_beyond_the_margin():
    np.testing.assert_allclose(fading(np.array([-9.0, 0.0, KEPT_MM, KEPT_MM + FADE_MM / 2, 99.0])), [1, 1, 1, 0.5, 0])


@pytest.mark.parametrize(("skull", "covers"), [(0.0, True), (90.0, False)])
def test_skull_is_noticed(mask, skull, covers):
    assert mask.covers(head(skull)) is covers


def test_prepared_image_shows_the_brain_alone_scaled_by_its_own_intensities(mask):
    prepared = prepare(image_from_array(head(900.0), GRID), brain=mask)
    distance = np.linalg.norm(voxel_positions(prepared.grid) - GRID.centre, axis=-1)
    values = prepared.tensor[0, 0].numpy()
    np.testing.assert_allclose(values[distance < RADIUS - 4], 1.0, atol=0.01)
    assert values[distance > RADIUS + KEPT_MM + FADE_MM + 3.0].max() == 0.0
    # Cropped to the brain with its margin, at 1 mm.
    np.testing.assert_allclose(np.array(prepared.grid.shape), 2 * (RADIUS + 8.0), atol=10)
