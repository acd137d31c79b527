"""The bundled files."""

from pathlib import Path

import numpy as np

from SLSFGRLib.io.images import read_image
from SLSFGRLib.io.resources import image_path


def test_the_word_mni152_names_the_standard_brain_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert image_path(Path("brain.nii.gz")) == Path("brain.nii.gz")
    brain = read_image(image_path(Path("mni152")))
    assert brain.GetSpacing() == (1.0, 1.0, 1.0)
    np.testing.assert_allclose(brain.TransformPhysicalPointToIndex((0.0, 0.0, 0.0)), (98, 134, 72))
    notice = (image_path(Path("mni152")).parent / "README.md").read_text(encoding="utf-8")
    assert "Copyright (C) 1993-2004 Louis Collins" in notice
    Path("mni152").touch()
    assert image_path(Path("mni152")) == Path("mni152")
