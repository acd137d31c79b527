"""Registration as its user calls it, on brains whose true transform is known, and its stages one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fake_models import model_of_balls
from phantoms import (
    OTHER_HEAD,
    balls_image,
    filled,
    half_head_and_labels,
    rotation_about,
    stored,
)

import SLSFGRLib
from SLSFGRLib import Affine, RegistrationResult, Solution, Subject, align, deform, load_subject, publish
from SLSFGRLib.io.resources import model_path
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.models.model import Model, ModelSettings
from SLSFGRLib.registration.align import structure_dice
from SLSFGRLib.registration.deform_one_head import deform_one_head
from SLSFGRLib.registration.field_optimisation import Level
from SLSFGRLib.registration.one_head import compare_with_mirror_image
from SLSFGRLib.registration.quality import measure
from SLSFGRLib.registration.rigid import align_heads, rough_pose
from SLSFGRLib.registration.schedules import planned_levels
from SLSFGRLib.registration.template import bundled_template
from SLSFGRLib.runtime.memory import is_out_of_memory
from SLSFGRLib.spatial.composite import affine_then_field
from SLSFGRLib.spatial.fields import integrate, resize_image
from SLSFGRLib.spatial.grid import Grid, grid_of_image, image_from_array, mapped_points
from SLSFGRLib.spatial.resampling import resample_image

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)
# The moving balls show at x what the fixed ones show at POSE x.
POSE = Affine.from_parts(1.1 * rotation_about((1, 2, -1), 50.0), (6.0, -9.0, 4.0))
# Of the balls, to save time.
SHRINKING = 1.4


def known_deformation(image: sitk.Image, peak_mm: float, seed: int = 0) -> sitk.Transform:
    """Return a smooth diffeomorphism on the image's grid with a given largest displacement."""
    grid = grid_of_image(image)
    coarse = grid.resized([max(8, size // 4) for size in grid.shape])
    knots = torch.randn(1, 3, 5, 5, 5, generator=torch.Generator().manual_seed(seed))
    velocity = resize_image(knots, coarse.shape)
    velocity *= peak_mm / float((velocity * torch.as_tensor(coarse.spacing).view(1, 3, 1, 1, 1)).norm(dim=1).max())
    return affine_then_field(Affine.identity(), integrate(velocity), coarse)


def compose_error(first: sitk.Transform, second: sitk.Transform, image: sitk.Image) -> np.ndarray:
    """Return the distance in mm between ``second(first(x))`` and ``x`` for the voxels above a tenth of the maximum."""
    both = sitk.CompositeTransform([second, first])
    grid = grid_of_image(image)
    moved = mapped_points(both, grid) - mapped_points(IDENTITY, grid)
    values = sitk.GetArrayViewFromImage(image)
    return np.linalg.norm(moved, axis=-1)[values > 0.1 * values.max()]


def disturbed(image: sitk.Image, seed: int = 0) -> sitk.Image:
    """Return the image with a bias field of up to a fifth and noise of 2 %."""
    random = np.random.default_rng(seed)
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    knots = torch.from_numpy(random.uniform(0.8, 1.2, (1, 1, 3, 3, 3)).astype(np.float32))
    bias = resize_image(knots, array.shape)[0, 0].numpy()
    noise = 0.02 * np.percentile(array, 99) * random.normal(size=array.shape)
    return filled(image, np.where(array > 0, np.maximum(array * bias + noise, 0), 0).astype(np.float32))


def with_moved_header(image: sitk.Image, affine: Affine) -> sitk.Image:
    """Return the same voxels elsewhere in space."""
    grid = grid_of_image(image)
    return image_from_array(sitk.GetArrayFromImage(image), Grid(grid.shape, affine.matrix @ grid.matrix))


def shift(*millimetres: float) -> Affine:
    return Affine.from_parts(np.eye(3), millimetres)


def textured(image: sitk.Image) -> sitk.Image:
    """Return the head with a texture: inside a structure of one intensity nothing shows how it was deformed."""
    noise = np.random.default_rng(0).normal(size=image.GetSize()[::-1]).astype(np.float32)
    texture = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 2.0)
    texture.CopyInformation(image)
    deviation = float(sitk.GetArrayViewFromImage(texture).std())
    return image * (1.0 + 0.2 / deviation * texture)


def field_spacing(result: RegistrationResult) -> tuple[float, ...]:
    """Return the spacing of a result's displacement field in mm."""
    return result.transform.GetNthTransform(1).GetFixedParameters()[6:9]


@pytest.fixture(scope="module")
def image(head) -> sitk.Image:
    return head[0]


@pytest.fixture(scope="module")
def small() -> sitk.Image:
    return half_head_and_labels()[0]


def small_brain(path: Path) -> sitk.Image:
    """Return a brain whose header makes it 70 % as long, which takes a third of the time."""
    image = sitk.ReadImage(str(path))
    image.SetSpacing([0.7 * step for step in image.GetSpacing()])
    image.SetOrigin([0.7 * place for place in image.GetOrigin()])
    return image


@pytest.fixture(scope="module")
def real_brain(shared_data) -> sitk.Image:
    return small_brain(shared_data / "malc" / "1000_t1.nii.gz")


@pytest.fixture(scope="module")
def other_brain(shared_data) -> sitk.Image:
    return small_brain(shared_data / "malc" / "1001_t1.nii.gz")


# --- accuracy -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.shared_data
def test_known_deformation_of_a_real_brain_is_recovered(real_brain):
    truth = known_deformation(real_brain, peak_mm=8.0)
    moving = disturbed(sitk.Resample(real_brain, real_brain, truth, sitk.sitkLinear))
    result = SLSFGRLib.register(real_brain, moving, transform="deformable")
    # moving(x) = fixed(truth(x)), so truth(found(x)) must be x.
    assert compose_error(result.transform, truth, real_brain).mean() < 0.6
    assert compose_error(result.transform, result.inverse_transform, real_brain).mean() < 0.3
    assert result.report["folding_percent"] < 0.05


@pytest.mark.slow
@pytest.mark.shared_data
def test_oblique_headers_and_another_storage_give_the_same_transform_in_space(real_brain, other_brain):
    rotation = sitk.Euler3DTransform(grid_of_image(real_brain).centre.tolist(), 0.2, -0.15, 0.25)
    pose = Affine.from_parts(np.reshape(rotation.GetMatrix(), (3, 3)), rotation.TransformPoint((0.0, 0.0, 0.0)))
    order, flips = (2, 0, 1), (True, False, True)
    moved = [with_moved_header(stored(image, order, flips), pose) for image in (real_brain, other_brain)]
    pairs = (real_brain, other_brain), moved
    one, other = (SLSFGRLib.register(*pair, "fast", transform="deformable") for pair in pairs)
    grid = grid_of_image(real_brain)
    expected = pose.apply(mapped_points(one.transform, grid))
    found = mapped_points(other.transform, Grid(grid.shape, pose.matrix @ grid.matrix))
    brain = sitk.GetArrayViewFromImage(real_brain) > 0
    assert np.linalg.norm(found - expected, axis=-1)[brain].mean() < 0.1


def test_deformation_of_a_textured_head_is_recovered(image):
    fixed = textured(image)
    truth = known_deformation(fixed, peak_mm=6.0)
    moving = sitk.Resample(fixed, fixed, truth, sitk.sitkLinear)
    result = SLSFGRLib.register(fixed, moving, "fast", transform="deformable")
    before = compose_error(IDENTITY, truth, fixed).mean()
    assert compose_error(result.transform, truth, fixed).mean() < 0.4 * before
    assert compose_error(result.transform, result.inverse_transform, fixed).mean() < 0.1
    assert result.warped.GetSize() == fixed.GetSize()
    assert result.warped.GetPixelID() == moving.GetPixelID()


def test_labels_of_the_moving_image_are_warped():
    image, labels = half_head_and_labels()
    truth = known_deformation(image, peak_mm=4.0)
    moving = sitk.Resample(image, image, truth, sitk.sitkLinear)
    moving_labels = sitk.Resample(labels, image, truth, sitk.sitkNearestNeighbor)
    result = SLSFGRLib.register(image, moving, "fast", affine=False, moving_labels=moving_labels)
    warped, expected = (sitk.GetArrayViewFromImage(image) for image in (result.fixed_labels, labels))
    before = SLSFGRLib.evaluate(labels, moving_labels, IDENTITY).mean_dice
    after = SLSFGRLib.evaluate(labels, moving_labels, result.transform).mean_dice
    assert set(np.unique(warped)) <= set(np.unique(expected))
    assert after > before


# --- arguments ----------------------------------------------------------------------------------------------


def test_initial_transform_is_kept_where_no_affine_alignment_is_wanted(small):
    start = sitk.TranslationTransform(3, (30.0, -20.0, 10.0))
    moving = with_moved_header(small, shift(30.0, -20.0, 10.0))
    result = SLSFGRLib.register(small, moving, "fast", initial_transform=start, affine=False)
    affine = sitk.AffineTransform(result.transform.GetNthTransform(0))
    np.testing.assert_allclose(affine.GetMatrix(), np.eye(3).ravel(), atol=1e-9)
    np.testing.assert_allclose(affine.GetTranslation(), (30.0, -20.0, 10.0), atol=1e-6)
    assert compose_error(result.transform, start.GetInverse(), small).mean() < 0.3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "best"}, "no such mode"),
        ({"device": "gpu"}, "no such device"),
        ({"transform": "similarity"}, "no such transform"),
        ({"transform": "rigid", "affine": False}, "nothing is left to find"),
        ({"mode": "fast", "model": Model.untrained()}, "is untrained"),
    ],
)
def test_unusable_arguments_are_named(image, arguments, words):
    with pytest.raises(SLSFGRLib.InputError, match=words):
        SLSFGRLib.register(image, image, **arguments)


