"""Objects that are no heads, images that fade out around the brain, and fluid of any intensity."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import generator, numbers_image

from SLSFGRLib.preprocessing.brain_mask import FADE_MM, KEPT_MM
from SLSFGRLib.preprocessing.brain_mask import fading as prepared_fading
from SLSFGRLib.preprocessing.prepare import DEEP_MM
from SLSFGRLib.synthesis import LabelMap, Synthesis, Synthesiser, acquisition
from SLSFGRLib.synthesis.acquisition import fading, normalise
from SLSFGRLib.synthesis.contrasts import FLUID_RANGE, draw_contrast
from SLSFGRLib.synthesis.objects import random_object
from SLSFGRLib.synthesis.tissue_contrasts import INTENSITY_PROFILES, classes

SHAPE, SPACING = (40, 48, 44), 4.0


@pytest.fixture(scope="module")
def label_map():
    return LabelMap.from_image(numbers_image())


def test_objects_differ_and_have_air_around_them():
    images = [random_object(SHAPE, SPACING, generator(seed), torch.device("cpu"))[0] for seed in range(12)]
    filled = [float((image > 0.02).float().mean()) for image in images]
    assert sum(0.01 < part < 0.9 for part in filled) >= 8
    assert len({round(part, 4) for part in filled}) >= 8
    assert all(image.min() >= 0 for image in images)


def test_image_of_an_object_has_no_labels(label_map):
    synthesis = replace(Synthesis(), object_chance=1.0)
    sample = Synthesiser(synthesis, SHAPE, SPACING).sample([label_map], generator(3))
    assert sample.contrast.name == "object"
    assert not sample.labels.any()
    assert not sample.anatomy.any()
    assert sample.image.max() > 0.5


def test_images_fade_as_prepared_ones_do():
    brain = torch.zeros(1, 1, 24, 24, 24)
    brain[..., 4:20, 4:20, 4:20] = 1.0
    factor, deep = fading(brain, 2.0)
    # Beyond a face the distance grows by 2 mm a voxel: from 2 to 8 mm.
    expected = prepared_fading(np.array([2.0, 4.0, 6.0, 8.0]))
    assert factor[0, 0, 12, 12, 20:24].tolist() == pytest.approx(expected.tolist())
    assert (acquisition.KEPT_MM, acquisition.FADE_MM, acquisition.DEEP_MM) == (KEPT_MM, FADE_MM, DEEP_MM)
    # Deeper than 8 mm: the mask without four voxels on each side and a half, since distances begin at its surface.
    assert deep[0, 0, 12, 12].nonzero().flatten().tolist() == list(range(9, 15))


def test_bright_skin_does_not_darken_a_fading_brain():
    image = torch.full((1, 1, 24, 24, 24), 5.0)
    image[..., 0, :] = 0.0
    image[..., :, :, :3] = 50.0
    inside = torch.zeros_like(image, dtype=torch.bool)
    inside[..., 8:16, 8:16, 8:16] = True
    scaled = normalise(image, inside)
    assert scaled[..., 12, 12, 12] == pytest.approx(1.0)


def test_whole_head_fades_and_keeps_its_labels_near_the_brain(label_map):
    always = dict(strip_chance=0.0, cut_chance=0.0, slice_chance=0.0, noise=0.0, flip_chance=0.0)
    whole, faded = (
        Synthesiser(replace(Synthesis(**always), fade_chance=chance), SHAPE, SPACING).sample([label_map], generator(4))
        for chance in (0.0, 1.0)
    )
    dark = faded.image[0, 0] < 0.01
    # The skull of the phantom is bright in the one and gone in the other.
    outside = (whole.anatomy == 0).all(0) & (whole.image[0, 0] > 0.2)
    assert outside.sum() > 100
    assert dark[outside].float().mean() > 0.5
    lost = (whole.labels > 0) & (faded.labels == 0)
    assert lost.sum() < 0.02 * (whole.labels > 0).sum()


def test_fluid_of_a_pd_may_be_dark_or_bright():
    fluid = classes().names.index("cerebrospinal fluid")
    grey = classes().names.index("cerebral cortex")
    synthesis = Synthesis(
        t1_share=0.0, t2_share=0.0, pd_share=1.0, flair_share=0.0, random_share=0.0, contrast_jitter=0.0
    )
    spread = [draw_contrast(replace(synthesis, fluid_spread=1.0), generator(seed)).intensity for seed in range(60)]
    change = torch.stack([values[fluid] for values in spread]) - INTENSITY_PROFILES["cerebrospinal fluid"].pd
    low, high = FLUID_RANGE["pd"]
    assert low <= change.min() < low + 0.1
    assert high - 0.1 < change.max() <= high + 1e-6
    cortex = INTENSITY_PROFILES["cerebral cortex"].pd
    assert [float(values[grey]) for values in spread] == pytest.approx([cortex] * len(spread))
