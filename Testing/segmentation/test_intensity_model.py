import numpy as np
import pytest
import torch

from SLSFGRLib.io.label_table import mirrored_channels, read_label_table
from SLSFGRLib.segmentation.intensity_model import (
    LIKELIHOOD_WEIGHT,
    MAX_MAHALANOBIS,
    MIN_DEVIATION,
    OTHER_CONTRASTS_WEIGHT,
    T1_INTENSITIES,
    IntensityModel,
    deep_channels,
)
from SLSFGRLib.segmentation.upsampling import argmax_upsampled
from SLSFGRLib.spatial.fields import downsample

CHANNELS = len(read_label_table()) + 1
NAMES = ["background"] + [structure.name for structure in read_label_table()]
LEFT, RIGHT = NAMES.index("Left putamen"), NAMES.index("Right putamen")
STEM = NAMES.index("Brain stem")
LEFT_WHITE = "Left cerebral white matter"


def uncertain(labels, weight=1.5):
    """Posteriors that favour the labels (D, H, W) weakly."""
    return (weight * torch.nn.functional.one_hot(labels, CHANNELS).movedim(-1, 0)[None].float()).softmax(1)


@pytest.fixture
def scene():
    """Labels in slabs and an image in which each has its own mean intensity, with the standard deviation 0.05."""
    labels = torch.zeros(24, 12, 12, dtype=torch.long)
    labels[6:12], labels[12:18], labels[18:] = LEFT, RIGHT, STEM
    noise = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0))
    mean = torch.tensor([0.1, 0.5, 0.9])[torch.tensor([0, 1, 1, 2])[(labels > 0).long() + (labels == STEM) * 2]]
    return labels, (mean + 0.05 * noise)[None, None]


def test_mean_and_variance_of_each_structure_are_found_with_a_weak_prior(scene):
    labels, image = scene
    found = IntensityModel.fit(uncertain(labels, 4.0), image)
    for channel, value in ((0, 0.1), (LEFT, 0.5), (STEM, 0.9)):
        assert float(found.mean[channel]) == pytest.approx(value, abs=0.02)
        assert float(found.variance[channel]) ** 0.5 == pytest.approx(0.05, abs=0.015)


def test_structure_and_its_mirror_image_share_a_gaussian(scene):
    labels, image = scene
    found = IntensityModel.fit(uncertain(labels), image)
    mirrored = torch.as_tensor(np.asarray(mirrored_channels()), dtype=torch.long)
    torch.testing.assert_close(found.mean[mirrored], found.mean)
    assert int(mirrored[LEFT]) == RIGHT
    assert float(found.mean[LEFT]) != float(found.mean[STEM])


def test_all_csf_posteriors_a_gaussian(scene):
    labels, image = scene
    csf = [index for index, name in enumerate(NAMES) if "ventricle" in name or "fluid" in name]
    assert [NAMES[index].split()[-1] for index in csf] == ["ventricle"] * 3 + ["fluid", "ventricle"]
    labels = torch.where(labels == STEM, csf[0], labels)
    labels[20:] = csf[2]
    found = IntensityModel.fit(uncertain(labels, 4.0), image)
    assert found.mean[csf].tolist() == pytest.approx([0.9] * 5, abs=0.02)


@pytest.fixture
def t1():
    """Mean intensities of a T1 image: CSF 0.2, cortex 0.5, thalamus 0.65, white matter 0.8, all else 0.6.

    The standard deviation of each is 0.1.
    """
    mean = torch.full((CHANNELS,), 0.6)
    for word, value in (("entricle", 0.2), ("fluid", 0.2), ("cortex", 0.5), ("thalamus", 0.65), ("white matter", 0.8)):
        mean[[number for number, name in enumerate(NAMES) if word in name]] = value
    return IntensityModel(mean, torch.full((CHANNELS,), 0.01))


def advantage(model, first, second, value):
    """By how much an intensity raises the logit of the first of two structures above that of the second."""
    ratios = [model.log_likelihood_ratio(NAMES.index(name), torch.tensor([[value]])) for name in (first, second)]
    return float(ratios[0] - ratios[1])


def test_likelihood_has_full_weight_between_white_matter_and_cortex(t1):
    # Two standard deviations from the one, one from the other.
    assert advantage(t1, LEFT_WHITE, "Left cerebral cortex", 0.7) == pytest.approx(0.5 * (2**2 - 1**2), abs=1e-4)


def test_likelihood_has_part_of_its_weight_between_white_matter_and_deep_structures(t1):
    in_full = 0.5 * (1.5**2 - 0.0)
    assert advantage(t1, "Left thalamus", LEFT_WHITE, 0.65) == pytest.approx(LIKELIHOOD_WEIGHT * in_full, abs=1e-4)