def test_nonlinear_initial_transform_is_refused(image):
    with pytest.raises(SLSFGRLib.InputError, match="not linear"):
        SLSFGRLib.register(image, image, initial_transform=known_deformation(image, 8.0))


def test_progress_rises_to_one_and_names_its_stages(small):
    calls = []
    progress = lambda fraction, message: calls.append((fraction, message))  # noqa: E731
    SLSFGRLib.register(small, small, "fast", progress=progress, transform="deformable")
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "Deforming" in {message for _, message in calls}


def test_progress_may_cancel(small):
    def cancel(fraction: float, message: str) -> None:
        if message == "Deforming":
            raise SLSFGRLib.Cancelled

    with pytest.raises(SLSFGRLib.Cancelled):
        SLSFGRLib.register(small, small, progress=cancel, transform="deformable")


@pytest.mark.parametrize("mode", ["standard", "accurate"])
def test_field_of_a_model_without_instance_optimisation_is_refined_at_the_finest_level(small, mode):
    settings = ModelSettings(network="hu", network_options={"channels": [3, 4], "global_channels": [3]}, pair_steps=0)
    model = Model("fresh", settings, settings.build(), "some sum")
    deformed = resample_image(small, small, known_deformation(small, 6.0))
    options = {"affine": False, "device": "cpu", "model": model}
    # With fresh weights its field is zero.
    alone = SLSFGRLib.register(small, deformed, "fast", **options)
    assert alone.report["displacement_mm"]["max"] == 0.0
    refined = SLSFGRLib.register(small, deformed, mode, **options)
    assert refined.report["displacement_mm"]["mean"] > 0.1
    assert refined.report["similarity_after"] > alone.report["similarity_after"] + 0.01
    # No level is finer than 2 mm, where the network's own field is: the last alone is used.
    fixed, moving = Subject.from_image(small), Subject.from_image(deformed)
    expected = published(fixed, moving, Affine.identity(), planned_levels(mode, small)[-1:])
    assert_equal_transforms(refined.transform, expected.transform, small)


