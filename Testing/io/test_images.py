import ast
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import empty_image, filled

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.images import (
    checked_image,
    checked_intensities,
    checked_labels,
    read_image,
    read_labels,
    smallest_label_type,
    write_image,
)

SIZE = (10, 12, 9)


def ramp(kind=np.float32):
    """Values 0, 1, 2, ... in an image with a header of its own."""
    return filled(empty_image(SIZE, (1.0, 2.0, 3.0), origin=(4, 5, 6)), np.arange(1080).reshape(9, 12, 10).astype(kind))


def write_slices(folder, uid, count=9):
    """A DICOM series of slices that hold their own number."""
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(count):
        image = sitk.Image([10, 12, 1], sitk.sitkInt16) + number
        image.SetSpacing([1.0, 2.0, 3.0])
        tags = {
            "0008|0060": "MR",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{number + 1}",
            "0020|0032": f"4\\5\\{6 + 3 * number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(number),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}_{count - number}.dcm"))
        writer.Execute(image)


@pytest.mark.parametrize("part", [0.3, 0.999])
def test_a_truncated_file_is_refused(tmp_path, part):
    array = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "whole.nii.gz"))
    whole = (tmp_path / "whole.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=r"cut.nii.gz: is incomplete or damaged; copy it again."):
        read_image(tmp_path / "cut.nii.gz")


def test_a_file_that_was_compressed_in_parts_is_read(tmp_path):
    array = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "whole.nii"))
    content = (tmp_path / "whole.nii").read_bytes()
    (tmp_path / "parts.nii.gz").write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "parts.nii.gz")), array)


@pytest.mark.parametrize("name", ["brain.nii.gz", "brain.nrrd", "brain.mha", "brain.dcm", "brain"])
def test_garbage_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no image" * 100)
    with pytest.raises(InputError, match=f"{name}: cannot be read as an image"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_values_and_place_are_read_as_they_were_written(tmp_path, ending):
    sitk.WriteImage(ramp(), str(tmp_path / f"image{ending}"))
    image = read_image(str(tmp_path / f"image{ending}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(ramp()))
    assert image.GetOrigin() == pytest.approx((4, 5, 6))
    assert image.GetSpacing() == pytest.approx((1, 2, 3))


def test_several_volumes_are_refused(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([ramp(), ramp(), ramp()]), str(tmp_path / "fmri.nii.gz"))
    with pytest.raises(InputError, match=r"fmri\.nii\.gz: holds 3 volumes"):
        read_image(tmp_path / "fmri.nii.gz")


@pytest.mark.parametrize("axes", [4, 5])
def test_further_axes_of_length_one_are_dropped(axes):
    image = ramp()
    for _ in range(axes - 3):
        image = sitk.JoinSeries([image])
    checked = checked_image(image, "image")
    assert checked.GetDimension() == 3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(checked), sitk.GetArrayFromImage(ramp()))
    assert checked.GetOrigin() == (4, 5, 6)
    assert checked.GetSpacing() == (1, 2, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (sitk.Image([20, 20], sitk.sitkFloat32), "has 2 axes"),
        (sitk.Image([20, 20, 20], sitk.sitkVectorFloat32, 3), "has 3 values in each voxel"),
        (sitk.Image([20, 20, 20], sitk.sitkComplexFloat32), "complex numbers"),
        (sitk.Image([20, 7, 20], sitk.sitkFloat32), "is only 20x7x20 voxels; at least 8"),
        (
            empty_image(SIZE, (1e4, 1e4, 1e4)),
            "voxels of 10000x10000x10000 mm, 120000 mm in all",
        ),
        (empty_image(SIZE, (1.0, 60.0, 1.0)), "voxels of 1x60x1 mm"),
        (empty_image(SIZE, (0.001, 0.002, 0.001)), "0.024 mm in all; the units may be wrong"),
    ],
    ids=["2-D", "vector", "complex", "small", "kilometres", "thick", "metres"],
)
def test_images_of_another_kind_are_refused(image, message):
    with pytest.raises(InputError, match=f"the brain: .*{message}"):
        checked_image(image, "the brain")


@pytest.mark.parametrize("value", [0.0, -7.0])
def test_constant_image_is_refused(value):
    with pytest.raises(InputError, match=f"the brain: every voxel has the value {value:g}"):
        checked_intensities(sitk.Image(SIZE, sitk.sitkFloat32) + value, "the brain")


@pytest.mark.parametrize("values", [(np.nan,), (np.nan, np.inf, -np.inf)])
def test_image_without_numbers_is_refused(values):
    array = np.resize(np.array(values, np.float32), SIZE[::-1])
    with pytest.raises(InputError, match="the brain: holds no numbers"):
        checked_intensities(sitk.GetImageFromArray(array), "the brain")


def test_constant_but_for_voxels_that_are_no_numbers_is_refused():
    array = np.full(SIZE[::-1], 3.0, np.float32)
    array[0] = np.nan
    with pytest.raises(InputError, match="every voxel has the value 3"):
        checked_intensities(sitk.GetImageFromArray(array), "the brain")


def test_voxels_that_are_no_numbers_become_the_smallest_value():
    array = sitk.GetArrayFromImage(ramp()) - 50.0
    expected = array.copy()
    for index, value in (((1, 2, 3), np.nan), ((4, 5, 6), np.inf), ((7, 8, 9), -np.inf)):
        array[index], expected[index] = value, -50.0
    repaired = checked_intensities(filled(ramp(), array), "image")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(repaired), expected)
    assert repaired.GetOrigin() == (4, 5, 6)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_every_number_type_becomes_the_same_floats(kind):
    values = sitk.GetArrayFromImage(ramp()) % 200
    image = checked_intensities(filled(ramp(), values.astype(kind)), "image")
    assert image.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values)


