"""Models for tests: one that segments by intensity, and one with random weights."""

import torch

from SLSFGRLib.io.label_table import mirrored_channels, read_label_table
from SLSFGRLib.models.model import Model, ModelSettings


class ByBrightness(torch.nn.Module):
    """Stands in for the network: tells structures by brightness alone, so that nothing has to be learned.

    :param levels: channel of the label table to brightness, from 0 to 1; the structure's mirror image looks the same,
        and of the two the first is found.
    """

    segmenter = True

    def __init__(self, levels):
        super().__init__()
        self.levels = levels

    def segment(self, image):
        logits = torch.full((1, len(read_label_table()) + 1, *image.shape[2:]), -90.0)
        for channel, level in self.levels.items():
            likeness = -((image[:, 0] - level) ** 2) * 50.0 * len(self.levels) ** 2 / 16.0
            logits[:, channel] = logits[:, int(mirrored_channels()[channel])] = likeness
        return logits


def model_by_brightness(levels):
    return Model("by brightness", ModelSettings(), ByBrightness(levels), sha256="0")


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
