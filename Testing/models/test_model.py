"""A model: its settings, its network and what it says of itself."""

import pytest
import torch
from fake_models import random_model

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.models.model import Model, ModelSettings, structures_of
from SLSFGRLib.version import VERSION

SL_SFGR = ModelSettings(
    network="sl_sfgr", network_options={"structures": 30, "channels": [3, 4, 4, 4], "matching_channels": 4}
)


def test_untrained_system_always_has_the_same_weights_and_leaves_the_random_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = Model.untrained()
    assert torch.equal(torch.rand(3), expected)
    assert first.name == "li_fan"
    second = load_model("li_fan")
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_untrained_system_says_so():
    model = Model.untrained()
    assert not model.is_trained
    assert model.uses_instance_optimisation
    assert model.description("registration") == {
        "role": "registration",
        "name": "li_fan",
        "version": VERSION,
        "sha256": None,
    }


def test_network_that_cannot_segment_is_refused_and_has_no_structures():
    model = random_model()
    assert not model.can_segment
    assert structures_of(model) == []
    with pytest.raises(InputError, match="model 'test': cannot segment; use one of network sl_sfgr"):
        model.segmenter(torch.device("cpu"))


def test_segmenter_is_a_copy_that_finds_the_structures_of_the_label_table():
    torch.manual_seed(0)
    model = Model("test", SL_SFGR, SL_SFGR.build())
    assert model.can_segment
    assert structures_of(model) == [structure.name for structure in read_label_table()]
    networks = model.segmenter(torch.device("cpu"))
    assert networks.others is networks.t1
    network = networks.t1
    image = torch.rand(1, 1, 8, 16, 8)
    with torch.no_grad():
        expected = model.network.segment(image)
        torch.testing.assert_close(network.segment(image), expected)
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(model.network.segment(image), expected)


@pytest.mark.parametrize(
    ("factor", "spacing", "expected"), [(2, 1.0, 2), (2, 2.0, 1), (4, 2.0, 2), (4, 1.1, 4), (4, 1.5, 2), (1, 2.0, 1)]
)
def test_downsampling_factor_is_the_one_that_comes_nearest_to_the_network_spacing(factor, spacing, expected):
    assert ModelSettings(factor=factor).factors_for(spacing) == (expected,)


@pytest.mark.parametrize(
    ("spacing", "finest", "expected"),
    [(1.0, None, (8, 4, 2, 1)), (1.0, 2, (8, 4, 2)), (2.0, None, (4, 2, 1)), (1.0, 8, (8,))],
)
def test_factors_of_a_pyramid_fall_and_do_not_repeat(spacing, finest, expected):
    assert ModelSettings(pyramid=(8, 4, 2, 1)).factors_for(spacing, finest) == expected


@pytest.mark.parametrize("pyramid", [(2, 4), (4, 4), (6,)])
def test_a_pyramid_of_other_numbers_is_refused(pyramid):
    with pytest.raises(InputError, match=r"pyramid: must be falling numbers out of 1, 2, 4, 8\."):
        ModelSettings(pyramid=pyramid).build()