# --- stages -------------------------------------------------------------------------------------------------


def solve(fixed: Subject, moving: Subject, affine: Affine, levels: Sequence[Level], **options) -> Solution:
    """Deform and invert."""
    with torch.no_grad():
        return Solution.from_field(fixed, affine, deform(fixed, moving, affine, levels, **options))


def published(fixed: Subject, moving: Subject, *arguments) -> RegistrationResult:
    """Deform, invert and publish."""
    return publish(fixed, moving, solve(fixed, moving, *arguments))


def assert_equal_transforms(found: sitk.Transform, expected: sitk.Transform, image: sitk.Image) -> None:
    grid = grid_of_image(image)
    np.testing.assert_array_equal(mapped_points(found, grid), mapped_points(expected, grid))


def assert_equal_results(found: RegistrationResult, expected: RegistrationResult, image: sitk.Image) -> None:
    assert_equal_transforms(found.transform, expected.transform, image)
    assert_equal_transforms(found.inverse_transform, expected.inverse_transform, image)
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(result.warped) for result in (found, expected)))


def test_stages_of_segmented_brains_give_what_register_gives(people, registered_people, segmenting):
    fixed, moving = (load_subject(image, model=segmenting) for image in people)
    levels = planned_levels("standard", people[0])
    solution = solve(fixed, moving, align(fixed, moving), levels, template=bundled_template())
    found = publish(fixed, moving, solution)
    assert_equal_results(found, registered_people, people[0])
    measures = measure(fixed, moving, solution, found)
    assert measures == {name: registered_people.report[name] for name in measures}


