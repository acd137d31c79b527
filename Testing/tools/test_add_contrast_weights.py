"""One model file with weights for T1 and for other contrasts."""

import sys

import torch
from fake_models import random_model

from SLSFGRLib.io.resources import require_intact
from SLSFGRLib.models.loading import load_model
from tools.add_contrast_weights import main


def test_both_weights_are_in_one_file_with_its_checksum(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("t1.pt", "others.pt", "joined.pt")]
    model = random_model()
    model.save(paths[0])
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += 1.0
    model.save(paths[1])
    monkeypatch.setattr(sys, "argv", ["add_contrast_weights", *map(str, paths)])
    main()
    t1, others, joined = (load_model(str(path)) for path in paths)
    require_intact(paths[2])
    assert joined.settings == t1.settings
    for found, expected in ((joined.network, t1.network), (joined.other_contrasts, others.network)):
        for one, other in zip(found.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)
