from itertools import product

import numpy as np
import pytest
import torch

from SLSFGRLib.losses import (
    MEASURES,
    GlobalCorrelation,
    LocalCorrelation,
    MutualInformation,
    NormalisedGradients,
)
from SLSFGRLib.losses.lncc import LocalCorrelationGradient
from SLSFGRLib.losses.mind import EDGES, descriptor
from SLSFGRLib.losses.mutual_information import normalised_mutual_information, soft_bins
from SLSFGRLib.spatial.fields import smooth


def random_image(*shape, seed=0):
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


def blobs(seed=0, shape=(24, 26, 28)):
    """A smooth image with values from 0 to 1."""
    image = smooth(random_image(*shape, seed=seed), 2.0)
    return (image - image.min()) / (image.max() - image.min())


def with_levels(image, levels):
    """The image with as many different values, all of them on the centres of that many bins."""
    return (image * (levels - 1)).round() / (levels - 1)


@pytest.mark.parametrize("name", MEASURES)
def test_shifted_image_is_the_less_alike_the_further_it_is_shifted(name):
    image = blobs()
    values = [float(MEASURES[name]()(image.roll(shift, 4), image)) for shift in (0, 1, 2, 3)]
    assert values == sorted(values)
    assert values[1] > values[0] + 0.02


@pytest.mark.parametrize("name", MEASURES)
def test_batch_counts_as_the_mean_of_its_pairs(name):
    first = torch.cat([blobs(0), blobs(1)])
    second = torch.cat([blobs(2), blobs(1).roll(1, 3)])
    measure = MEASURES[name]()
    alone = [float(measure(first[i : i + 1], second[i : i + 1])) for i in range(2)]
    assert alone[0] != pytest.approx(alone[1], rel=0.1)
    assert float(measure(first, second)) == pytest.approx(np.mean(alone), rel=1e-5)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("fixed", [0.0, 0.4, 1.0, "blobs"])
@pytest.mark.parametrize("warped", [0.0, 0.4, 1.0])
def test_flat_image_gives_a_finite_value_and_finite_gradients(name, warped, fixed):
    fixed = blobs() if fixed == "blobs" else torch.full((1, 1, 24, 26, 28), fixed)
    warped = torch.full_like(fixed, warped, requires_grad=True)
    value = MEASURES[name]()(warped, fixed)
    value.backward()
    assert -1e-4 <= float(value.detach()) <= 1.001
    assert warped.grad.isfinite().all()


def test_ncc_is_pearsons_coefficient():
    first, second = blobs(0), blobs(1) + 0.5 * blobs(0)
    expected = np.corrcoef(first.flatten(), second.flatten())[0, 1]
    assert float(GlobalCorrelation()(first, second)) == pytest.approx(1 - expected, abs=1e-5)


def brute_force_lncc(first, second, radius):
    """The squared correlation in each voxel's window, voxel by voxel."""
    first, second = (np.pad(image[0, 0].double().numpy(), radius) for image in (first, second))
    side = 2 * radius + 1
    values = []
    for k, j, i in product(*(range(size - 2 * radius) for size in first.shape)):
        a, b = (image[k : k + side, j : j + side, i : i + side].ravel() for image in (first, second))
        covariance = np.mean((a - a.mean()) * (b - b.mean()))
        values.append(covariance**2 / (a.var() * b.var()))
    return np.mean(values)


@pytest.mark.parametrize("radius", [1, 2])
def test_lncc_equals_a_computation_voxel_by_voxel(radius):
    first, second = random_image(6, 7, 5), random_image(6, 7, 5, seed=1)
    expected = 1 - brute_force_lncc(first, second, radius)
    assert float(LocalCorrelation(radius, noise=1e-8)(first, second)) == pytest.approx(expected, abs=1e-5)


def test_lncc_of_a_flat_and_a_structured_image_is_that_of_unrelated_ones():
    fixed = random_image(12, 13, 14)
    assert float(LocalCorrelation()(torch.zeros_like(fixed), fixed)) > 0.95
    assert not LocalCorrelationGradient(fixed)(torch.zeros_like(fixed)).any()


def test_lncc_does_not_depend_on_the_sign_or_gain_of_the_contrast():
    first, second = random_image(12, 13, 14), random_image(12, 13, 14, seed=1)
    expected = float(LocalCorrelation(noise=1e-8)(first, second))
    assert float(LocalCorrelation(noise=1e-8)(-first, second)) == pytest.approx(expected, abs=1e-6)
    assert float(LocalCorrelation(noise=1e-8)(0.3 * first, second)) == pytest.approx(expected, abs=1e-3)


