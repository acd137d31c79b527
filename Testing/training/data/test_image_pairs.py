"""Alignment and augmentation of the images of a training run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import generator, numbers_image

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.losses import GlobalCorrelation
from SLSFGRLib.spatial.fields import smooth
from SLSFGRLib.synthesis import LabelMap, Synthesis, Synthesiser, partial_volume_labels
from SLSFGRLib.training.data.image_pairs import align_images, augment, draw_pair, load_images, render_images
from SLSFGRLib.training.sections import Augmentation

STILL = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0)


def smooth_image():
    noise = torch.rand(1, 1, 24, 28, 20, generator=generator(0))
    return (3.0 * smooth(noise, 2.0) - 1.0).clamp(0, 1)


def test_images_are_aligned_to_the_first_one(head_folder):
    files = [head_folder / f"head_{name}.nii.gz" for name in "abc"]
    images = align_images(load_images(files, 3.0, 4), lambda fraction: None)
    assert [size % 4 for size in images.shape[2:]] == [0, 0, 0]
    for number in (1, 2):
        assert float(GlobalCorrelation()(images[number : number + 1], images[:1])) < 0.02


def test_no_augmentation_changes_nothing():
    torch.testing.assert_close(augment(smooth_image(), STILL, 2.0, generator(0)), smooth_image(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("option", ["rotation_degrees", "scale", "shift_mm", "deformation_mm", "gamma"])
def test_every_augmentation_depends_on_the_seed_alone(option):
    augmentation = replace(STILL, **{option: getattr(Augmentation(), option)})
    first, again, other = (augment(smooth_image(), augmentation, 2.0, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert (first - smooth_image()).abs().max() > 0.02
    assert (first - other).abs().max() > 0.02


def test_shift_is_in_millimetres_and_bounded():
    ramp = torch.arange(24.0)[:, None, None].expand(1, 1, 24, 28, 20) / 24
    shifts = []
    for seed in range(40):
        moved = augment(ramp, replace(STILL, shift_mm=6.0), 2.0, generator(seed))
        shifts.append(24 * float((moved - ramp)[0, 0, 10, 14, 10]))
    assert 2.5 < max(np.abs(shifts)) <= 3.0 + 1e-4
    assert min(shifts) < -1.5 < 1.5 < max(shifts)


def test_pair_is_of_two_different_images():
    images = torch.stack([torch.full((1, 8, 8, 8), value) for value in (0.1, 0.2, 0.3)])
    seen = set()
    for seed in range(60):
        moving, fixed = draw_pair(images, STILL, 2.0, generator(seed))
        seen.add((round(float(moving.mean()), 3), round(float(fixed.mean()), 3)))
    assert seen == {(a, b) for a in (0.1, 0.2, 0.3) for b in (0.1, 0.2, 0.3) if a != b}


def test_images_made_from_label_maps_have_the_right_grid():
    label_map = LabelMap.from_image(numbers_image((62, 78, 60), 2.0))
    plain = Synthesis(0, 0, 0, 0, 0, 0, 0, flip_chance=0, cut_chance=0, strip_chance=0)
    first, second = render_images([label_map, label_map], plain, 4.0, generator(0))
    assert not torch.equal(first.tensor, second.tensor)
    expected = Synthesiser(plain, first.grid.shape, 4.0).sample([label_map], generator(0))
    assert torch.equal(first.tensor, expected.image)
    assert first.grid.spacing.tolist() == [4.0, 4.0, 4.0]
    assert [size % 8 for size in first.grid.shape] == [0, 0, 0]
    # The left hippocampus of the head lies at (28, 12, -16) LPS from its centre.
    labels = partial_volume_labels(expected.anatomy)[0]
    names = [structure.name for structure in read_label_table()]
    fraction = labels[1 + names.index("Left hippocampus")].numpy()
    voxel = [np.average(index, weights=fraction) for index in np.indices(fraction.shape)]
    place = first.grid.matrix[:3, :3] @ voxel + first.grid.matrix[:3, 3] - first.grid.centre
    assert np.linalg.norm(place - (28, 12, -16)) < 3.0
