"""Run a network on a prepared image: mirror image, two passes for other contrasts than T1, sizes of any kind."""

import numpy as np
import pytest
import torch
from fake_models import IntensityNetwork, for_any_contrast, networks_by_intensity
from phantoms import empty_image

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.models.model import SegmentationNetworks
from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.segmentation.bias_field import fit_with_bias_field
from SLSFGRLib.segmentation.intensity_model import T1_INTENSITIES
from SLSFGRLib.segmentation.segmenter import run_network
from SLSFGRLib.segmentation.structures import StructureCentroids
from SLSFGRLib.spatial.fields import downsample
from SLSFGRLib.spatial.grid import grid_of_image

NAMES = ["background"] + [structure.name for structure in read_label_table()]
LEFT, RIGHT = NAMES.index("Left putamen"), NAMES.index("Right putamen")


def prepared(tensor):
    return PreparedImage(tensor, grid_of_image(empty_image(tensor.shape[:1:-1], (1, 1, 1))))


class Sided(torch.nn.Module):
    """A network that finds the left putamen in the first half of the last axis and, thrice as surely, the right one."""

    size_multiple = 4

    def segment(self, image):
        logits = torch.zeros(len(image), len(NAMES), *image.shape[2:])
        middle = image.shape[4] // 2
        logits[:, LEFT, ..., :middle] = image[:, 0, ..., :middle]
        logits[:, RIGHT, ..., middle:] = 3.0 * image[:, 0, ..., middle:]
        return logits


def test_logits_are_the_mean_of_those_of_the_image_and_of_its_mirror_image_with_the_sides_exchanged():
    tensor = torch.rand(1, 1, 8, 8, 16, generator=torch.Generator().manual_seed(0))
    found = run_network(prepared(tensor), for_any_contrast(Sided())).logits
    coarse = downsample(tensor, 2)[:, 0]
    # One pass takes this side for the left putamen with weight one, the other pass with weight three.
    torch.testing.assert_close(found[:, LEFT, ..., :4], 2.0 * coarse[..., :4])
    torch.testing.assert_close(found[:, RIGHT, ..., 4:], 2.0 * coarse[..., 4:])
    assert not found[:, LEFT, ..., 4:].any()


def test_image_of_a_size_that_the_network_does_not_take_is_padded_and_cropped():
    class Strict(IntensityNetwork):
        def segment(self, image):
            assert all(size % self.size_multiple == 0 for size in image.shape[2:])
            return super().segment(image)

    tensor = torch.rand(1, 1, 24, 20, 12, generator=torch.Generator().manual_seed(0))
    network = Strict({0: 0.0, LEFT: 0.8})
    found = run_network(prepared(tensor), for_any_contrast(network))
    assert found.logits.shape == (1, len(NAMES), 12, 10, 6)
    torch.testing.assert_close(found.logits, IntensityNetwork.segment(network, downsample(tensor, 2)))


def test_what_is_attached_to_the_brain_of_a_head_is_no_structure():
    tensor = torch.zeros(1, 1, 48, 48, 64)
    tensor[:, :, 8:40, 8:40, 4:36] = 0.8
    # A muscle behind bone that is one voxel of the network thick, and joined to the brain by a bridge as thick.
    tensor[:, :, 14:34, 14:34, 38:60] = tensor[:, :, 22:24, 22:24, 36:38] = 0.8
    networks = networks_by_intensity({0: 0.0, LEFT: 0.8})
    stripped = prepared(tensor)
    head = PreparedImage(tensor, stripped.grid, torch.ones_like(tensor))
    in_brain, in_muscle = (..., slice(4, 20), slice(4, 20), slice(2, 18)), (..., slice(21, None))
    whole, kept = (run_network(image, networks) for image in (stripped, head))
    assert whole.near_core is None
    assert kept.near_core[in_brain].all()
    assert not kept.near_core[in_muscle].any()
    torch.testing.assert_close(kept.posteriors[in_brain], whole.posteriors[in_brain])
    assert (whole.posteriors[0, 0][in_muscle] < 0.5).float().mean() > 0.1
    assert (kept.posteriors[0, 0][in_muscle] > 0.999).all()
    assert kept.brain.inside[in_brain].all()
    assert not kept.brain.inside[in_muscle].any()
    ratio = kept.structures.volumes.sum() / whole.structures.volumes.sum()
    assert ratio == pytest.approx((32**3 + 20 * 20 * 2) / (32**3 + 20 * 20 * 22), abs=0.03)


def test_grid_posteriors_structures_and_intensities_belong_to_the_logits():
    tensor = torch.rand(1, 1, 16, 16, 24, generator=torch.Generator().manual_seed(0))
    image = prepared(tensor)
    found = run_network(image, networks_by_intensity({0: 0.0, LEFT: 0.8}))
    torch.testing.assert_close(found.posteriors, found.logits.softmax(dim=1))
    np.testing.assert_array_equal(found.grid.matrix, image.grid.coarsened(2).matrix)
    expected = StructureCentroids.from_posteriors(found.posteriors[0, 1:], found.grid)
    np.testing.assert_array_equal(found.structures.volumes, expected.volumes)
    model, bias_field = fit_with_bias_field(found.posteriors, downsample(tensor, 2), found.grid.mean_spacing)
    assert torch.equal(found.intensity_model.mean, model.mean)
    assert torch.equal(found.bias_field, bias_field)


