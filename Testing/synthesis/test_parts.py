"""Parts of a head with intensities of their own, and what else makes whole heads differ."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import generator, numbers_image

from SLSFGRLib.synthesis import LabelMap, Synthesis, Synthesiser
from SLSFGRLib.synthesis.acquisition import erase_outside, random_fall_off, random_wrap
from SLSFGRLib.synthesis.contrasts import typical_contrast
from SLSFGRLib.synthesis.parts import PARTS, add_lesion, divide_outside
from SLSFGRLib.synthesis.poses import below_the_brain, random_pose, random_rotation
from SLSFGRLib.synthesis.tissue_contrasts import INTENSITY_PROFILES, classes

SHAPE, SPACING = (40, 48, 44), 4.0
OUTSIDE = [row for row, name in enumerate(classes().names) if INTENSITY_PROFILES[name].group == "outside"]


@pytest.fixture(scope="module")
def label_map():
    return LabelMap.from_image(numbers_image())


def ball(radius_mm):
    """The voxels within a distance of the centre, (1, 1, D, H, W)."""
    axes = [(np.arange(size) - (size - 1) / 2.0) * SPACING for size in SHAPE]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    return torch.from_numpy(distance < radius_mm).float()[None, None]


def test_dividing_changes_tissues_outside_the_brain_alone():
    kinds = torch.arange(len(classes().names), dtype=torch.uint8).repeat(8, 64, 1)[..., None].contiguous()
    typical = typical_contrast("t1")
    changed = torch.zeros(len(typical.intensity), dtype=torch.bool)
    for seed in range(8):
        divided, contrast = divide_outside(kinds, typical, SPACING, generator(seed))
        assert len(contrast.intensity) == PARTS * len(typical.intensity)
        difference = contrast.intensity[divided.long()] != typical.intensity[kinds.long()]
        changed |= difference.flatten(0, 1)[..., 0].any(0)
    assert changed.nonzero().flatten().tolist() == OUTSIDE


def test_lesion_changes_the_brain_alone():
    image, brain = torch.full((1, 1, *SHAPE), 0.5), ball(60)
    changed = [(add_lesion(image, brain, SPACING, generator(seed)) - image).abs() > 0.01 for seed in range(6)]
    assert not any((change & (brain == 0)).any() for change in changed)
    assert sum(bool(change.any()) for change in changed) >= 4


def test_brain_is_never_erased():
    image, brain = torch.ones(1, 1, *SHAPE), ball(30)
    erased = [erase_outside(image, brain, SPACING, generator(seed)) for seed in range(6)]
    assert all((left[brain > 0] == 1).all() for left in erased)
    assert any((left == 0).any() for left in erased)


def test_signal_falls_off_to_one_side():
    image = torch.ones(1, 1, *SHAPE)
    for seed in range(4):
        values = random_fall_off(image, SPACING, generator(seed))
        assert 0.0 < values.min() < 0.9
        assert values.max() == 1.0


def test_wrapped_image_is_its_own_far_end():
    image = torch.rand(1, 1, *SHAPE)
    difference = random_wrap(image, generator(1)) - image
    where = (difference[0, 0] > 0).nonzero()
    widths = (where.max(0).values - where.min(0).values + 1).tolist()
    axis = next(axis for axis, (width, size) in enumerate(zip(widths, SHAPE, strict=True)) if width < size)
    assert widths[axis] <= SHAPE[axis] / 4


def test_heads_are_turned_any_way():
    rotations = torch.stack([random_rotation(generator(seed)).linear for seed in range(200)])
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(200, 3, 3), atol=1e-5, rtol=0)
    # Of rotations that are all equally likely, the mean is zero.
    assert rotations.mean(0).abs().max() < 0.15
    settings = Synthesis(any_pose_chance=1.0, scale=0.0, shear=0.0)
    assert min(float(random_pose(settings, generator(seed)).linear[0, 0]) for seed in range(20)) < -0.5


def test_image_without_brain_shows_none(label_map):
    settings = Synthesis(absent_chance=1.0, large_rotation_chance=0.0, rotation_degrees=0.0)
    synthesiser = Synthesiser(settings, (16, 32, 32), SPACING)
    drawn = [synthesiser.sample([label_map], generator(seed)) for seed in range(6)]
    shown = [float((sample.labels > 0).float().mean()) for sample in drawn]
    usual = replace(synthesiser, settings=replace(settings, absent_chance=0.0)).sample([label_map], generator(0))
    assert np.mean(shown) < 0.02 < float((usual.labels > 0).float().mean())
    pose = random_pose(settings, generator(0))
    assert below_the_brain(pose, generator(1)).shift[0] < pose.shift[0] - 100
