import queue
import threading

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fake_models import model_by_brightness
from phantoms import affine_matrix, empty_image, filled, positions, rotation_about

import SLSFGRLib
from SLSFGRLib.preprocessing import prepare
from SLSFGRLib.registration import pipeline as registration
from SLSFGRLib.registration import segmented_pair as pair_anatomy
from SLSFGRLib.registration.affine import align
from SLSFGRLib.registration.segmented_pair import PairAnatomy
from SLSFGRLib.segmentation.pipeline import Segmentation, fitting_network, prepare_for_network
from SLSFGRLib.segmentation.tissue_maps import MAPS, tissue_maps
from SLSFGRLib.spatial.grid import affine_transform

# Channels of the label table, their brightness, and where each lies, in mm.
BODY = 0.1
CHANNELS = (2, 5, 7, 8, 12, 14, 16, 17)
LEVELS = {channel: 0.2 + 0.1 * number for number, channel in enumerate(CHANNELS)}
# In the middle; large enough that its brightness is taken for the image's greatest.
CORE, CORE_LEVEL = 9, 1.0
CENTRES = np.array([[x, y, z] for x in (-18, 20) for y in (-22, 24) for z in (-17, 21)], float)
CENTRES += np.random.default_rng(0).uniform(-4, 4, CENTRES.shape)
TURN = affine_matrix(1.1 * rotation_about((1, 2, -1), 50.0), (6.0, -9.0, 4.0))
# Where nothing of what it moves meets what it should.
SHIFTED = affine_matrix(np.eye(3), (60.0, 0.0, 0.0))


def balls_image(matrix=None, spacing=1.0):
    """Eight balls of unlike brightness in a larger one; with a matrix, as seen at ``matrix @ point``."""
    image = empty_image([round(128 / spacing)] * 3, [spacing] * 3, centre=(0.0, 0.0, 0.0))
    points = positions(image)
    if matrix is not None:
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    array = np.where(np.linalg.norm(points, axis=-1) < 56, BODY, 0.0)
    array[np.linalg.norm(points, axis=-1) < 17] = CORE_LEVEL
    for centre, level in zip(CENTRES, LEVELS.values(), strict=True):
        array[np.linalg.norm(points - centre, axis=-1) < 11] = level
    return filled(image, (1000 * array).astype(np.float32))


@pytest.fixture(scope="module")
def model():
    return model_by_brightness({0: 0.0, 1: BODY, CORE: CORE_LEVEL} | LEVELS)


@pytest.fixture(scope="module")
def images():
    return balls_image(), balls_image(TURN)


@pytest.fixture(scope="module")
def prepared(images):
    return tuple(prepare(image) for image in images)


def seen(prepared, matrix=None):
    """What a network without a fault would see in a prepared image."""
    grid = prepared.pad_to_multiple(16).grid
    places = np.stack(np.meshgrid(*map(np.arange, grid.coarsened(2).shape), indexing="ij"), axis=-1)
    points = places @ grid.coarsened(2).matrix[:3, :3].T + grid.coarsened(2).matrix[:3, 3]
    if matrix is not None:
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    labels = np.zeros(points.shape[:-1], int)
    for centre, channel in zip(CENTRES, CHANNELS, strict=True):
        labels[np.linalg.norm(points - centre, axis=-1) < 11] = channel
    logits = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(labels), 31).movedim(-1, 0)[None].float()
    return Segmentation(logits, prepared.pad_to_multiple(16))


@pytest.fixture(scope="module")
def anatomy(prepared):
    return PairAnatomy(seen(prepared[0]), seen(prepared[1], TURN))


def error_mm(matrix):
    """How far off the balls' centres are; the moving image shows at x what the fixed one shows at TURN x."""
    wanted = np.linalg.solve(TURN[:3, :3], (CENTRES - TURN[:3, 3]).T).T
    return np.linalg.norm(CENTRES @ matrix[:3, :3].T + matrix[:3, 3] - wanted, axis=1).max()


