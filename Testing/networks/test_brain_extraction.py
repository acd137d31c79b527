import pytest
import torch

from SLSFGRLib.networks import BrainExtractionNetwork
from SLSFGRLib.networks.brain_extraction import CLASSES, channels_to_voxels, voxels_to_channels

CHANNELS = (4, 6, 6)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return BrainExtractionNetwork(CHANNELS)


def test_voxels_become_channels_of_their_block_and_come_back():
    image = torch.arange(2 * 4 * 6 * 2, dtype=torch.float32).view(1, 2, 4, 6, 2)
    blocks = voxels_to_channels(image)
    assert blocks.shape == (1, 16, 2, 3, 1)
    torch.testing.assert_close(blocks[0, :8, 1, 2, 0], image[0, 0, 2:4, 4:6, :2].flatten())
    torch.testing.assert_close(channels_to_voxels(blocks), image)


def test_every_voxel_gets_logits_of_every_class(network):
    image = torch.rand(2, 1, 16, 24, 8)
    logits = network(image)
    assert logits.shape == (2, len(CLASSES), 16, 24, 8)
    # No image depends on the others of its batch.
    torch.testing.assert_close(network(image[1:]), logits[1:], atol=1e-4, rtol=1e-4)


def test_every_parameter_learns(network):
    network(torch.rand(1, 1, 16, 16, 16))[:, 2].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
