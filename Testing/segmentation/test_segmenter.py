"""Run a network on a prepared image: mirror image, two passes for other contrasts than T1, sizes of any kind."""

import numpy as np
import pytest
import torch
from fake_models import IntensityNetwork
from phantoms import empty_image

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.segmentation.intensity_model import T1_INTENSITIES, IntensityModel
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
    found = run_network(prepared(tensor), Sided()).logits
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
    found = run_network(prepared(tensor), network)
    assert found.logits.shape == (1, len(NAMES), 12, 10, 6)
    torch.testing.assert_close(found.logits, IntensityNetwork.segment(network, downsample(tensor, 2)))


def test_grid_posteriors_structures_and_intensities_belong_to_the_logits():
    tensor = torch.rand(1, 1, 16, 16, 24, generator=torch.Generator().manual_seed(0))
    image = prepared(tensor)
    found = run_network(image, IntensityNetwork({0: 0.0, LEFT: 0.8}))
    torch.testing.assert_close(found.posteriors, found.logits.softmax(dim=1))
    np.testing.assert_array_equal(found.grid.matrix, image.grid.coarsened(2).matrix)
    expected = StructureCentroids.from_posteriors(found.posteriors[0, 1:], found.grid)
    np.testing.assert_array_equal(found.structures.volumes, expected.volumes)
    assert torch.equal(found.intensity_model.mean, IntensityModel.fit(found.posteriors, downsample(tensor, 2)).mean)


@pytest.mark.parametrize(("levels", "passes"), [((0.2, 0.5, 0.9), 1), ((0.9, 0.5, 0.2), 3)], ids=["T1", "T2"])
def test_contrast_other_than_t1_is_segmented_again_with_t1_intensities(levels, passes):
    tensor, network = tissues_of(levels)
    found = run_network(prepared(tensor), network)
    assert len(network.images) == passes
    # In each pass, the image and its mirror image, in the middle of 16 voxels.
    for image in network.images[1] if passes > 1 else network.images[0]:
        expected = torch.tensor(T1_INTENSITIES if passes > 1 else levels)
        torch.testing.assert_close(image[0, [5, 8, 11], 4, 4], expected, atol=0.02, rtol=0)
    assert found.logits.shape[2:] == (12, 8, 8)


@pytest.mark.parametrize(
    ("confidences", "chosen"), [((0.7, 0.71, 0.6), 0), ((0.6, 0.7, 0.65), 1), ((0.6, 0.7, 0.71), 2)]
)
def test_the_surest_segmentation_counts_if_it_is_clearly_surer(confidences, chosen, monkeypatch):
    tensor, network = tissues_of((0.9, 0.5, 0.2))
    first = run_network(prepared(tensor), network).logits
    remaining = list(confidences)

    def logits(of_both, box):
        """The same structures each time, with a brain stem of the remaining probability beside them."""
        probability = remaining.pop(0)
        found = torch.where(first == first.amax(dim=1, keepdim=True), 20.0, -20.0)
        found[:, NAMES.index("Brain stem")] = 20.0 + float(np.log((1 - probability) / probability))
        found[:, NAMES.index("Brain stem")][found[:, 0] > 0] = -20.0
        return found

    monkeypatch.setattr("SLSFGRLib.segmentation.segmenter._mean_with_mirror_image", logits)
    found = run_network(prepared(tensor), network)
    inside = found.posteriors[0, 0] < 0.5
    # A structure and that of the other side share the probability.
    share = confidences[chosen] / (2 * confidences[chosen] + 1 - confidences[chosen])
    assert float(found.posteriors[0].amax(0)[inside].mean()) == pytest.approx(share, abs=0.01)


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
