"""Explicit steps added to a trained network."""

import pytest
import torch

from SLSFGRLib.models.loading import load_model
from SLSFGRLib.models.model import Model, ModelSettings
from tools.add_explicit_steps import LENGTH, STEPS, with_explicit_steps

OPTIONS = {"structures": 30, "channels": [4, 6, 8, 8], "matching_channels": 4}


def test_other_weights_stay_and_the_file_can_be_read(tmp_path):
    settings = ModelSettings(network="sl_sfgr", network_options=OPTIONS, pair_steps=0, refine_from_mm=8.0)
    torch.manual_seed(1)
    plain = Model("plain", settings, settings.build(), sha256=None)
    with_explicit_steps(plain).save(tmp_path / "with.pt")
    loaded = load_model(str(tmp_path / "with.pt"))
    weights = loaded.network.state_dict()
    for name, value in plain.network.state_dict().items():
        assert torch.equal(weights[name], value), name
    assert tuple(refinement.count for refinement in loaded.network.explicit) == STEPS
    # The length is that of a step, ten times the parameter.
    lengths = [10.0 * float(refinement.step.trust) for refinement in loaded.network.explicit]
    assert lengths == pytest.approx([LENGTH, LENGTH])
    assert loaded.settings.refine_from_mm == 4.0