def test_a_deformation_of_one_head_starts_at_its_rigid_pose_and_uses_no_template(balls, registered_balls, segmenting):
    fixed, moving = (load_subject(image, model=segmenting) for image in balls)
    pose = align_heads(fixed, moving, compare_with_mirror_image(fixed, moving, rough_pose(fixed, moving)).pose)
    field = deform_one_head(fixed, moving, pose, planned_levels("standard", balls[0], is_one_head=True))
    found = publish(fixed, moving, Solution.from_field(fixed, pose, field))
    assert_equal_results(found, registered_balls, balls[0])
    assert "template" not in [model["role"] for model in registered_balls.report["models"]]
    assert "a rigid transform deforms nothing" in " ".join(registered_balls.report["notes"])


# --- kinds of transform -------------------------------------------------------------------------------------


def test_two_scans_of_one_head_get_a_linear_transform_by_default(image):
    pose = Affine.from_parts(rotation_about((1, 2, -1), 12.0), (6.0, -9.0, 4.0))
    moving = disturbed(resample_image(image, image, pose.inverse().to_itk()))
    result = SLSFGRLib.register(image, moving)
    assert result.report["transform"] == "rigid"
    assert "one head" in result.report["transform_reason"]
    assert result.transform.IsLinear()
    assert result.inverse_transform.IsLinear()
    assert compose_error(result.transform, pose.inverse().to_itk(), image).mean() < 0.7
    assert compose_error(result.transform, result.inverse_transform, image).max() < 1e-6
    assert result.report["similarity_after"] > result.report["similarity_before"] + 0.1
    assert result.report["folding_percent"] == result.report["sd_log_jacobian"] == 0.0


# --- segmentations ------------------------------------------------------------------------------------------


def small_balls(affine: Affine | None = None) -> sitk.Image:
    return balls_image(affine, spacing=2.0, shrinking=SHRINKING)


@pytest.fixture(scope="module")
def people() -> tuple[sitk.Image, sitk.Image]:
    """Balls of the full size, at 3 mm: small ones look like one head."""
    return balls_image(spacing=3.0), balls_image(OTHER_HEAD, spacing=3.0)


@pytest.fixture(scope="module")
def balls() -> tuple[sitk.Image, sitk.Image]:
    """Balls at 2 mm in two poses."""
    turned = Affine.from_parts(POSE.matrix[:3, :3], SHRINKING * POSE.matrix[:3, 3])
    return small_balls(), small_balls(turned)


@pytest.fixture
def segmenting(monkeypatch) -> Model:
    """A bundled model that segments the balls."""
    return segments_balls(monkeypatch)


def segments_balls(patch: pytest.MonkeyPatch) -> Model:
    """Let a model that segments the balls be the bundled one."""
    model = model_of_balls()
    patch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: True)
    patch.setattr("SLSFGRLib.registration.pipeline.brain_extraction_model", lambda: None)
    patch.setattr("SLSFGRLib.registration.pipeline.default_model", lambda: model)
    return model


