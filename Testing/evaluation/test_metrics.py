import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import DIRECTIONS, empty_image, filled, positions
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.distance import cdist

from SLSFGRLib.evaluation.metrics import (
    Evaluation,
    dice_by_label,
    evaluate,
    folding_percent,
    initial_overlap_note,
    jacobian_determinants,
    sd_log_jacobian,
    surface_distances_95,
    target_registration_errors,
)
from SLSFGRLib.spatial.grid import grid_of_image

SIZE, SPACING = (20, 18, 16), (0.7, 1.2, 2.5)


def header(direction):
    return empty_image(SIZE, SPACING, DIRECTIONS[direction], (15, -40, 60))


def box_image(direction, start=(5, 5, 5), size=(8, 7, 6), label=1):
    """A box of one label; start and size in image axes (i, j, k)."""
    array = np.zeros(SIZE[::-1], np.uint8)
    array[tuple(slice(first, first + count) for first, count in zip(start[::-1], size[::-1], strict=True))] = label
    return filled(header(direction), array)


def displacement(image, vectors):
    """A displacement field transform on the grid of an image, vectors in LPS mm (D, H, W, 3)."""
    field = sitk.GetImageFromArray(vectors.astype(np.float64), isVector=True)
    field.CopyInformation(image)
    return field


def scaling(image, factors):
    """The displacement field that scales space by a factor along each image axis about the grid's centre."""
    directions = np.reshape(image.GetDirection(), (3, 3))
    points = positions(image)
    matrix = directions @ np.diag(factors) @ directions.T
    return displacement(image, (points - points.mean((0, 1, 2))) @ (matrix - np.eye(3)).T)


def bend(image, slope, middle=9):
    """The identity up to voxel ``middle`` of the first image axis, and a scaling by 1 + slope beyond."""
    along = np.reshape(image.GetDirection(), (3, 3))[:, 0] * image.GetSpacing()[0]
    amount = slope * np.maximum(0, np.arange(SIZE[0]) - middle)
    return displacement(image, np.broadcast_to(amount[:, None] * along, (*SIZE[::-1], 3)).copy())


def test_dice_by_hand():
    first = np.array([[0, 1, 1, 1], [2, 2, 0, 9]])
    second = np.array([[0, 1, 1, 0], [2, 0, 0, 3]])
    assert dice_by_label(first, second) == {1: pytest.approx(4 / 5), 2: pytest.approx(2 / 3), 3: 0.0, 9: 0.0}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("axis", "shift"), [(0, 3), (1, 2), (2, 4)])
def test_surface_distance_of_a_shifted_box_is_the_shift_in_mm(direction, axis, shift):
    start = [5, 5, 5]
    start[axis] += shift
    distance = surface_distances_95(box_image(direction), box_image(direction, start))
    # The faces across the shift are more than 5 % of the surface.
    assert distance == {1: pytest.approx(shift * SPACING[axis], rel=1e-5)}


def test_surface_distance_at_the_edge_of_the_image():
    first, second = box_image("LAS", (0, 0, 0), (4, 18, 16)), box_image("LAS", (0, 0, 0), (7, 18, 16))
    assert surface_distances_95(first, second)[1] == pytest.approx(3 * SPACING[0], rel=1e-5)


@pytest.mark.parametrize("direction", ["LPS", "oblique left-handed"])
def test_surface_distance_equals_that_of_all_pairs_of_surface_voxels(direction):
    rng = np.random.default_rng(0)
    masks = [gaussian_filter(rng.normal(size=SIZE[::-1]), 2.0) > 0.02 for _ in range(2)]
    images = [filled(header(direction), 4 * mask.astype(np.uint8)) for mask in masks]
    points = positions(images[0])
    surfaces = [points[mask & ~binary_erosion(mask)] for mask in masks]
    distances = cdist(*surfaces)
    expected = max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95))
    assert expected > 1.0
    assert surface_distances_95(*images)[4] == pytest.approx(expected, rel=1e-4)


def test_surface_distance_is_only_given_for_labels_in_both_maps():
    assert surface_distances_95(box_image("LPS", label=1), box_image("LPS", label=2)) == {}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_jacobian_determinant_of_an_affine_transform_is_that_of_its_matrix(direction):
    matrix = np.array([[1.1, 0.3, 0.0], [-0.2, 0.9, 0.1], [0.05, 0.4, 1.3]])
    transform = sitk.AffineTransform(matrix.flatten().tolist(), (5.0, 6.0, 7.0))
    determinants = jacobian_determinants(transform, grid_of_image(header(direction)))
    np.testing.assert_allclose(determinants, np.linalg.det(matrix), rtol=1e-9)


def test_target_registration_error_is_measured_in_the_moving_image():
    transform = sitk.AffineTransform(np.diag([2.0, 1.0, 1.0]).flatten().tolist(), (1.0, 0.0, 0.0))
    errors = target_registration_errors(
        np.array([[1.0, 0, 0], [0, 0, 0]]), np.array([[3.0, 0, 0], [1, 3, -4]]), transform
    )
    np.testing.assert_allclose(errors, [0.0, 5.0])