def test_overlap_is_that_of_the_structures_under_the_transform(anatomy):
    still = sitk.Transform(3, sitk.sitkIdentity)
    same = PairAnatomy(anatomy.fixed, anatomy.fixed)
    assert same.overlap(still) == pytest.approx(1.0)
    assert anatomy.overlap(still) < 0.3
    assert anatomy.overlap(affine_transform(np.linalg.inv(TURN))) > 0.8
    # Two balls of radius 11 that lie 5.5 apart share the part 1 - 3 / 4 d / 2r + (d / 2r)^3 / 16 x 8 of each.
    part = 5.5 / 22.0
    shifted = sitk.TranslationTransform(3, (5.5, 0.0, 0.0))
    outer = same.overlap(shifted)
    assert outer == pytest.approx(1.0 - 1.5 * part + 0.5 * part**3, abs=0.08)


def test_alignment_begins_at_the_structures_however_the_head_is_turned(anatomy, prepared):
    assert error_mm(anatomy.align(*prepared)) < 2.0


def test_a_refinement_that_leads_away_from_the_structures_is_not_believed(anatomy, prepared, monkeypatch):
    monkeypatch.setattr(pair_anatomy, "align", lambda *_: SHIFTED)
    assert error_mm(anatomy.align(*prepared)) < 3.0


def test_the_images_stay_as_stored_where_all_else_leads_away_from_the_structures(anatomy, prepared, monkeypatch):
    monkeypatch.setattr(pair_anatomy, "align", lambda *_: SHIFTED)
    monkeypatch.setattr(pair_anatomy, "align_centroids", lambda *_: SHIFTED)
    same = PairAnatomy(anatomy.fixed, anatomy.fixed)
    np.testing.assert_array_equal(same.align(prepared[0], prepared[0]), np.eye(4))


def test_alignment_is_sought_where_nothing_is_recognised(images, prepared):
    blind = PairAnatomy.of(images, prepared, model_by_brightness({0: 0.0, 1: 0.5}))
    np.testing.assert_array_equal(blind.align(*prepared), align(*prepared))


def test_maps_of_tissues_are_those_of_each_image_on_its_prepared_grid(anatomy, prepared):
    maps = anatomy.tissues(*prepared)
    for found, image, whole in zip(maps, prepared, (anatomy.fixed, anatomy.moving), strict=True):
        expected = tissue_maps(image.tensor, whole.brightness, whole.deep_share(image.grid), 1.0)
        assert torch.equal(found, expected)
        assert found.shape[2:] == image.grid.shape


def test_deep_share_is_that_of_structures_within_the_brain(anatomy, prepared):
    # The ball of channel 8, a putamen, about its middle; that of channel 2, cortex, is left as it is.
    share = anatomy.fixed.deep_share(prepared[0].grid)[0, 0]
    to_voxels = np.linalg.inv(prepared[0].grid.matrix)
    for channel, expected in ((8, 1.0), (2, 0.0)):
        place = to_voxels @ [*CENTRES[CHANNELS.index(channel)], 1.0]
        assert float(share[tuple(np.round(place[:3]).astype(int))]) == pytest.approx(expected, abs=1e-4)


def test_maps_of_tissues_are_made_for_images_prepared_coarsely_too(model):
    image = balls_image(spacing=2.0)
    coarse = prepare(image, spacing=2.0)
    found = PairAnatomy.of((image, image), (coarse, coarse), model).tissues(coarse, coarse)
    assert found[0].shape == (1, len(MAPS), *coarse.grid.shape)
    torch.testing.assert_close(found[0], found[1])
    assert float(found[0].max()) > 0.5


def test_prepared_image_is_used_again_at_its_sizes(images, prepared):
    found = fitting_network(images[0], prepared[0])
    depth, height, width = prepared[0].grid.shape
    assert all(size % 16 == 0 for size in found.grid.shape)
    assert torch.equal(found.tensor[:, :, :depth, :height, :width], prepared[0].tensor)
    np.testing.assert_array_equal(found.grid.matrix, prepared[0].grid.matrix)
    assert float(found.tensor[0, 0, -1, 0, 0]) == float(prepared[0].tensor[0, 0, -1, 0, 0])


def test_image_that_was_prepared_too_coarsely_is_prepared_anew(model):
    image = balls_image(spacing=2.0)
    found = fitting_network(image, prepare(image, spacing=2.0))
    expected = prepare_for_network(image, "the image")
    np.testing.assert_array_equal(found.tensor, expected.tensor)
    assert found.grid.spacing == pytest.approx((1.0, 1.0, 1.0))


