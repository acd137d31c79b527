"""The tool that builds the population template: which brains take part, and the checksum that it writes."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import head_image, numbers_image

from SLSFGRLib import InputError
from SLSFGRLib.io.resources import require_intact
from tools.build_template import brain_files, t1_brain, write_checksum


def test_brains_are_rendered_from_label_maps_or_used_as_they_are(tmp_path):
    for folder in ("brain_labels", "oasis"):
        (tmp_path / folder).mkdir()
    # Some of the label maps are stored in floating point.
    numbers = sitk.Cast(numbers_image(), sitk.sitkFloat32)
    sitk.WriteImage(numbers, str(tmp_path / "brain_labels" / "training_seg_01.nii.gz"))
    head, labels = head_image()
    sitk.WriteImage(head, str(tmp_path / "oasis" / "oasis_d.nii.gz"))
    sitk.WriteImage(labels, str(tmp_path / "oasis" / "oasis_d_labels.nii.gz"))
    files = brain_files(tmp_path)
    assert [file.name for file in files] == ["training_seg_01.nii.gz", "oasis_d.nii.gz"]
    rendered, taken = (sitk.GetArrayFromImage(t1_brain(file)) for file in files)
    np.testing.assert_allclose(taken, sitk.GetArrayFromImage(head), rtol=1e-6)
    # White matter in the middle of the left hemisphere, no skin, dark CSF.
    assert rendered.max() > 0.8
    # The blur is recursive and swings slightly below zero.
    assert rendered.min() > -1e-2
    assert 250_000 < (rendered > 0.1).sum() < 700_000


def test_the_library_accepts_the_checksum_of_an_intact_file_only(tmp_path):
    path = tmp_path / "template.pt"
    path.write_bytes(b"what was built")
    write_checksum(path)
    require_intact(path)
    path.write_bytes(b"what was damaged")
    with pytest.raises(InputError, match="damaged"):
        require_intact(path)
