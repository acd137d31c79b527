"""Template-guided registration: the field via a population template, and the template's file."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import ATLAS_SHAPE, balls_subject, brain_atlas, rotation_about

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.label_table import mirrored_channels
from SLSFGRLib.losses.lncc import local_correlation
from SLSFGRLib.models.template_file import bundled_template_file
from SLSFGRLib.registration.template import (
    MIN_LNCC_RATIO,
    TissueAtlas,
    bundled_template,
    guide_by_atlas,
)
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import jacobian_determinant
from SLSFGRLib.spatial.warping import AffineWarper

POSE = Affine.from_parts(1.05 * rotation_about((1, 2, -1), 8.0), (5.0, -4.0, 3.0))
IDENTITY = Affine.identity()
# Away from the border, where the template has its full weight of one half.
INNER = (..., slice(2, -2), slice(2, -2), slice(2, -2))


def zero_field():
    """Return a field of zeros at 4 mm."""
    return torch.zeros(1, 3, *(size // 2 for size in ATLAS_SHAPE))


def field_via_template(template, fixed, moving, affine):
    """Return the field via the template away from the border, in voxels of 4 mm, from its average with zero."""
    return 2.0 * guide_by_atlas(zero_field(), fixed, moving, affine, template)[INNER]


def similarity(field, affine, fixed, moving):
    """Return the mean local correlation of the tissue maps in the fixed brain, for a field at 4 mm."""
    matrix = affine.in_voxels(fixed.grid, moving.grid)
    target = torch.nn.functional.avg_pool3d(fixed.tissues, 2)
    warped = AffineWarper(moving.tissues, matrix, fixed.grid.shape, 2)(field)
    inside = target.sum(1)[0] > 0.05
    return np.mean(
        [float(local_correlation(warped[:, i : i + 1], target[:, i : i + 1])[0, 0][inside].mean()) for i in range(3)]
    )


# --- guidance -----------------------------------------------------------------------------------------------


def test_field_via_the_template_leads_to_the_same_place_of_the_same_brain():
    fixed, moving = brain_atlas(), brain_atlas(POSE)
    # The moving brain shows at x what the fixed one shows at POSE x: the affine transform says it all.
    truth, template = POSE.inverse(), brain_atlas(ridges=3.0)
    found = field_via_template(template, fixed, moving, truth)
    inside = (fixed.tissues.sum(1)[0, ::2, ::2, ::2] > 0.5)[INNER]
    lengths = found.norm(dim=1)[0][inside]
    # In voxels of 4 mm.
    assert 0.0 < lengths.mean() < 0.15
    assert lengths.max() < 0.6
    # With another affine transform, the field makes up for the difference.
    shifted = truth.then(Affine.from_parts(np.eye(3), (4.0, 0.0, 0.0)))
    other = field_via_template(template, fixed, moving, shifted)
    coarse = fixed.grid.resized(zero_field().shape[2:])
    step = truth.then(shifted.inverse()).in_voxels(coarse, coarse)[:3, 3]
    assert np.linalg.norm(step) > 0.9
    np.testing.assert_allclose((other - found).mean((0, 2, 3, 4)), step, atol=0.1)


def test_half_of_the_field_is_via_the_template_and_nothing_on_the_border():
    fixed, moving = brain_atlas(), brain_atlas(phase=0.3)
    direct = torch.full((1, 3, 12, 14, 12), 0.1)
    found, without = (
        guide_by_atlas(field, fixed, moving, IDENTITY, fixed) for field in (direct, torch.zeros_like(direct))
    )
    # What the direct field adds; it is 0.2 in voxels of 4 mm.
    added = found - without
    assert not torch.equal(without, torch.zeros_like(without))
    assert torch.allclose(added[INNER], torch.tensor(0.1), atol=1e-6)
    assert torch.allclose(added[..., 1, 2:-2, 2:-2], torch.tensor(0.15), atol=1e-6)
    for axis in (2, 3, 4):
        for end in (0, -1):
            assert torch.allclose(added.select(axis, end), torch.tensor(0.2), atol=1e-6)
            assert torch.equal(without.select(axis, end), torch.zeros_like(without.select(axis, end)))


def test_template_is_ignored_where_it_costs_much_similarity():
    # One brain twice, but for some noise; a template with other folds cannot do better than the direct field.
    fixed = brain_atlas()
    noise = 0.1 * torch.rand(fixed.tissues.shape, generator=torch.Generator().manual_seed(0))
    moving = replace(fixed, tissues=fixed.tissues + noise)
    misfit = brain_atlas(phase=np.pi, ridges=9.0)
    assert torch.equal(guide_by_atlas(zero_field(), fixed, moving, IDENTITY, misfit), zero_field())
    assert not torch.equal(guide_by_atlas(zero_field(), fixed, moving, IDENTITY, fixed), zero_field())
    # Against a bad direct field the same template is good enough; so the field via it can be seen.
    bad = torch.zeros_like(zero_field())
    bad[INNER] = 4.0
    via = 2.0 * guide_by_atlas(bad, fixed, moving, IDENTITY, misfit)[INNER] - bad[INNER]
    whole = zero_field()
    whole[INNER] = via
    direct = similarity(zero_field(), IDENTITY, fixed, moving)
    assert similarity(whole, IDENTITY, fixed, moving) < MIN_LNCC_RATIO * direct


@pytest.mark.parametrize("counts", [(12, 3), (3, 12)])
def test_template_is_ignored_where_too_few_structures_are_found(counts):
    fixed, moving = (brain_atlas(phase=phase, count=count) for phase, count in zip((0.0, 1.0), counts, strict=True))
    assert torch.equal(guide_by_atlas(zero_field(), fixed, moving, IDENTITY, brain_atlas()), zero_field())


def test_different_brains_become_more_similar_without_folding():
    fixed, moving, template = brain_atlas(phase=0.7), brain_atlas(POSE, phase=-0.7), brain_atlas(ridges=2.0)
    affine = POSE.inverse()
    found = guide_by_atlas(zero_field(), fixed, moving, affine, template)
    assert found.abs().max() > 0.2
    assert similarity(found, affine, fixed, moving) > similarity(zero_field(), affine, fixed, moving)
    assert jacobian_determinant(found).min() > 0.2


def test_atlas_of_a_subject_has_its_tissues_at_2_mm():
    subject = balls_subject()
    found = TissueAtlas.from_subject(subject)
    assert found.grid.spacing == pytest.approx((2.0, 2.0, 2.0))
    assert found.grid.shape == tuple(found.tissues.shape[2:]) == tuple(size // 2 for size in subject.grid.shape)
    np.testing.assert_allclose(found.grid.centre, subject.grid.centre)
    np.testing.assert_allclose(
        found.tissues[0, :, 30, 24, 35], subject.tissues[0, :3, 60:62, 48:50, 70:72].mean((1, 2, 3)), rtol=1e-5
    )
    assert found.structures is subject.segmentation.structures


# --- files --------------------------------------------------------------------------------------------------


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A template in the place of the bundled one: its path and its checksum."""
    path = tmp_path / "template.pt"
    brain_atlas().save(path, "1.2.3")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".pt.sha256").write_text(f"{sha256}  {path.name}\n")
    monkeypatch.setattr("SLSFGRLib.models.template_file.model_path", lambda name: tmp_path / f"{name}.pt")
    return path, sha256


