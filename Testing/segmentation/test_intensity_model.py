import numpy as np
import pytest
import torch

from SLSFGRLib.io.label_table import mirrored_channels, read_label_table
from SLSFGRLib.segmentation.intensity_model import (
    FARTHEST,
    IN_T1,
    OWN_SHARE,
    SMALLEST_DEVIATION,
    StructureBrightness,
    deep_channels,
)
from SLSFGRLib.segmentation.upsampling import strongest_channels
from SLSFGRLib.spatial.fields import downsample

CHANNELS = len(read_label_table()) + 1
NAMES = ["background"] + [structure.name for structure in read_label_table()]
LEFT, RIGHT = NAMES.index("Left putamen"), NAMES.index("Right putamen")
STEM = NAMES.index("Brain stem")
LEFT_WHITE = "Left cerebral white matter"


def uncertain(labels, weight=1.5):
    """Shares that favour the labels (D, H, W) weakly."""
    return (weight * torch.nn.functional.one_hot(labels, CHANNELS).movedim(-1, 0)[None].float()).softmax(1)


@pytest.fixture
def scene():
    """Labels in slabs and an image in which each has its own brightness and spread."""
    labels = torch.zeros(24, 12, 12, dtype=torch.long)
    labels[6:12], labels[12:18], labels[18:] = LEFT, RIGHT, STEM
    noise = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([0.1, 0.5, 0.9])[torch.tensor([0, 1, 1, 2])[(labels > 0).long() + (labels == STEM) * 2]]
    return labels, (mean + 0.05 * noise)[None, None]


def test_brightness_of_each_structure_is_found_though_the_prior_is_weak(scene):
    labels, image = scene
    found = StructureBrightness.fitted(uncertain(labels, 4.0), image)
    for channel, value in ((0, 0.1), (LEFT, 0.5), (STEM, 0.9)):
        assert float(found.mean[channel]) == pytest.approx(value, abs=0.02)
        assert float(found.variance[channel]) ** 0.5 == pytest.approx(0.05, abs=0.015)


def test_structure_and_its_mirror_image_look_the_same(scene):
    labels, image = scene
    found = StructureBrightness.fitted(uncertain(labels), image)
    mirrored = torch.as_tensor(np.asarray(mirrored_channels()), dtype=torch.long)
    torch.testing.assert_close(found.mean[mirrored], found.mean)
    assert int(mirrored[LEFT]) == RIGHT
    assert float(found.mean[LEFT]) != float(found.mean[STEM])


def test_all_fluid_looks_the_same(scene):
    labels, image = scene
    fluids = [index for index, name in enumerate(NAMES) if "ventricle" in name or "fluid" in name]
    assert [NAMES[index].split()[-1] for index in fluids] == ["ventricle"] * 3 + ["fluid", "ventricle"]
    labels = torch.where(labels == STEM, fluids[0], labels)
    labels[20:] = fluids[2]
    found = StructureBrightness.fitted(uncertain(labels, 4.0), image)
    assert found.mean[fluids].tolist() == pytest.approx([0.9] * 5, abs=0.02)


@pytest.fixture
def looks():
    """Of a T1 image: fluid 0.2, cortex 0.5, thalamus 0.65, white matter 0.8, all else 0.6; each with the spread 0.1."""
    mean = torch.full((CHANNELS,), 0.6)
    for word, value in (("entricle", 0.2), ("cortex", 0.5), ("thalamus", 0.65), ("white matter", 0.8)):
        mean[[number for number, name in enumerate(NAMES) if word in name]] = value
    return StructureBrightness(mean, torch.full((CHANNELS,), 0.01))


def advantage(looks, first, second, value):
    """By how much the brightness speaks for the first of two structures."""
    evidence = [looks.evidence(NAMES.index(name), torch.tensor([[value]])) for name in (first, second)]
    return float(evidence[0] - evidence[1])


def test_brightness_decides_in_full_between_white_matter_and_cortex(looks):
    # Two standard deviations from the one, one from the other.
    assert advantage(looks, LEFT_WHITE, "Left cerebral cortex", 0.7) == pytest.approx(0.5 * (2**2 - 1**2), abs=1e-4)


def test_brightness_decides_in_part_between_white_matter_and_what_lies_in_it(looks):
    in_full = 0.5 * (1.5**2 - 0.0)
    assert advantage(looks, "Left thalamus", LEFT_WHITE, 0.65) == pytest.approx(OWN_SHARE * in_full, abs=1e-4)


