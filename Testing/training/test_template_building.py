"""The population template of some brains whose mean is known."""

import numpy as np
import pytest
import torch
from fake_models import for_any_contrast
from phantoms import ATLAS_CENTRES, ATLAS_SHAPE, brain_atlas, head_image, rotation_about

from SLSFGRLib.errors import InputError
from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.training import template_building
from SLSFGRLib.training.template_building import SegmentedSubject, build_template


def segmented_subject(pose=None, **options):
    """Return the phantom with a soft ball for each structure."""
    atlas = brain_atlas(pose, **options)
    posteriors = torch.zeros(1, 13, *ATLAS_SHAPE)
    centres = torch.from_numpy(Affine(atlas.grid.matrix).inverse().apply(atlas.structures.centroids))
    voxels = torch.stack(torch.meshgrid(*[torch.arange(size) for size in ATLAS_SHAPE], indexing="ij"), dim=-1)
    for number, centre in enumerate(centres):
        posteriors[0, number + 1] = torch.exp(-0.5 * ((voxels - centre) / 2.0).square().sum(-1))
    return SegmentedSubject(atlas, posteriors)


def white_matter_volume(atlas):
    return float(atlas.tissues[0, 2].sum() * np.prod(atlas.grid.spacing))


def test_template_of_one_brain_in_many_poses_is_that_brain(monkeypatch):
    monkeypatch.setattr(template_building, "ROUNDS", template_building.ROUNDS[:3])
    scales = (0.9, 1.0 / 0.9, 1.0)
    rotations = (rotation_about((0, 0, 1), degrees) for degrees in (6.0, -5.0, 0.0))
    poses = [
        Affine.from_parts(scale * rotation, (3.0, 2.0, -4.0)) for scale, rotation in zip(scales, rotations, strict=True)
    ]
    fractions = []
    template = build_template([segmented_subject(pose) for pose in poses], fractions.append)
    # The brains' volumes are 0.9^3 to 0.9^-3 of the original's; their geometric mean is its own.
    assert white_matter_volume(template) == pytest.approx(white_matter_volume(brain_atlas()), rel=0.04)
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.8
    # As sharp as each of them: most voxels of white matter hold nothing else.
    sharp = (template.tissues[0, 2] > 0.9).sum() / (template.tissues[0, 2] > 0.1).sum()
    single = brain_atlas().tissues[0, 2]
    assert sharp > 0.75 * (single > 0.9).sum() / (single > 0.1).sum()
    # Its structures have the same distances from each other.
    pairwise = [
        np.linalg.norm(centres[:, None] - centres, axis=-1)
        for centres in (template.structures.centroids, ATLAS_CENTRES)
    ]
    np.testing.assert_allclose(pairwise[0], pairwise[1], atol=1.5)


def test_brain_without_enough_structures_is_refused():
    with pytest.raises(InputError, match="too few structures"):
        build_template([segmented_subject(), segmented_subject(count=2)])


def test_network_segments_a_brain_at_2_mm():
    torch.manual_seed(0)
    network = SLSFGRNetwork(30, channels=(4, 6, 8, 8), matching_channels=4)
    found = SegmentedSubject.from_image(head_image()[0], for_any_contrast(network))
    assert found.maps.grid.shape == tuple(found.probabilities.shape[2:]) == tuple(found.maps.tissues.shape[2:])
    np.testing.assert_allclose(found.maps.grid.spacing, 2.0)
    assert torch.allclose(found.probabilities.sum(1), torch.ones(1), atol=1e-4)