def test_likelihood_has_full_weight_between_a_ventricle_and_the_most_likely_tissue_around_it(t1):
    # CSF against cortex, the nearest of the tissues around a ventricle; white matter is clipped.
    expected = LIKELIHOOD_WEIGHT * 0.5 * (3.0**2 - 0.5**2) + (1 - LIKELIHOOD_WEIGHT) * 0.5 * (2.5**2 - 0.5**2)
    assert advantage(t1, "Left lateral ventricle", LEFT_WHITE, 0.25) == pytest.approx(expected, abs=1e-4)


def test_likelihood_has_less_weight_in_other_contrasts_than_t1(t1):
    flair = IntensityModel(t1.mean.clone(), t1.variance)
    flair.mean[[number for number, name in enumerate(NAMES) if "cortex" in name]] = 0.9
    assert not flair.is_t1_like
    assert advantage(flair, "Left cerebral cortex", LEFT_WHITE, 0.9) == pytest.approx(
        OTHER_CONTRASTS_WEIGHT * 0.5, abs=1e-4
    )


def test_deep_channels_are_the_deep_grey_matter_and_the_brain_stem():
    deep = [NAMES[channel] for channel in deep_channels()]
    assert {"Left thalamus", "Right hippocampus", "Left accumbens", "Brain stem"} <= set(deep)
    assert len(deep) == 17
    assert not any("cortex" in name or "white" in name or "ventricle" in name or "fluid" in name for name in deep)


def test_log_likelihood_is_that_of_the_gaussian_clipped_at_three_standard_deviations():
    two = IntensityModel(torch.tensor([0.2, 0.6]), torch.tensor([0.01, 0.04]))
    gaussian = torch.distributions.Normal(0.6, 0.2).log_prob(torch.tensor([0.5, 0.9]))
    constant = 0.5 * np.log(2 * np.pi)
    torch.testing.assert_close(two.log_likelihood(1, torch.tensor([0.5, 0.9])), gaussian + constant)
    far = two.log_likelihood(0, torch.tensor([0.2 + 0.1 * MAX_MAHALANOBIS, 5.0]))
    assert float(far[0]) == pytest.approx(float(far[1]))


def test_absent_structure_has_a_finite_gaussian(scene):
    labels, image = scene
    found = IntensityModel.fit(uncertain(labels, 60.0), image)
    assert torch.isfinite(found.mean).all()
    assert float(found.variance.min()) == pytest.approx(MIN_DEVIATION**2)


def test_border_moves_to_where_the_fine_image_has_it():
    # The network, on a coarse grid, has the border two fine voxels off.
    fine = torch.zeros(32, 16, 16, dtype=torch.long)
    fine[18:] = STEM
    image = torch.where(fine == STEM, 0.8, 0.2)[None, None]
    image += 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    coarse = torch.zeros(16, 8, 8, dtype=torch.long)
    coarse[8:] = STEM
    posteriors = uncertain(coarse, 3.0)
    model = IntensityModel.fit(posteriors, downsample(image, 2))
    without = argmax_upsampled(posteriors.log(), posteriors, image, lambda channel, values: 0.0 * values)
    found = argmax_upsampled(posteriors.log(), posteriors, image, model.log_likelihood)
    assert (without[17] == STEM).mean() > 0.9
    assert (found[17] == 0).mean() > 0.9
    assert (found == fine.numpy()).mean() > 0.99


def with_means(csf, gm, wm):
    """A model with these means of the structures that represent CSF, GM and WM."""
    mean = torch.full((CHANNELS,), 0.5)
    for name, value in (("Cerebrospinal fluid", csf), ("Left cerebral cortex", gm), (LEFT_WHITE, wm)):
        mean[NAMES.index(name)] = value
    return IntensityModel(mean, torch.full((CHANNELS,), 0.01))


@pytest.mark.parametrize(
    ("typical", "is_t1_like", "can_map"),
    [
        ((0.2, 0.5, 0.8), True, True),
        ((0.9, 0.6, 0.3), False, True),
        ((0.1, 0.7, 0.5), False, True),
        ((0.15, 0.6, 0.7), False, True),
        ((0.9, 0.505, 0.5), False, False),
        ((0.005, 0.6, 0.4), False, False),
    ],
    ids=["T1", "T2", "FLAIR", "FLAIR taken for T1", "GM and WM equal", "no CSF"],
)
def test_contrast_is_recognised_by_the_means_of_the_tissues(typical, is_t1_like, can_map):
    model = with_means(*typical)
    assert (model.is_t1_like, model.can_map_to_t1) == (is_t1_like, can_map)


def test_mapping_to_t1_is_linear_between_the_means_of_the_tissues():
    image = torch.tensor([[0.0, 0.15, 0.3, 0.4, 0.6, 0.75, 0.9, 1.0]])
    csf, gm, wm = T1_INTENSITIES
    expected = [0.0, wm / 2, wm, (2 * wm + gm) / 3, gm, (gm + csf) / 2, csf, csf]
    torch.testing.assert_close(with_means(0.9, 0.6, 0.3).map_to_t1(image), torch.tensor([expected]))