@pytest.mark.parametrize("direction", ["LAS", "permuted", "oblique", "oblique left-handed"])
def test_no_folding_is_reported_where_there_is_none_unlike_by_itk(direction):
    labels = box_image(direction)
    field = scaling(labels, (2.6, 2.2, 1.0))
    expected = 2.6 * 2.2
    found = evaluate(labels, labels, sitk.DisplacementFieldTransform(sitk.Image(field)))
    assert found.folding_percent == 0.0
    assert found.log_jacobian_deviation == pytest.approx(0.0, abs=1e-9)
    # ITK's filter takes the vectors for voxel axes: wrong wherever the axes are not those of space.
    of_itk = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))[5:-5, 5:-5, 5:-5]
    assert np.abs(of_itk - expected).min() > 0.1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_folding_is_the_percentage_of_the_labelled_voxels(direction):
    labels = box_image(direction, (5, 5, 5), (8, 7, 6))
    transform = sitk.DisplacementFieldTransform(bend(labels, slope=-1.5))
    # Voxels 5 to 12 along the first axis are labelled; those after 9 are mirrored.
    assert evaluate(labels, labels, transform).folding_percent == pytest.approx(100 * 3 / 8)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_log_jacobian_deviation_by_hand(direction):
    labels = box_image(direction, (5, 5, 5), (8, 7, 6))
    transform = sitk.DisplacementFieldTransform(bend(labels, slope=0.8))
    # Voxels 5-8 as they are, 9 half way, 10-12 stretched.
    expected = np.std(np.log([1.0] * 4 + [1.4] + [1.8] * 3))
    assert evaluate(labels, labels, transform).log_jacobian_deviation == pytest.approx(expected, rel=1e-6)


def test_folding_is_the_percentage_of_determinants_that_are_not_positive():
    assert folding_percent(np.array([1.0, 0.5, 0.0, -2.0, 3.0])) == pytest.approx(40.0)
    assert folding_percent(np.array([1.0, 0.5])) == 0.0
    assert folding_percent(np.array([])) == 0.0


def test_sd_log_jacobian_is_that_of_the_voxels_that_do_not_fold():
    expected = np.std([0.0, np.log(2.0), -np.log(2.0)])
    assert sd_log_jacobian(np.array([1.0, 2.0, 0.5, 0.0, -1.0])) == pytest.approx(expected)
    assert sd_log_jacobian(np.array([1.7, 1.7])) == pytest.approx(0.0)
    assert np.isnan(sd_log_jacobian(np.array([-1.0, 0.0])))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_correct_transform_brings_the_labels_onto_each_other(direction):
    fixed, moving = box_image(direction), box_image(direction, (7, 4, 8))
    step = np.subtract(moving.TransformIndexToPhysicalPoint((2, -1, 3)), moving.GetOrigin())
    found = evaluate(fixed, moving, sitk.TranslationTransform(3, step.tolist()))
    assert found == Evaluation({1: 1.0}, {1: 0.0}, 0.0, pytest.approx(0.0, abs=1e-9))


def test_figures_of_a_box_that_is_2_voxels_off():
    fixed, moving = box_image("oblique"), box_image("oblique", (7, 5, 5))
    found = evaluate(fixed, moving, sitk.Transform(3, sitk.sitkIdentity))
    assert found.dice == {1: pytest.approx(6 / 8)}
    assert found.surface_distance_95 == {1: pytest.approx(2 * SPACING[0], rel=1e-5)}


def test_means_count_each_label_alike():
    found = Evaluation({1: 0.9, 2: 0.5, 7: 0.0}, {1: 1.0, 2: 4.0}, 0.0, 0.0)
    assert found.mean_dice == pytest.approx(1.4 / 3)
    assert found.mean_surface_distance_95 == pytest.approx(2.5)
    assert np.isnan(Evaluation({1: 0.0}, {}, 0.0, 0.0).mean_surface_distance_95)


def head_and_copy_at(distance, spacing):
    """A cube of 60 mm on a grid of 120 mm, and the same image moved to a distance in mm."""
    image = empty_image([round(120 / step) for step in spacing], spacing)
    array = (np.abs(positions(image) - 60.0) < 30.0).all(-1).astype(np.float32)
    fixed, moving = filled(image, array), filled(image, array)
    moving.SetOrigin((distance, 0.0, 0.0))
    return fixed, moving


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 6.0)])
@pytest.mark.parametrize(("distance", "said"), [(0.0, False), (30.0, False), (50.0, True), (500.0, True)])
def test_heads_that_hardly_overlap_as_stored_are_reported(spacing, distance, said):
    fixed, moving = head_and_copy_at(distance, spacing)
    note = initial_overlap_note(moving, warped=fixed)
    assert note.startswith("As stored, the two heads hardly overlap") == said
    assert bool(note) == said
