"""Images whose label maps are known."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import numbers_image

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.training.data import labelled_images
from SLSFGRLib.training.data.labelled_images import load_images_with_labels

pytestmark = pytest.mark.usefixtures("no_brain_network")
ROWS = {row.name: channel for channel, row in enumerate(read_label_table(), 1)}


@pytest.fixture
def no_brain_network(monkeypatch):
    """The phantom is no head that the network knows."""
    monkeypatch.setattr(labelled_images, "brain_network", lambda device: None)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A phantom's image and its label map, the latter on a finer grid that is shifted."""
    folder = tmp_path_factory.mktemp("labelled")
    numbers = numbers_image()
    kept = np.isin(sitk.GetArrayFromImage(numbers), [row.number for row in read_label_table()])
    labels = sitk.GetImageFromArray(np.where(kept, sitk.GetArrayFromImage(numbers), 0).astype(np.uint16))
    labels.CopyInformation(numbers)
    image = sitk.Cast(labels > 0, sitk.sitkFloat32)
    fine = sitk.Resample(
        labels, [2 * size + 6 for size in labels.GetSize()], sitk.Transform(), sitk.sitkNearestNeighbor,
        [start - 1.5 for start in labels.GetOrigin()], [step / 2 for step in labels.GetSpacing()],
        labels.GetDirection(),
    )  # fmt: skip
    sitk.WriteImage(image, str(folder / "image.nii.gz"))
    sitk.WriteImage(fine, str(folder / "labels.nii.gz"))
    return folder / "image.nii.gz", folder / "labels.nii.gz"


def test_fractions_of_structures_are_those_of_the_label_map(files):
    (loaded,) = load_images_with_labels([files[0]], [files[1]])
    assert loaded.image.shape[2:] == loaded.probabilities.shape[2:]
    torch.testing.assert_close(loaded.probabilities.sum(1), torch.ones_like(loaded.image[:, 0]))
    labels = sitk.ReadImage(str(files[1]))
    array, voxel = sitk.GetArrayFromImage(labels), float(np.prod(labels.GetSpacing()))
    for name in ("Left cerebral white matter", "Right cerebral cortex"):
        number = next(row.number for row in read_label_table() if row.name == name)
        volume = float(loaded.probabilities[0, ROWS[name]].sum()) * 8.0
        assert volume == pytest.approx((array == number).sum() * voxel, rel=0.03), name


def test_unequal_numbers_of_files_are_refused(files):
    with pytest.raises(InputError, match="1 files and image_labels 2"):
        load_images_with_labels([files[0]], [files[1], files[1]])


def test_label_map_of_another_place_is_refused(files, tmp_path):
    labels = sitk.ReadImage(str(files[1]))
    labels.SetOrigin([start + 900.0 for start in labels.GetOrigin()])
    sitk.WriteImage(labels, str(tmp_path / "far.nii.gz"))
    with pytest.raises(InputError, match="shows no structure"):
        load_images_with_labels([files[0]], [tmp_path / "far.nii.gz"])
