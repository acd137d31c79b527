"""One model file with weights for T1 and for other contrasts."""

import sys

import pytest
import torch
from fake_models import random_model

from SLSFGRLib.io.resources import require_intact
from SLSFGRLib.models.loading import load_model
from tools.add_contrast_weights import main


@pytest.fixture
def files(tmp_path):
    """Three models of different weights."""
    paths, model = [tmp_path / f"{number}.pt" for number in range(3)], random_model()
    for path in paths:
        model.save(path)
        with torch.no_grad():
            for parameter in model.network.parameters():
                parameter += 1.0
    return paths


def joined(monkeypatch, model, contrasts, output):
    monkeypatch.setattr(sys, "argv", ["add_contrast_weights", str(model), str(contrasts), str(output)])
    main()
    require_intact(output)
    return load_model(str(output))


def assert_equal_weights(found, expected):
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_both_weights_are_in_one_file_with_its_checksum(files, tmp_path, monkeypatch):
    model = joined(monkeypatch, files[0], files[1], tmp_path / "joined.pt")
    t1, others = (load_model(str(path)) for path in files[:2])
    assert model.settings == t1.settings
    assert_equal_weights(model.network, t1.network)
    assert_equal_weights(model.other_contrasts, others.network)


def test_weights_for_other_contrasts_are_taken_from_a_model_that_has_both(files, tmp_path, monkeypatch):
    joined(monkeypatch, files[0], files[1], tmp_path / "both.pt")
    model = joined(monkeypatch, files[2], tmp_path / "both.pt", tmp_path / "joined.pt")
    assert_equal_weights(model.network, load_model(str(files[2])).network)
    assert_equal_weights(model.other_contrasts, load_model(str(files[1])).network)