@pytest.fixture(scope="module")
def registered_balls(balls) -> RegistrationResult:
    with pytest.MonkeyPatch.context() as patch:
        segments_balls(patch)
        return SLSFGRLib.register(*balls, "standard", "cpu", transform="deformable")


@pytest.fixture(scope="module")
def registered_people(people) -> RegistrationResult:
    """The balls of two people, of whom one may have a lesion."""
    with pytest.MonkeyPatch.context() as patch:
        segments_balls(patch)
        patch.setattr("SLSFGRLib.registration.find_field.asymmetry_notes", lambda fixed, moving: ["A lesion?"])
        return SLSFGRLib.register(*people, "standard", "cpu", transform="deformable")


def test_both_images_are_segmented_and_the_report_says_how_well_they_agree(balls, registered_balls, segmenting):
    result = registered_balls
    for labels, image in zip((result.fixed_labels, result.moving_labels), balls, strict=True):
        expected = SLSFGRLib.segment(image, model=segmenting)
        assert (sitk.GetArrayFromImage(labels) == sitk.GetArrayFromImage(expected)).mean() > 0.999
    # At borders between bright and dark this network finds what lies between, so the Dice cannot be 1.
    subjects = [load_subject(image, model=segmenting) for image in balls]
    assert result.report["dice_before"] == structure_dice(*subjects, IDENTITY)
    assert result.report["dice_after"] == structure_dice(*subjects, result.transform)
    best = structure_dice(*subjects, POSE.inverse())
    assert result.report["dice_after"] > 0.9 * best > 1.5 * result.report["dice_before"]


def test_labels_of_the_user_come_before_those_of_the_network(segmenting):
    image = small_balls()
    own = sitk.Cast(image > 300, sitk.sitkUInt8) * 77
    result = SLSFGRLib.register(image, image, "fast", affine=False, moving_labels=own)
    assert set(np.unique(sitk.GetArrayFromImage(result.fixed_labels))) == {0, 77}
    assert result.moving_labels is own
    assert result.report["dice_after"] == pytest.approx(1.0, abs=0.02)


# --- report -------------------------------------------------------------------------------------------------


def entry(role: str, name: str, path: Path) -> dict:
    """Return what a report says of a file."""
    version = torch.load(path, map_location="cpu", weights_only=True)["version"]
    return {"role": role, "name": name, "version": version, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_report_names_the_bundled_weights_and_the_template(small, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: True)
    assert SLSFGRLib.register(small, small, "standard", affine=False).report["models"] == [
        entry("segmentation", "sl_sfgr", model_path("sl_sfgr")),
        entry("template", "template", model_path("template")),
    ]


def test_report_names_a_given_model_beside_the_one_that_segments(balls, registered_balls, segmenting, model_file):
    segmentation = segmenting.description("segmentation")
    assert registered_balls.report["models"] == [segmentation]
    report = SLSFGRLib.register(*balls, "fast", model=load_model(str(model_file)), affine=False).report
    assert report["models"] == [segmentation, entry("registration", "test", model_file)]
    assert report["transform_reason"] == "you chose a model, which finds a deformation."


@pytest.mark.parametrize(("is_shared", "expected"), [(True, []), (False, ["template"])])
def test_report_names_the_template_only_where_tissues_are_compared(small, model_file, monkeypatch, is_shared, expected):
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: True)
    monkeypatch.setattr("SLSFGRLib.registration.find_field.show_t1", lambda fixed, moving: is_shared)
    monkeypatch.setattr("SLSFGRLib.registration.deform.show_t1", lambda fixed, moving: is_shared)
    given = load_model(str(model_file))
    # Only the level at 1 mm follows, which compares tissues across contrasts.
    given = replace(given, settings=replace(given.settings, pair_steps=0, refine_from_mm=2.0))
    found = SLSFGRLib.register(small, small, "standard", model=given, affine=False).report["models"]
    assert [model["role"] for model in found] == ["segmentation", "registration", *expected]