@pytest.mark.parametrize(("levels", "passes"), [((0.2, 0.5, 0.9), 1), ((0.9, 0.5, 0.2), 2)], ids=["T1", "T2"])
def test_contrast_other_than_t1_is_segmented_again_with_t1_intensities(levels, passes):
    tensor, network = tissues_of(levels)
    found = run_network(prepared(tensor), for_any_contrast(network))
    assert len(network.images) == passes
    # In each pass, the image and its mirror image, in the middle of 16 voxels.
    for image in network.images[-1]:
        expected = torch.tensor(T1_INTENSITIES if passes > 1 else levels)
        torch.testing.assert_close(image[0, [5, 8, 11], 4, 4], expected, atol=0.02, rtol=0)
    assert found.logits.shape[2:] == (12, 8, 8)
    assert (found.bias_field is None) == (passes == 1)


def test_network_for_other_contrasts_sees_these_as_they_are_and_counts_half():
    tensor, first = tissues_of((0.9, 0.5, 0.2))
    _, other = tissues_of((0.9, 0.5, 0.2))
    alone = run_network(prepared(tensor), for_any_contrast(other)).logits
    assert torch.equal(run_network(prepared(tensor), SegmentationNetworks(first, other)).logits, alone)
    # To see whether the image is T1, and mapped; the other one sees it once.
    assert [len(network.images) for network in (first, other)] == [2, 3]
    assert torch.equal(first.images[0], other.images[-1])

    class Doubtful(IntensityNetwork):
        def segment(self, image):
            return 0.5 * super().segment(image)

    doubtful = Doubtful(other.intensities)
    found = run_network(prepared(tensor), SegmentationNetworks(first, doubtful)).logits
    shown = [network.segment(first.images[turn][:1]) for network, turn in ((first, -1), (doubtful, 0))]
    torch.testing.assert_close(found, (shown[0] + shown[1])[:, :, 2:-2] / 2.0)


def test_network_for_other_contrasts_takes_no_part_in_t1():
    tensor, network = tissues_of((0.2, 0.5, 0.9))
    run_network(prepared(tensor), SegmentationNetworks(network, None))
    assert len(network.images) == 1


@pytest.mark.parametrize(
    ("levels", "passes"),
    [((0.9, 0.5, 0.2), [1, 1]), ((0.2, 0.5, 0.9), [1, 1]), ((0.4, 0.6, 0.7), [2, 2])],
    ids=["right guess", "wrong guess", "wrong guess of a T1 with little contrast"],
)
def test_guess_of_another_contrast_changes_the_order_of_the_networks_and_nothing_else(levels, passes):
    tensor, first = tissues_of(levels)
    _, other = tissues_of(levels)
    networks = SegmentationNetworks(first, other)
    expected = run_network(prepared(tensor), networks)
    first.images, other.images = [], []
    found = run_network(prepared(tensor), networks, likely_t1=False)
    # Of another contrast the network for T1 sees the mapped image alone.
    assert [len(network.images) for network in (first, other)] == passes
    assert torch.equal(other.images[0][0, :, 2:-2], downsample(tensor, 2)[0])
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.intensity_model.mean, expected.intensity_model.mean)
    assert (found.bias_field is None) == (expected.bias_field is None)


@pytest.mark.parametrize("likely_t1", [True, False])
def test_a_brain_without_contrast_is_described_as_the_network_for_t1_sees_it(likely_t1):
    torch.manual_seed(0)
    first, other = (SLSFGRNetwork(structures=30, channels=[3, 4, 4, 4], matching_channels=4) for _ in range(2))
    image = prepared(torch.full((1, 1, 32, 48, 32), 0.5))
    with torch.no_grad():
        found = run_network(image, SegmentationNetworks(first, other), describe=True, likely_t1=likely_t1)
        alone = run_network(image, for_any_contrast(first), describe=True)
    assert not found.intensity_model.can_map_to_t1
    for one, two in zip(found.described.description.features, alone.described.description.features, strict=True):
        assert torch.equal(one, two)


def tissues_of(levels):
    """Three blocks of CSF, GM and WM with these intensities, and a network that finds them in its first pass."""
    channels = [
        NAMES.index(f"Left {name}") for name in ("lateral ventricle", "cerebral cortex", "cerebral white matter")
    ]
    tensor = torch.zeros(1, 1, 24, 16, 16)
    for number, level in enumerate(levels):
        tensor[:, :, 4 + 6 * number : 10 + 6 * number, 4:12, 4:12] = level

    class Recording(IntensityNetwork):
        def __init__(self, intensities):
            super().__init__(intensities)
            self.images = []

        def segment(self, image):
            self.images.append(image)
            return super().segment(image)

    return tensor, Recording({0: 0.0} | dict(zip(channels, levels, strict=True)))