def lncc_in_every_second_cube(warped, fixed, noise=1e-3):
    """The sum of the measure over the windows of eight voxels that begin two voxels before every second one."""
    kept = tuple(slice(-(-size // 2)) for size in fixed.shape[2:])

    def mean(image):
        whole = torch.nn.functional.avg_pool3d(torch.nn.functional.pad(image, [2, 6] * 3), 8, stride=2)
        return whole[(..., *kept)]

    variances = [mean(image * image) - mean(image) ** 2 + noise for image in (warped, fixed)]
    covariance = (mean(warped * fixed) - mean(warped) * mean(fixed)).abs() + noise
    return (covariance**2 / (variances[0] * variances[1])).sum()


@pytest.mark.parametrize("shape", [(8, 12, 10), (9, 8, 11)])
def test_written_out_lncc_gradient_equals_automatic_differentiation(shape):
    fixed, start = random_image(*shape), random_image(*shape, seed=1)
    warped = start.clone().requires_grad_()
    # Each cube stands for eight voxels.
    (expected,) = torch.autograd.grad(-8 * lncc_in_every_second_cube(warped, fixed), warped)
    found = LocalCorrelationGradient(fixed)(start)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


def test_lncc_gradient_leaves_its_images_alone():
    fixed, warped = random_image(9, 8, 10), random_image(9, 8, 10, seed=1)
    before = fixed.clone(), warped.clone()
    measure = LocalCorrelationGradient(fixed)
    first = measure(warped)
    assert torch.equal(fixed, before[0])
    assert torch.equal(warped, before[1])
    assert torch.equal(first, measure(warped))


def test_soft_bins_share_a_value_between_its_two_neighbours():
    shares = soft_bins(torch.tensor([0.0, 0.3, 1.0, -0.5, 2.0]), 6)
    expected = torch.zeros(5, 6)
    expected[0, 0] = expected[2, 5] = expected[3, 0] = expected[4, 5] = 1.0
    expected[1, 1] = expected[1, 2] = 0.5
    torch.testing.assert_close(shares, expected)


def test_nmi_of_a_known_joint_histogram():
    first = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]])
    second = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]])
    joint = np.array([3, 1, 1, 3]) / 8
    expected = 2 * np.log(2) / -(joint * np.log(joint)).sum()
    assert float(normalised_mutual_information(first, second, 2)) == pytest.approx(expected, abs=1e-5)


def test_mi_is_0_for_images_with_re_mapped_values():
    image = with_levels(blobs(), 6)
    mapping = torch.tensor([0.6, 0.2, 1.0, 0.0, 0.8, 0.4])
    remapped = mapping[(image * 5).round().long()]
    assert float(MutualInformation(bins=6)(remapped, image)) == pytest.approx(0.0, abs=1e-4)
    assert float(GlobalCorrelation()(remapped, image)) > 0.5


def test_mi_is_1_for_unrelated_images():
    axes = torch.meshgrid(*[torch.linspace(0, 1, 6)] * 3, indexing="ij")
    value = MutualInformation(bins=6)(axes[0][None, None], axes[1][None, None])
    assert float(value) == pytest.approx(1.0, abs=1e-4)


def test_mi_of_a_sample_is_near_that_of_the_whole_image():
    first, second = blobs(), (1 - blobs()) ** 2
    whole = float(MutualInformation()(first, second))
    assert float(MutualInformation(samples=5000)(first, second)) == pytest.approx(whole, abs=0.03)


def test_mind_descriptor_of_one_voxel_by_hand():
    image = random_image(13, 13, 13)
    array, centre = image[0, 0].double().numpy(), np.array([6, 6, 6])

    def patch(face):
        low = centre + 2 * np.array(face) - 1
        return array[tuple(slice(start, start + 3) for start in low)]

    distances = np.array([((patch(a) - patch(b)) ** 2).mean() for a, b in EDGES])
    distances -= distances.min()
    expected = np.exp(-distances / distances.mean())
    np.testing.assert_allclose(descriptor(image)[0, :, 6, 6, 6], expected, rtol=1e-4)


@pytest.mark.parametrize(("gain", "offset"), [(0.3, 0.0), (1.0, 0.2), (-1.0, 1.0), (-0.4, 0.7)])
def test_mind_descriptor_does_not_depend_on_gain_offset_and_inversion(gain, offset):
    image = blobs()
    torch.testing.assert_close(descriptor(gain * image + offset), descriptor(image), atol=2e-3, rtol=0)


def ramp(direction, shape=(8, 9, 10)):
    axes = torch.meshgrid(*[torch.arange(float(size)) for size in shape], indexing="ij")
    return 0.02 * sum(part * axis for part, axis in zip(direction, axes, strict=True))[None, None]


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 180])
def test_ngf_of_two_ramps_is_the_squared_sine_of_their_angle(degrees):
    angle = np.radians(degrees)
    second = ramp((0.0, 3 * np.cos(angle), 3 * np.sin(angle)))
    value = NormalisedGradients(noise=1e-4)(ramp((0.0, 1.0, 0.0)), second)
    assert float(value) == pytest.approx(np.sin(angle) ** 2, abs=1e-4)


def test_ngf_measures_angles_in_space_where_voxels_are_no_cubes():
    # Along (1, 1, 0) in mm, with voxels of 3 x 1 x 1 mm.
    measure = NormalisedGradients((3.0, 1.0, 1.0), noise=1e-4)
    assert float(measure(ramp((3.0, 1.0, 0.0)), ramp((0.0, 1.0, 0.0)))) == pytest.approx(0.5, abs=1e-4)