@pytest.mark.parametrize(
    ("change", "message"),
    [(0.5, "not whole numbers"), (np.nan, "not whole numbers"), (-1.0, "negative label numbers")],
)
def test_label_map_with_a_wrong_value_is_refused(change, message):
    array = np.ones(SIZE[::-1], np.float32)
    array[3, 3, 3] = change
    with pytest.raises(InputError, match=f"the labels: .*{message}"):
        checked_labels(sitk.GetImageFromArray(array), "the labels")


def test_label_map_without_labels_is_refused():
    with pytest.raises(InputError, match="the labels: holds no label"):
        checked_labels(sitk.Image(SIZE, sitk.sitkUInt8), "the labels")


def test_label_map_stored_as_floats_is_read_as_integers(tmp_path):
    sitk.WriteImage(ramp(np.float32), str(tmp_path / "labels.nii.gz"))
    labels = read_labels(tmp_path / "labels.nii.gz")
    assert labels.GetPixelID() == sitk.sitkInt32
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(ramp()))


@pytest.mark.parametrize(
    ("highest", "pixel"),
    [(255, sitk.sitkUInt8), (256, sitk.sitkUInt16), (65535, sitk.sitkUInt16), (65536, sitk.sitkInt32)],
)
def test_labels_are_stored_in_the_smallest_type_that_holds_them(highest, pixel):
    labels = sitk.Image(SIZE, sitk.sitkInt32)
    labels[1, 2, 3] = highest
    stored = smallest_label_type(labels)
    assert stored.GetPixelID() == pixel
    assert stored[1, 2, 3] == highest


def test_dicom_folder_is_read_in_order_of_position(tmp_path):
    write_slices(tmp_path, "1.2.3.4")
    image = read_image(tmp_path)
    assert [image[0, 0, number] for number in range(9)] == list(range(9))
    assert image.GetOrigin() == pytest.approx((4, 5, 6))
    assert image.GetSpacing() == pytest.approx((1, 2, 3))


def test_folder_with_two_dicom_series_is_refused(tmp_path):
    write_slices(tmp_path, "1.2.3.4")
    write_slices(tmp_path, "1.2.3.5")
    with pytest.raises(InputError, match="the folder holds 2 DICOM series"):
        read_image(tmp_path)


def test_no_view_is_taken_of_an_image_without_a_name():
    """SimpleITK's views do not keep their image alive: of a call's result, they show memory that is free already."""
    repository = Path(__file__).resolve().parents[2]
    files = [path for folder in ("SLSFGRLib", "SLSFGR") for path in (repository / folder).rglob("*.py")]
    assert len(files) > 50
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "GetArrayViewFromImage":
                assert isinstance(node.args[0], ast.Name | ast.Attribute), f"{path}:{node.lineno}"


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.9, 0.9, 12.0), (40.0, 40.0, 40.0)])
def test_images_of_any_plausible_size_are_accepted(spacing):
    assert checked_image(empty_image((16, 16, 16), spacing), "it").GetSpacing() == spacing


def test_an_ending_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"^image\.docx: cannot be written; use \.nii\.gz"):
        write_image(ramp(), tmp_path / "image.docx")
