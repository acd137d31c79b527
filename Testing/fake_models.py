"""Models for tests: one that segments by intensity, and one with random weights."""

import torch
from phantoms import BALL_INTENSITIES, BODY_INTENSITY, CORE_CHANNEL, CORE_INTENSITY

from SLSFGRLib.io.label_table import mirrored_channels, read_label_table
from SLSFGRLib.models.model import Model, ModelSettings, SegmentationNetworks


class IntensityNetwork(torch.nn.Module):
    """A stand-in for the segmentation network that finds structures by their intensity, so that it needs no training.

    :param intensities: channel of the label table to intensity, from 0 to 1; the same structure of the other side has
        the same intensity, and of the two the first is found.
    """

    segmenter = True
    size_multiple = 8

    def __init__(self, intensities):
        super().__init__()
        self.intensities = intensities

    def segment(self, image):
        logits = torch.full((len(image), len(read_label_table()) + 1, *image.shape[2:]), -90.0)
        for channel, intensity in self.intensities.items():
            similarity = -((image[:, 0] - intensity) ** 2) * 50.0 * len(self.intensities) ** 2 / 16.0
            logits[:, channel] = logits[:, int(mirrored_channels()[channel])] = similarity
        return logits


def networks_by_intensity(intensities):
    """The networks of a segmentation, which are one :class:`IntensityNetwork`."""
    return for_any_contrast(IntensityNetwork(intensities))


def for_any_contrast(network):
    """The networks of a segmentation, if one network segments all contrasts."""
    return SegmentationNetworks(network, network)


def model_by_intensity(intensities):
    """A model of an :class:`IntensityNetwork`."""
    return Model("by intensity", ModelSettings(), IntensityNetwork(intensities), sha256="0")


def model_of_balls():
    """A model that segments :func:`phantoms.balls_image`."""
    return model_by_intensity({0: 0.0, 1: BODY_INTENSITY, CORE_CHANNEL: CORE_INTENSITY} | BALL_INTENSITIES)


MODEL_SETTINGS = ModelSettings(
    network_options={"channels": [3, 4, 5], "diffeomorphic": True},
    factor=2,
    similarity="lncc",
    penalty="gradient",
    roughness=0.1,
    level_weights=(0.5, 0.5, 1.0),
    pair_steps=12,
    pair_learning_rate=0.02,
)


def random_model():
    """A model whose weights are all random, as after some training."""
    torch.manual_seed(0)
    network = MODEL_SETTINGS.build()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Model("test", MODEL_SETTINGS, network)