@pytest.mark.parametrize("corrected", [(True, False), (False, True)])
def test_report_names_the_template_that_corrected_a_brain(small, monkeypatch, corrected):
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: True)
    answers, segmented = iter(corrected), Subject.segmented
    monkeypatch.setattr(Subject, "segmented", lambda *given: replace(segmented(*given), is_corrected=next(answers)))
    # No tissues are compared in `fast`, so the template does not guide the field.
    found = SLSFGRLib.register(small, small, "fast", affine=False, transform="deformable").report["models"]
    assert found[-1] == entry("template", "template", model_path("template"))


def test_report_names_no_model_where_none_took_part(small):
    report = SLSFGRLib.register(small, small, "fast", affine=False).report
    assert report["models"] == []
    assert report["transform_reason"] == "without the affine registration only a deformation is left to find."


def test_report_says_that_an_untrained_model_has_no_file(small):
    settings = ModelSettings(network_options={"channels": [3, 4, 5], "diffeomorphic": True}, pair_steps=1)
    model = Model("fresh", settings, settings.build())
    (found,) = SLSFGRLib.register(small, small, "standard", model=model, affine=False).report["models"]
    assert found == {"role": "registration", "name": "fresh", "version": SLSFGRLib.__version__, "sha256": None}


def test_report_says_where_the_heads_hardly_overlap_as_stored(small):
    notes = []
    for distance in (0.0, 400.0):
        offset = (distance, 0.0, 0.0)
        moving, start = with_moved_header(small, shift(*offset)), sitk.TranslationTransform(3, offset)
        result = SLSFGRLib.register(small, moving, "fast", affine=False, initial_transform=start)
        notes.append(["hardly overlap" in note for note in result.report["notes"]])
    assert notes == [[], [True]]


def test_report_says_that_one_of_two_people_may_have_a_lesion(registered_people):
    assert "A lesion?" in registered_people.report["notes"]


# --- memory -------------------------------------------------------------------------------------------------


@pytest.fixture
def exhausted_below(monkeypatch):
    """Let the memory run out in every level with a smaller spacing in mm than the one given; torch raises the error."""

    def limit(spacing: float) -> None:
        def deform_within(fixed, moving, affine, levels, **options):
            if min(level.spacing for level in levels) < spacing:
                torch.empty(2**58, dtype=torch.uint8)
            return deform(fixed, moving, affine, levels, **options)

        monkeypatch.setattr("SLSFGRLib.registration.find_field.deform", deform_within)

    return limit


@pytest.mark.parametrize(
    ("spacing", "note"),
    [
        (4.0, "The field has 4 mm voxels instead of 2 mm, to save memory."),
        (8.0, "The field has 8 mm voxels instead of 2 mm, to save memory."),
    ],
)
@pytest.mark.parametrize("mode", ["fast", "standard"])
def test_field_is_coarser_where_the_memory_runs_out(small, exhausted_below, mode, spacing, note):
    exhausted_below(spacing)
    moving_image = resample_image(small, small, known_deformation(small, 4.0))
    result = SLSFGRLib.register(small, moving_image, mode, "cpu", affine=False)
    assert field_spacing(result) == pytest.approx([spacing] * 3, rel=0.01)
    assert result.report["notes"] == [note]
    levels = [level for level in planned_levels(mode, small) if level.spacing >= spacing]
    fixed, moving = Subject.from_image(small), Subject.from_image(moving_image)
    expected = published(fixed, moving, Affine.identity(), levels)
    assert_equal_transforms(result.transform, expected.transform, small)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_memory_that_runs_out_in_the_coarsest_level_is_an_input_error(small, exhausted_below, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    exhausted_below(100.0)
    with pytest.raises(SLSFGRLib.InputError) as caught:
        SLSFGRLib.register(small, small, "fast", device, affine=False)
    assert str(caught.value) == (
        "the memory of this computer is too small for these images; close other programs, or crop the images."
    )
    assert is_out_of_memory(caught.value.__cause__)


def test_memory_that_runs_out_before_the_deformation_is_an_input_error(small, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.align", lambda *_: torch.empty(2**58, dtype=torch.uint8))
    with pytest.raises(SLSFGRLib.InputError, match=r"^the memory of this computer is too small"):
        SLSFGRLib.register(small, small, "fast", "cpu", transform="deformable")