@pytest.fixture
def shipped(model, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: True)
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.default_model", lambda: model)


def test_registration_segments_both_images_and_says_how_well_they_agree(shipped, model):
    fixed, moving = balls_image(spacing=2.0), balls_image(TURN, spacing=2.0)
    result = SLSFGRLib.register(fixed, moving, "fast")
    for labels, image in ((result.fixed_labels, fixed), (result.moving_labels, moving)):
        expected = SLSFGRLib.segment(image, model=model)
        agree = sitk.GetArrayFromImage(labels) == sitk.GetArrayFromImage(expected)
        assert agree.mean() > 0.999
    # Where bright borders on dark, this network sees what lies between, so even a perfect registration gives no one.
    assert result.report["dice_before"] < 0.1
    assert result.report["dice_after"] > 0.15
    assert result.report["model"]["name"] == "by brightness"


def test_labels_of_the_user_come_before_those_of_the_network(shipped):
    image = balls_image(spacing=2.0)
    own = sitk.Cast(image > 300, sitk.sitkUInt8) * 77
    result = SLSFGRLib.register(image, image, "fast", moving_labels=own)
    assert set(np.unique(sitk.GetArrayFromImage(result.fixed_labels))) == {0, 77}
    assert result.report["dice_after"] == pytest.approx(1.0, abs=0.02)


def test_thread_that_makes_the_label_maps_ends_with_them(shipped, monkeypatch):
    # While it lived, so would threads of OpenMP's own to it, which slow all others down.
    makers, alive = queue.Queue(), []
    make, deform = PairAnatomy.labels, registration._deformed

    def labels(anatomy, *images):
        makers.put(threading.current_thread())
        return make(anatomy, *images)

    def deformed(*arguments):
        maker = makers.get(timeout=10.0)
        maker.join(timeout=10.0)
        alive.append(maker.is_alive())
        return deform(*arguments)

    monkeypatch.setattr(PairAnatomy, "labels", labels)
    monkeypatch.setattr(registration, "_deformed", deformed)
    SLSFGRLib.register(balls_image(spacing=2.0), balls_image(TURN, spacing=2.0), "fast")
    assert alive == [False]


@pytest.mark.parametrize(("mode", "spacing", "times"), [("standard", 2.0, 1), ("accurate", 1.5, 1), ("fast", 2.0, 0)])
def test_what_coarse_levels_find_is_drawn_to_the_mean_brain(shipped, monkeypatch, mode, spacing, times):
    drawn, fractions = [], []

    def shifted(field, matrix, fixed, moving, mean):
        drawn.append((field, matrix, fixed, moving, mean))
        return field

    monkeypatch.setattr(pair_anatomy, "drawn_to_mean", shifted)
    # The same brain, seen 3 mm farther left, not aligned: the matrix is the initial one.
    fixed = balls_image(spacing=spacing)
    shift = sitk.TranslationTransform(3, (0.0, 0.0, 0.0))
    moving = balls_image(affine_matrix(np.eye(3), (3.0, 0.0, 0.0)), spacing=spacing)
    options = {"affine": False, "initial_transform": shift}
    SLSFGRLib.register(fixed, moving, mode, progress=lambda part, _: fractions.append(part), **options)
    assert len(drawn) == times
    assert fractions == sorted(fractions)
    for field, matrix, of_fixed, of_moving, mean in drawn:
        np.testing.assert_allclose(matrix, np.eye(4), atol=1e-6)
        # Of the fixed image's box, at 4 mm.
        np.testing.assert_allclose(of_fixed.grid.resized(field.shape[2:]).spacing, 4.0, atol=1.1)
        # What is at x in the fixed image is at x - 3 mm in the moving one, along the last axis.
        found = of_moving.structures.centroids - of_fixed.structures.centroids
        there = of_fixed.structures.volumes > 1000.0
        assert there.sum() >= 4
        np.testing.assert_allclose(np.median(found[there], axis=0), [-3.0, 0.0, 0.0], atol=0.6)
        assert mean.tissues.shape[1] == of_fixed.tissues.shape[1] == of_moving.tissues.shape[1] == 3
        centre = tuple(size // 2 for size in field.shape[2:])
        step = field[0, :, *centre] * 4.0
        assert step[2] == pytest.approx(-3.0, abs=1.5)