def test_brightness_decides_in_full_between_a_ventricle_and_the_tissue_that_is_most_like_what_is_seen(looks):
    # Fluid against cortex, the nearest of the tissues about a ventricle, of which none else is within reach.
    expected = OWN_SHARE * 0.5 * (3.0**2 - 0.5**2) + (1 - OWN_SHARE) * 0.5 * (2.5**2 - 0.5**2)
    assert advantage(looks, "Left lateral ventricle", LEFT_WHITE, 0.25) == pytest.approx(expected, abs=1e-4)


def test_deep_channels_are_the_grey_matter_within_the_brain_and_its_stem():
    deep = [NAMES[channel] for channel in deep_channels()]
    assert {"Left thalamus", "Right hippocampus", "Left accumbens", "Brain stem"} <= set(deep)
    assert len(deep) == 17
    assert not any("cortex" in name or "white" in name or "ventricle" in name or "fluid" in name for name in deep)


def test_likelihood_is_the_gaussians_up_to_its_farthest():
    two = StructureBrightness(torch.tensor([0.2, 0.6]), torch.tensor([0.01, 0.04]))
    gaussian = torch.distributions.Normal(0.6, 0.2).log_prob(torch.tensor([0.5, 0.9]))
    constant = 0.5 * np.log(2 * np.pi)
    torch.testing.assert_close(two.log_likelihood(1, torch.tensor([0.5, 0.9])), gaussian + constant)
    far = two.log_likelihood(0, torch.tensor([0.2 + 0.1 * FARTHEST, 5.0]))
    assert float(far[0]) == pytest.approx(float(far[1]))


def test_structure_that_is_nowhere_has_numbers_all_the_same(scene):
    labels, image = scene
    found = StructureBrightness.fitted(uncertain(labels, 60.0), image)
    assert torch.isfinite(found.mean).all()
    assert float(found.variance.min()) == pytest.approx(SMALLEST_DEVIATION**2)


def test_border_moves_to_where_the_fine_image_has_it():
    # The network, on a coarse grid, sees the border two fine voxels off.
    fine = torch.zeros(32, 16, 16, dtype=torch.long)
    fine[18:] = STEM
    image = torch.where(fine == STEM, 0.8, 0.2)[None, None]
    image += 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    coarse = torch.zeros(16, 8, 8, dtype=torch.long)
    coarse[8:] = STEM
    shares = uncertain(coarse, 3.0)
    brightness = StructureBrightness.fitted(shares, downsample(image, 2))
    without = strongest_channels(shares.log(), shares, image, lambda channel, values: 0.0 * values)
    found = strongest_channels(shares.log(), shares, image, brightness.log_likelihood)
    assert (without[17] == STEM).mean() > 0.9
    assert (found[17] == 0).mean() > 0.9
    assert (found == fine.numpy()).mean() > 0.99


def with_typical(fluid, grey, white):
    """Brightnesses of structures, of which those of fluid, cortex and white matter matter."""
    mean = torch.full((CHANNELS,), 0.5)
    for name, value in (("Cerebrospinal fluid", fluid), ("Left cerebral cortex", grey), (LEFT_WHITE, white)):
        mean[NAMES.index(name)] = value
    return StructureBrightness(mean, torch.full((CHANNELS,), 0.01))


@pytest.mark.parametrize(
    ("typical", "expected"),
    [
        ((0.2, 0.5, 0.8), False),
        ((0.9, 0.6, 0.3), True),
        ((0.1, 0.7, 0.5), True),
        ((0.9, 0.52, 0.5), False),
        ((0.01, 0.6, 0.4), False),
    ],
    ids=["T1", "T2", "FLAIR", "grey and white alike", "no fluid"],
)
def test_contrast_of_a_t1_is_called_for_where_tissues_differ_in_another_order(typical, expected):
    assert with_typical(*typical).calls_for_t1 is expected


def test_as_t1_gives_each_tissue_its_brightness_and_keeps_what_is_between_in_proportion():
    image = torch.tensor([[0.0, 0.15, 0.3, 0.4, 0.6, 0.75, 0.9, 1.0]])
    fluid, grey, white = IN_T1
    expected = [0.0, white / 2, white, (2 * white + grey) / 3, grey, (grey + fluid) / 2, fluid, fluid]
    torch.testing.assert_close(with_typical(0.9, 0.6, 0.3).as_t1(image), torch.tensor([expected]))
