"""Registration as its user calls it, on brains whose true transform is known."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import SLSFGRLib
from SLSFGRLib.models.model import Model, ModelSettings
from SLSFGRLib.registration.intensity_mapping import deform_across_contrasts
from SLSFGRLib.registration.schedules import SCHEDULES
from SLSFGRLib.spatial.fields import integrate, resize_image
from SLSFGRLib.spatial.grid import Grid, affine_then_field, grid_of_image, image_from_array, mapped_points
from SLSFGRLib.spatial.resampling import resample_image


def known_deformation(image: sitk.Image, peak_mm: float, seed: int = 0) -> sitk.Transform:
    """A smooth diffeomorphism on the image's grid with a given largest displacement."""
    grid = grid_of_image(image)
    coarse = grid.resized([max(8, size // 4) for size in grid.shape])
    knots = torch.randn(1, 3, 5, 5, 5, generator=torch.Generator().manual_seed(seed))
    velocity = resize_image(knots, coarse.shape)
    velocity *= peak_mm / float((velocity * torch.as_tensor(coarse.spacing).view(1, 3, 1, 1, 1)).norm(dim=1).max())
    return affine_then_field(np.eye(4), integrate(velocity), coarse)


def compose_error(first: sitk.Transform, second: sitk.Transform, image: sitk.Image) -> np.ndarray:
    """Distance in mm between ``second(first(x))`` and ``x`` for the voxels above a tenth of the maximum."""
    both = sitk.CompositeTransform([second, first])
    grid = grid_of_image(image)
    moved = mapped_points(both, grid) - mapped_points(sitk.Transform(3, sitk.sitkIdentity), grid)
    values = sitk.GetArrayViewFromImage(image)
    return np.linalg.norm(moved, axis=-1)[values > 0.1 * values.max()]


def disturbed(image: sitk.Image, seed: int = 0) -> sitk.Image:
    """The image with a smooth gain of up to a fifth and noise of 2 %."""
    random = np.random.default_rng(seed)
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    knots = torch.from_numpy(random.uniform(0.8, 1.2, (1, 1, 3, 3, 3)).astype(np.float32))
    gain = resize_image(knots, array.shape)[0, 0].numpy()
    noise = 0.02 * np.percentile(array, 99) * random.normal(size=array.shape)
    result = sitk.GetImageFromArray(np.where(array > 0, np.maximum(array * gain + noise, 0), 0).astype(np.float32))
    result.CopyInformation(image)
    return result


def stored_otherwise(image: sitk.Image, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> sitk.Image:
    return sitk.Flip(sitk.PermuteAxes(image, order), flips)


@pytest.fixture(scope="module")
def image(head) -> sitk.Image:
    return head[0]


@pytest.fixture(scope="module")
def labels(head) -> sitk.Image:
    return head[1]


@pytest.fixture(scope="module")
def real_brain(shared_data) -> sitk.Image:
    return sitk.ReadImage(str(shared_data / "malc" / "1000_t1.nii.gz"))


@pytest.mark.slow
@pytest.mark.shared_data
def test_known_deformation_of_a_real_brain_comes_back(real_brain):
    truth = known_deformation(real_brain, peak_mm=8.0)
    moving = disturbed(sitk.Resample(real_brain, real_brain, truth, sitk.sitkLinear))
    result = SLSFGRLib.register(real_brain, moving)
    # moving(x) = fixed(truth(x)), so truth(found(x)) must be x.
    assert compose_error(result.transform, truth, real_brain).mean() < 0.6
    assert compose_error(result.transform, result.inverse_transform, real_brain).mean() < 0.3
    assert result.report["folding_percent"] < 0.05


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("order", "flips"),
    [((0, 1, 2), (True, False, True)), ((2, 0, 1), (False, True, False))],
    ids=["flipped", "permuted"],
)
def test_storage_of_the_images_does_not_change_the_transform(real_brain, shared_data, order, flips):
    moving = sitk.ReadImage(str(shared_data / "malc" / "1001_t1.nii.gz"))
    plain = SLSFGRLib.register(real_brain, moving, "fast")
    other = SLSFGRLib.register(
        stored_otherwise(real_brain, order, flips), stored_otherwise(moving, order, flips), "fast"
    )
    grid = grid_of_image(real_brain)
    difference = mapped_points(plain.transform, grid) - mapped_points(other.transform, grid)
    assert np.linalg.norm(difference, axis=-1).mean() < 0.1


@pytest.mark.slow
@pytest.mark.shared_data
def test_oblique_headers_give_the_same_transform_in_space(real_brain, shared_data):
    moving = sitk.ReadImage(str(shared_data / "malc" / "1001_t1.nii.gz"))
    turn = sitk.Euler3DTransform(grid_of_image(real_brain).centre.tolist(), 0.2, -0.15, 0.25)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turn.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = np.array(turn.TransformPoint((0.0, 0.0, 0.0)))
    turned = [with_moved_header(image, matrix) for image in (real_brain, moving)]
    plain = SLSFGRLib.register(real_brain, moving, "fast")
    other = SLSFGRLib.register(*turned, "fast")
    points = mapped_points(plain.transform, grid_of_image(real_brain))
    expected = points @ matrix[:3, :3].T + matrix[:3, 3]
    found = mapped_points(other.transform, grid_of_image(turned[0]))
    brain = sitk.GetArrayViewFromImage(real_brain) > 0
    assert np.linalg.norm(found - expected, axis=-1)[brain].mean() < 0.1


def with_moved_header(image: sitk.Image, matrix: np.ndarray) -> sitk.Image:
    grid = grid_of_image(image)
    return image_from_array(sitk.GetArrayFromImage(image), Grid(grid.shape, matrix @ grid.matrix))


def textured(image: sitk.Image) -> sitk.Image:
    """The head with a texture: inside a structure of one brightness nothing shows how it was deformed."""
    noise = np.random.default_rng(0).normal(size=image.GetSize()[::-1]).astype(np.float32)
    texture = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 2.0)
    texture.CopyInformation(image)
    deviation = float(sitk.GetArrayViewFromImage(texture).std())
    return image * (1.0 + 0.2 / deviation * texture)


def test_deformation_of_a_textured_head_comes_back(image):
    fixed = textured(image)
    truth = known_deformation(fixed, peak_mm=6.0)
    moving = sitk.Resample(fixed, fixed, truth, sitk.sitkLinear)
    result = SLSFGRLib.register(fixed, moving, "fast")
    before = compose_error(sitk.Transform(3, sitk.sitkIdentity), truth, fixed).mean()
    assert compose_error(result.transform, truth, fixed).mean() < 0.4 * before
    assert compose_error(result.transform, result.inverse_transform, fixed).mean() < 0.1
    assert result.warped.GetSize() == fixed.GetSize()
    assert result.warped.GetPixelID() == moving.GetPixelID()


def test_labels_of_the_moving_image_are_carried_over(image, labels):
    truth = known_deformation(image, peak_mm=4.0)
    moving = sitk.Resample(image, image, truth, sitk.sitkLinear)
    moving_labels = sitk.Resample(labels, image, truth, sitk.sitkNearestNeighbor)
    result = SLSFGRLib.register(image, moving, "fast", moving_labels=moving_labels)
    carried, expected = (sitk.GetArrayViewFromImage(image) for image in (result.fixed_labels, labels))
    before = SLSFGRLib.evaluate(labels, moving_labels, sitk.Transform(3, sitk.sitkIdentity)).mean_dice
    after = SLSFGRLib.evaluate(labels, moving_labels, result.transform).mean_dice
    assert set(np.unique(carried)) <= set(np.unique(expected))
    assert after > before


def test_initial_transform_is_kept_where_no_affine_is_wanted(image):
    start = sitk.TranslationTransform(3, (30.0, -20.0, 10.0))
    moving = with_moved_header(image, np.block([[np.eye(3), np.array([[30.0], [-20.0], [10.0]])], [0, 0, 0, 1]]))
    result = SLSFGRLib.register(image, moving, "fast", initial_transform=start, affine=False)
    matrix = sitk.AffineTransform(result.transform.GetNthTransform(0))
    np.testing.assert_allclose(matrix.GetMatrix(), np.eye(3).ravel(), atol=1e-9)
    np.testing.assert_allclose(matrix.GetTranslation(), (30.0, -20.0, 10.0), atol=1e-6)
    assert compose_error(result.transform, start.GetInverse(), image).mean() < 0.3


def test_report_says_where_the_heads_hardly_overlap_as_stored(image):
    far = with_moved_header(image, np.block([[np.eye(3), np.array([[400.0], [0.0], [0.0]])], [0, 0, 0, 1]]))
    notes = [SLSFGRLib.register(image, moving, "fast").report["notes"] for moving in (image, far)]
    assert [["hardly overlap" in note for note in found] for found in notes] == [[], [True]]


def test_progress_rises_to_one_and_names_its_stages(image):
    calls = []
    SLSFGRLib.register(image, image, "fast", progress=lambda fraction, message: calls.append((fraction, message)))
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "Deforming" in {message for _, message in calls}


def test_progress_may_cancel(image):
    def cancel(fraction: float, message: str) -> None:
        if message == "Deforming":
            raise SLSFGRLib.Cancelled

    with pytest.raises(SLSFGRLib.Cancelled):
        SLSFGRLib.register(image, image, progress=cancel)


@pytest.mark.parametrize(
    ("arguments", "words"), [({"mode": "best"}, "no such mode"), ({"device": "gpu"}, "no such device")]
)
def test_unusable_arguments_are_named(image, arguments, words):
    with pytest.raises(SLSFGRLib.InputError, match=words):
        SLSFGRLib.register(image, image, **arguments)


def test_a_bent_initial_transform_is_refused(image):
    with pytest.raises(SLSFGRLib.InputError, match="not linear"):
        SLSFGRLib.register(image, image, initial_transform=known_deformation(image, 8.0))


def test_an_image_registered_to_itself_stays_where_it_is(image):
    result = SLSFGRLib.register(image, image, "fast")
    still = sitk.Transform(3, sitk.sitkIdentity)
    assert compose_error(result.transform, still, image).mean() < 0.1


@pytest.mark.parametrize("mode", ["standard", "accurate"])
def test_field_of_a_model_that_does_not_learn_on_pairs_is_refined_at_the_finest_level(image, mode, monkeypatch):
    settings = ModelSettings(network="hu", network_options={"channels": [3, 4], "global_channels": [3]}, pair_steps=0)
    model = Model("fresh", settings, settings.build(), "some sum")
    moving = resample_image(image, image, known_deformation(image, 6.0))
    options = {"affine": False, "device": "cpu", "model": model}
    alone = SLSFGRLib.register(image, moving, "fast", **options)
    assert alone.report["displacement_mm"]["max"] == 0.0
    done = []

    def noted(*arguments, start, **more):
        done.append((arguments[3], start.abs().max()))
        return deform_across_contrasts(*arguments, start=start, **more)

    monkeypatch.setattr("SLSFGRLib.registration.pipeline.deform_across_contrasts", noted)
    refined = SLSFGRLib.register(image, moving, mode, **options)
    assert done == [((SCHEDULES[mode][-1],), 0.0)]
    assert refined.report["displacement_mm"]["mean"] > 0.1
    assert refined.report["similarity_after"] > alone.report["similarity_after"] + 0.01
