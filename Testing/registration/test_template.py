"""The mean brain: two brains are compared by way of it, where it knows more than they do."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import affine_matrix, head_image, rotation_about

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.label_table import mirrored_channels
from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.registration import template as module
from SLSFGRLib.registration.template import BrainMaps, drawn_to_mean, mean_brain
from SLSFGRLib.segmentation.structures import Structures
from SLSFGRLib.spatial.fields import jacobian_determinant
from SLSFGRLib.spatial.grid import Grid, voxel_to_voxel
from SLSFGRLib.training import template_building
from SLSFGRLib.training.template_building import SegmentedSubject, build_template

SHAPE = (48, 56, 48)
# White matter with ridges, and twelve structures in it.
CENTRES = np.array([[x, y, z] for x in (-18, 19) for y in (-21, 1, 23) for z in (-15, 17)], float)
CENTRES += np.random.default_rng(1).uniform(-3, 3, CENTRES.shape)
POSE = affine_matrix(1.05 * rotation_about((1, 2, -1), 8.0), (5.0, -4.0, 3.0))


def grid(shape=SHAPE, spacing=2.0):
    return Grid.upright(shape, spacing, (0.0, 0.0, 0.0))


def applied(matrix, points):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def brain(matrix=None, ridges=5.0, count=12, phase=0.0):
    """A ridged ball of white matter in grey matter in fluid; with a matrix, as seen at ``matrix @ point``."""
    where = grid()
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    points = applied(where.matrix, places)
    centres = CENTRES
    if matrix is not None:
        points = applied(matrix, points)
        centres = applied(np.linalg.inv(matrix), CENTRES)
    radius = np.linalg.norm(points * (1.0, 0.85, 1.0), axis=-1)
    x, y, z = np.moveaxis(points, -1, 0)
    fold = ridges * np.sin(np.arctan2(y, x) * 5 + phase) * np.sin(np.arctan2(np.hypot(x, y), z) * 6)
    inner, middle, outer = (1.0 / (1.0 + np.exp((radius - fold - edge) / 0.7)) for edge in (28.0, 33.0, 39.0))
    tissues = np.stack([outer - middle, middle - inner, inner]).astype(np.float32)
    volumes = np.where(np.arange(12) < count, 900.0, 0.0)
    return BrainMaps(torch.from_numpy(tissues)[None], where, Structures(volumes, centres))


def inside(maps):
    return maps.tissues.sum(1)[0, ::2, ::2, ::2] > 0.5


def no_field():
    return torch.zeros(1, 3, *(size // 2 for size in SHAPE))


def test_the_way_by_the_mean_leads_where_the_same_brain_lies():
    fixed, moving = brain(), brain(POSE)
    # The moving brain shows at x what the fixed one shows at POSE x.
    field = module._by_way_of(brain(ridges=3.0), fixed, moving, np.linalg.inv(POSE))
    off = field.square().sum(1).sqrt()[0][inside(fixed)]
    # In voxels of 4 mm.
    assert off.mean() < 0.15
    assert off.max() < 0.6
    # By another matrix, the field makes up for it.
    shifted = affine_matrix(None, (4.0, 0.0, 0.0)) @ np.linalg.inv(POSE)
    other = module._by_way_of(brain(ridges=3.0), fixed, moving, shifted)
    expected = np.linalg.inv(shifted) @ np.linalg.inv(POSE)
    coarse = fixed.grid.resized(field.shape[2:])
    step = voxel_to_voxel(expected, coarse, coarse)[:3, 3]
    np.testing.assert_allclose((other - field).mean((0, 2, 3, 4)), step, atol=0.1)


def test_half_of_the_way_counts_and_none_of_it_on_the_border(monkeypatch):
    way = torch.full((1, 3, 24, 28, 24), 0.4)
    monkeypatch.setattr(module, "_by_way_of", lambda *_: way)
    monkeypatch.setattr(module, "_likeness", lambda *_: 0.5)
    direct = torch.full((1, 3, 12, 14, 12), 0.1)
    fixed = brain()
    found = drawn_to_mean(direct, np.eye(4), fixed, brain(phase=1.0), fixed)
    # The direct field in voxels of 4 mm is 0.2.
    assert torch.allclose(found[..., 3:-3, 3:-3, 3:-3], torch.tensor(0.3))
    assert torch.allclose(found[..., 1, 3:-3, 3:-3], torch.tensor(0.25))
    for axis in (2, 3, 4):
        assert torch.allclose(found.select(axis, 0), torch.tensor(0.2))
        assert torch.allclose(found.select(axis, -1), torch.tensor(0.2))


def test_a_way_on_which_much_likeness_is_lost_is_not_taken():
    # One brain twice, but for some noise; the mean has other folds.
    fixed = brain()
    noise = 0.1 * torch.rand(fixed.tissues.shape, generator=torch.Generator().manual_seed(0))
    moving = replace(fixed, tissues=fixed.tissues + noise)
    mean = brain(phase=np.pi, ridges=9.0)
    direct = module._likeness(no_field(), np.eye(4), fixed, moving)
    way = module._by_way_of(mean, fixed, moving, np.eye(4))
    assert module._likeness(way, np.eye(4), fixed, moving) < module.LEAST_LIKENESS * direct
    assert torch.equal(drawn_to_mean(no_field(), np.eye(4), fixed, moving, mean), no_field())


def test_brains_in_which_little_is_recognised_are_not_drawn_to_the_mean():
    fixed, moving = brain(), brain(phase=1.0, count=3)
    assert torch.equal(drawn_to_mean(no_field(), np.eye(4), fixed, moving, fixed), no_field())
    assert torch.equal(drawn_to_mean(no_field(), np.eye(4), moving, fixed, fixed), no_field())


def test_unlike_brains_are_drawn_to_the_mean_without_folding():
    fixed, moving, mean = brain(phase=0.7), brain(POSE, phase=-0.7), brain(ridges=2.0)
    matrix = np.linalg.inv(POSE)
    found = drawn_to_mean(no_field(), matrix, fixed, moving, mean)
    assert found.abs().max() > 0.2
    assert module._likeness(found, matrix, fixed, moving) > module._likeness(no_field(), matrix, fixed, moving)
    assert jacobian_determinant(found).min() > 0.2


def test_maps_are_brought_to_two_millimetres():
    tissues = torch.rand(1, 4, 32, 48, 40, generator=torch.Generator().manual_seed(0))
    fine = grid((32, 48, 40), 1.0)
    structures = Structures(np.ones(3), np.zeros((3, 3)))
    found = BrainMaps.of(tissues, fine, structures)
    assert found.grid.shape == tuple(found.tissues.shape[2:]) == (16, 24, 20)
    np.testing.assert_allclose(
        found.tissues[0, :, 3, 4, 5], tissues[0, :3, 6:8, 8:10, 10:12].mean((1, 2, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(found.grid.centre, fine.centre)
    coarse = BrainMaps.of(tissues, grid((32, 48, 40), 2.0), structures)
    assert torch.equal(coarse.tissues, tissues[:, :3])


# --- files --------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A mean brain in the place of the one that ships."""
    path = tmp_path / "mean_brain.pt"
    brain().save(path)
    path.with_suffix(".pt.sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    monkeypatch.setattr(module, "model_path", lambda name: tmp_path / f"{name}.pt")
    return path


def test_a_file_gives_back_what_was_saved(shipped):
    found, expected = mean_brain(), brain()
    torch.testing.assert_close(found.tissues, expected.tissues, atol=0.5 / 255 + 1e-6, rtol=0.0)
    assert found.grid.shape == expected.grid.shape
    np.testing.assert_array_equal(found.grid.matrix, expected.grid.matrix)
    np.testing.assert_array_equal(found.structures.volumes, expected.structures.volumes)
    np.testing.assert_array_equal(found.structures.centroids, expected.structures.centroids)


def test_a_damaged_file_is_refused_and_a_missing_one_is_none(shipped):
    shipped.write_bytes(shipped.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is damaged; install SLSFGR again"):
        mean_brain()
    shipped.unlink()
    assert mean_brain() is None


def test_the_mean_brain_that_ships_is_a_brain():
    mean = mean_brain()
    volumes = mean.tissues[0].sum((1, 2, 3)) * float(np.prod(mean.grid.spacing)) / 1000.0
    # In ml; nuclei and brain stem are in none of the maps.
    assert 400 < volumes[1] < 800
    assert 300 < volumes[2] < 600
    assert mean.tissues.min() == 0.0
    assert mean.tissues.sum(1).max() < 1.02
    assert all(size % 4 == 0 for size in mean.grid.shape)
    assert (mean.structures.volumes > 150).all()
    # Left and right are nearly mirror images: the pairs' middles lie in one plane.
    sides = np.array(mirrored_channels()[1:]) - 1
    paired = np.flatnonzero(sides != np.arange(len(sides)))
    middles = (mean.structures.centroids[paired] + mean.structures.centroids[sides[paired]]) / 2.0
    normal = np.linalg.svd(middles - middles.mean(0))[2][-1]
    assert np.abs((middles - middles.mean(0)) @ normal).max() < 2.0
    assert abs(normal[0]) > 0.9


# --- averaging ----------------------------------------------------------------------------------------------


def seen(matrix=None, **options):
    maps = brain(matrix, **options)
    shares = torch.zeros(1, 13, *SHAPE)
    places = torch.from_numpy(np.linalg.solve(maps.grid.matrix, np.c_[maps.structures.centroids, np.ones(12)].T)[:3].T)
    axes = torch.stack(torch.meshgrid(*[torch.arange(size) for size in SHAPE], indexing="ij"), dim=-1)
    for number, place in enumerate(places):
        shares[0, number + 1] = torch.exp(-0.5 * ((axes - place) / 2.0).square().sum(-1))
    return SegmentedSubject(maps, shares)


def white_volume(maps):
    return float(maps.tissues[0, 2].sum() * np.prod(maps.grid.spacing))


def test_the_mean_of_one_brain_in_many_poses_is_that_brain(monkeypatch):
    monkeypatch.setattr(template_building, "ROUNDS", template_building.ROUNDS[:3])
    sizes = (0.9, 1.0 / 0.9, 1.0)
    turns = (rotation_about((0, 0, 1), degrees) for degrees in (6.0, -5.0, 0.0))
    poses = [affine_matrix(size * turn, (3.0, 2.0, -4.0)) for size, turn in zip(sizes, turns, strict=True)]
    fractions = []
    mean = build_template([seen(pose) for pose in poses], fractions.append)
    # The brains' volumes are 0.9^3 to 0.9^-3 of the original's; their geometric mean is its own.
    assert white_volume(mean) == pytest.approx(white_volume(brain()), rel=0.04)
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.8
    # As sharp as each of them: most voxels of white matter hold nothing else.
    sharp = (mean.tissues[0, 2] > 0.9).sum() / (mean.tissues[0, 2] > 0.1).sum()
    single = brain().tissues[0, 2]
    assert sharp > 0.75 * (single > 0.9).sum() / (single > 0.1).sum()
    # And its structures lie in it as they do in them.
    pairwise = [np.linalg.norm(places[:, None] - places, axis=-1) for places in (mean.structures.centroids, CENTRES)]
    np.testing.assert_allclose(pairwise[0], pairwise[1], atol=1.5)


def test_a_brain_that_is_not_recognised_is_refused():
    blind = seen(count=2)
    with pytest.raises(InputError, match="too few structures"):
        build_template([seen(), blind])


def test_a_brain_is_seen_by_the_network_at_two_millimetres():
    torch.manual_seed(0)
    network = SLSFGRNetwork(30, channels=(4, 6, 8, 8), matching_channels=4)
    found = SegmentedSubject.from_image(head_image()[0], network)
    assert found.maps.grid.shape == tuple(found.probabilities.shape[2:]) == tuple(found.maps.tissues.shape[2:])
    np.testing.assert_allclose(found.maps.grid.spacing, 2.0)
    assert torch.allclose(found.probabilities.sum(1), torch.ones(1), atol=1e-4)