def test_file_gives_back_what_was_saved(bundled):
    found, expected = bundled_template(), brain_atlas()
    torch.testing.assert_close(found.tissues, expected.tissues, atol=0.5 / 255 + 1e-6, rtol=0.0)
    assert found.grid.shape == expected.grid.shape
    np.testing.assert_array_equal(found.grid.matrix, expected.grid.matrix)
    np.testing.assert_array_equal(found.structures.volumes, expected.structures.volumes)
    np.testing.assert_array_equal(found.structures.centroids, expected.structures.centroids)


def test_template_is_described_by_the_version_and_checksum_of_its_file(bundled):
    expected = {"role": "template", "name": "template", "version": "1.2.3", "sha256": bundled[1]}
    assert bundled_template_file().description() == expected


def test_damaged_file_is_refused_and_a_missing_one_is_none(bundled):
    path, _ = bundled
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is damaged; install SLSFGR again"):
        bundled_template()
    path.unlink()
    assert bundled_template() is None


def test_bundled_template_is_a_brain():
    template = bundled_template()
    volumes = template.tissues[0].sum((1, 2, 3)) * float(np.prod(template.grid.spacing)) / 1000.0
    # In ml; deep structures and brain stem are in none of the maps.
    assert 400 < volumes[1] < 800
    assert 300 < volumes[2] < 600
    assert template.tissues.min() == 0.0
    assert template.tissues.sum(1).max() < 1.02
    assert all(size % 4 == 0 for size in template.grid.shape)
    assert (template.structures.volumes > 150).all()
    # Left and right are nearly mirror images: the midpoints of the pairs lie in one plane.
    sides = np.array(mirrored_channels()[1:]) - 1
    paired = np.flatnonzero(sides != np.arange(len(sides)))
    midpoints = (template.structures.centroids[paired] + template.structures.centroids[sides[paired]]) / 2.0
    normal = np.linalg.svd(midpoints - midpoints.mean(0))[2][-1]
    assert np.abs((midpoints - midpoints.mean(0)) @ normal).max() < 2.0
    assert abs(normal[0]) > 0.9
