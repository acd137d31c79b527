"""Segment an image as a user does: from an image to a label map on its own grid, and the command."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk
from fake_models import model_by_intensity, model_of_balls
from phantoms import (
    DIRECTIONS,
    STORAGES,
    affine_matrix,
    balls_image,
    empty_image,
    half_head_and_labels,
    head_image,
    rotation_about,
    stored,
)

from SLSFGRLib import register, segment
from SLSFGRLib.cli import main
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.segmentation.label_map import label_map
from SLSFGRLib.segmentation.pipeline import load_subject
from SLSFGRLib.spatial.affine import Affine

# The channels that the fake network finds, by intensity.
DARK, MIDDLE, BRIGHT = 3, 5, 10


@pytest.fixture
def model():
    return model_by_intensity({0: 0.0, DARK: 0.2, MIDDLE: 0.45, BRIGHT: 0.75})


@pytest.fixture(scope="module")
def small():
    return half_head_and_labels()[0]


def number(channel):
    return read_label_table()[channel - 1].number


def mean_agreement(first, second):
    first, second = (sitk.GetArrayFromImage(labels) for labels in (first, second))
    return [
        2.0 * ((first == label) & (second == label)).sum() / ((first == label).sum() + (second == label).sum())
        for label in (number(DARK), number(MIDDLE), number(BRIGHT))
    ]


def test_labels_lie_where_the_structures_are(model):
    # The head at 70 % of its size.
    grid = empty_image((106, 126, 110), (1, 1, 1), centre=(3, -4, 5))
    image, parts = head_image(grid, affine_matrix(np.eye(3) / 0.7))
    labels = sitk.GetArrayFromImage(segment(image, model=model))
    parts = sitk.GetArrayFromImage(parts)
    inside = sitk.GetArrayFromImage(
        sitk.ErodeObjectMorphology(sitk.GetImageFromArray((parts == 1).astype(np.uint8)), [3] * 3)
    )
    assert (labels[inside == 1] == number(BRIGHT)).mean() > 0.99
    # The head ends where its ellipsoid does, with semi-axes of 68, 84 and 74 mm before it was made smaller.
    assert (labels > 0).sum() == pytest.approx(0.7**3 * 4 / 3 * np.pi * 68 * 84 * 74, rel=0.03)


def test_storage_of_an_image_changes_no_label(model, small):
    plain = segment(small, model=model)
    for storage in (STORAGES[7], STORAGES[26], STORAGES[45]):
        expected, found = stored(plain, *storage), segment(stored(small, *storage), model=model)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
        assert found.GetOrigin() == pytest.approx(expected.GetOrigin())


@pytest.mark.parametrize(("direction", "spacing"), [("LAS", (2.0, 2.0, 2.0)), ("oblique left-handed", (1.3, 0.9, 4.0))])
def test_labels_are_on_the_images_own_grid_whatever_its_spacing(model, direction, spacing):
    # The head at 70 % of its size, which takes a third of the time.
    size, smaller = [round(120 / step) for step in spacing], affine_matrix(1.4 * np.eye(3))
    grid = empty_image(size, spacing, DIRECTIONS[direction], centre=(0, 0, 0))
    image, _ = head_image(grid, smaller)
    found = segment(image, model=model)
    assert found.GetSize() == image.GetSize()
    assert found.GetDirection() == pytest.approx(image.GetDirection())
    assert found.GetPixelID() == sitk.sitkUInt16
    fine, _ = head_image(empty_image((120, 120, 120), (1, 1, 1), DIRECTIONS[direction], centre=(0, 0, 0)), smaller)
    reference = sitk.Resample(segment(fine, model=model), image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert min(mean_agreement(found, reference)) > 0.85


@pytest.fixture
def command_model(model, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.models.loading.load_model", lambda name: model)


def test_command_writes_labels_and_volumes(small, command_model, tmp_path, capsys):
    image, labels, table = (tmp_path / name for name in ("image.nii.gz", "labels.nii.gz", "volumes.csv"))
    sitk.WriteImage(small, str(image))
    code = main(["segment", str(image), str(labels), "--volumes", str(table), "--model", "any", "--quiet"])
    assert code == 0
    assert capsys.readouterr().out.split() == [str(labels), str(table)]
    written = sitk.ReadImage(str(labels))
    assert written.GetSpacing() == pytest.approx(small.GetSpacing())
    with table.open() as stream:
        rows = {row["name"]: float(row["volume_mm3"]) for row in csv.DictReader(stream)}
    voxels = (sitk.GetArrayFromImage(written) == number(BRIGHT)).sum()
    assert rows[read_label_table()[BRIGHT - 1].name] == pytest.approx(8.0 * voxels)
    assert voxels > 0


def test_command_leaves_nothing_behind_when_the_table_cannot_be_written(small, command_model, tmp_path, capsys):
    image = tmp_path / "image.nii.gz"
    sitk.WriteImage(small, str(image))
    missing = tmp_path / "nowhere" / "volumes.csv"
    arguments = ["segment", str(image), str(tmp_path / "labels.nii.gz"), "--volumes", str(missing), "--model", "any"]
    assert main(arguments) == 2
    assert "its folder does not exist" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["image.nii.gz"]


def test_subject_for_the_stages_of_a_registration_has_the_same_label_map():
    model, image = model_of_balls(), balls_image(spacing=2.0)
    subject = load_subject(image, model=model)
    expected = segment(image, model=model)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label_map(subject)), sitk.GetArrayFromImage(expected))


def test_segment_and_register_give_an_image_the_same_label_map_in_both_roles(monkeypatch):
    model = model_of_balls()
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: True)
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.default_model", lambda: model)
    # The spacing of the other image, the fixed one above all, must have no influence.
    turned = Affine.from_parts(rotation_about((1, 2, -1), 12.0), (4.0, -3.0, 2.0))
    images = balls_image(spacing=2.0, shrinking=1.4), balls_image(turned, spacing=1.4, shrinking=1.4)
    expected = [sitk.GetArrayFromImage(segment(image, model=model)) for image in images]
    for fixed, moving in ((0, 1), (1, 0)):
        result = register(images[fixed], images[moving], "fast", "cpu", affine=False)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(result.fixed_labels), expected[fixed])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(result.moving_labels), expected[moving])
    assert len(np.unique(expected[0])) > 8
