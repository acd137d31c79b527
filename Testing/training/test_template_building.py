"""The script that makes the mean brain: which brains take part, and what it writes."""

import hashlib
import sys

import average_brains
import numpy as np
import SimpleITK as sitk
from phantoms import head_image, numbers_image
from test_template import brain

from SLSFGRLib.registration import template as module


def test_brains_are_rendered_from_label_maps_or_taken_as_they_are(tmp_path):
    for folder in ("brain_labels", "oasis"):
        (tmp_path / folder).mkdir()
    # As some of the label maps are stored, in floating point.
    numbers = sitk.Cast(numbers_image(), sitk.sitkFloat32)
    sitk.WriteImage(numbers, str(tmp_path / "brain_labels" / "training_seg_01.nii.gz"))
    head, labels = head_image()
    sitk.WriteImage(head, str(tmp_path / "oasis" / "oasis_d.nii.gz"))
    sitk.WriteImage(labels, str(tmp_path / "oasis" / "oasis_d_labels.nii.gz"))
    files = average_brains.brain_files(tmp_path)
    assert [file.name for file in files] == ["training_seg_01.nii.gz", "oasis_d.nii.gz"]
    rendered, taken = (sitk.GetArrayFromImage(average_brains.t1_brain(file)) for file in files)
    np.testing.assert_allclose(taken, sitk.GetArrayFromImage(head), rtol=1e-6)
    # White matter in the middle of the left hemisphere, nothing of the skin, fluid dark.
    assert rendered.max() > 0.8
    # The blur is recursive: it swings a little below zero.
    assert rendered.min() > -1e-2
    assert 250_000 < (rendered > 0.1).sum() < 700_000


def test_the_mean_is_written_with_its_checksum(tmp_path, monkeypatch):
    monkeypatch.setattr(average_brains, "brain_files", lambda data: [tmp_path / "one", tmp_path / "two"])
    monkeypatch.setattr(average_brains, "t1_brain", lambda file: file.name)
    monkeypatch.setattr(average_brains.SeenBrain, "of", classmethod(lambda cls, image, network: image))
    monkeypatch.setattr(average_brains, "mean_of", lambda brains, update: brain() if brains == ["one", "two"] else None)
    output = tmp_path / "mean_brain.pt"
    monkeypatch.setattr(sys, "argv", ["average_brains.py", str(tmp_path), str(output)])
    average_brains.main()
    written = output.with_suffix(".pt.sha256").read_text().split()
    assert written == [hashlib.sha256(output.read_bytes()).hexdigest(), "mean_brain.pt"]
    monkeypatch.setattr(module, "model_path", lambda name: tmp_path / f"{name}.pt")
    np.testing.assert_allclose(module.mean_brain().tissues, brain().tissues, atol=0.003)
