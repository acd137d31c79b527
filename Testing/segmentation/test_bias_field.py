"""The bias field of an image is found beside the intensities of its structures."""

import pytest
import torch

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.segmentation.bias_field import fit_with_bias_field
from SLSFGRLib.segmentation.intensity_model import IntensityModel

NAMES = ["background"] + [structure.name for structure in read_label_table()]
CSF, GREY, WHITE = (
    NAMES.index(name) for name in ("Cerebrospinal fluid", "Left cerebral cortex", "Left cerebral white matter")
)
# As in a PD image: GM and WM differ by less than the bias field changes them.
INTENSITIES = {CSF: 0.6, GREY: 0.8, WHITE: 0.7}
SHAPE, SPACING = (48, 48, 48), 2.0


@pytest.fixture(scope="module")
def scene():
    """Channels in a cube, of which the network is nearly sure, and an image with noise and no bias field."""
    channels = torch.zeros(SHAPE, dtype=torch.long)
    random = torch.Generator().manual_seed(0)
    # Blocks of 3 voxels, so that every structure is everywhere.
    blocks = torch.tensor(list(INTENSITIES))[torch.randint(3, (12, 12, 12), generator=random)]
    channels[6:42, 6:42, 6:42] = blocks.repeat_interleave(3, 0).repeat_interleave(3, 1).repeat_interleave(3, 2)
    logits = 6.0 * torch.nn.functional.one_hot(channels, len(NAMES)).movedim(-1, 0)[None].float()
    mean = torch.zeros(len(NAMES))
    for channel, value in INTENSITIES.items():
        mean[channel] = value
    noise = 0.02 * torch.randn(SHAPE, generator=random)
    return channels, logits.softmax(dim=1), (mean[channels] + noise * (channels > 0))[None, None]


def smooth_field(amplitude):
    """A factor that varies along two axes by this much, (1, 1, D, H, W), and is 1 on average."""
    steps = torch.linspace(-1.0, 1.0, SHAPE[0])
    return 1.0 + amplitude * (steps[:, None, None] + steps[None, :, None] ** 2 - 1.0 / 3.0).expand(SHAPE)[None, None]


def test_known_bias_field_and_intensities_are_recovered(scene):
    channels, posteriors, ideal = scene
    true = smooth_field(0.15)
    model, field = fit_with_bias_field(posteriors, ideal * true, SPACING)
    inside = (channels > 0)[None, None]
    expected = true / true[inside].mean()
    error = (field / expected - 1.0)[inside].abs()
    assert float(error.mean()) < 0.3 * float((expected - 1.0)[inside].abs().mean())
    assert float(error.max()) < 0.08
    for channel, value in INTENSITIES.items():
        assert float(model.mean[channel] / model.mean[WHITE]) == pytest.approx(value / INTENSITIES[WHITE], abs=0.02)
    # With the field unknown, the structures pass for noisier than they are.
    assert float(model.variance[GREY]) < 0.5 * float(IntensityModel.fit(posteriors, ideal * true).variance[GREY])


def test_image_without_a_bias_field_stays_as_it_is(scene):
    _, posteriors, ideal = scene
    model, field = fit_with_bias_field(posteriors, ideal, SPACING)
    assert float((field - 1.0).abs().max()) < 0.02
    assert model.mean[list(INTENSITIES)].tolist() == pytest.approx(list(INTENSITIES.values()), abs=0.01)


def test_field_is_near_one_far_from_the_brain_and_smooth(scene):
    _, posteriors, ideal = scene
    _, field = fit_with_bias_field(posteriors, ideal * smooth_field(0.2), SPACING)
    assert field.shape == ideal.shape
    assert float(field.diff(dim=2).abs().max()) < 0.02
    wide = torch.nn.functional.pad(posteriors, (40, 40, 40, 40, 40, 40))
    wide[:, 0] += 1.0 - wide.sum(dim=1)
    image = torch.nn.functional.pad(ideal * smooth_field(0.2), (40, 40, 40, 40, 40, 40))
    _, far = fit_with_bias_field(wide, image, SPACING)
    assert float(far[0, 0, 0, 0, 0]) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("certainty", [1.0, 0.9], ids=["sure", "nearly sure"])
def test_image_without_a_brain_has_no_bias_field(certainty):
    posteriors = torch.zeros(1, len(NAMES), 8, 8, 8)
    posteriors[:, 0], posteriors[:, GREY] = certainty, 1.0 - certainty
    model, field = fit_with_bias_field(posteriors, torch.rand(1, 1, 8, 8, 8), SPACING)
    assert torch.equal(field, torch.ones(1, 1, 8, 8, 8))
    assert torch.isfinite(model.mean).all()
