"""Reading, checking and writing of images and label maps."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

# Of the image files that are recognised by name.
IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
SMALLEST_SIZE = 8
# Bytes of a NIfTI file before its voxels, in nearly all files.
LARGEST_HEADER = 4096
# Limits in mm that no image of a head exceeds, unless its header is in other units than mm.
LARGEST_SPACING = 50.0
SMALLEST_EXTENT, LARGEST_EXTENT = 5.0, 5000.0


def image_stem(path: Path) -> str:
    """Return the name of an image file without its ending."""
    endings = [ending for ending in IMAGE_ENDINGS if path.name.lower().endswith(ending)]
    return path.name[: -max(map(len, endings))] if endings else path.name


def read_image(path: str | Path) -> sitk.Image:
    """Read a three-dimensional scalar image of any kind that SimpleITK knows.

    :raises InputError: the file is missing, unreadable, or not a three-dimensional scalar image.
    """
    path = Path(path)
    return checked_image(_read_dicom_series(path) if path.is_dir() else _read_file(path), str(path))


def read_channels(path: str | Path) -> list[sitk.Image]:
    """Read the channels of every voxel, or the volumes along a fourth axis, each as an image of its own.

    :raises InputError: the file is missing, unreadable, or not three-dimensional otherwise.
    """
    image = _read_file(Path(path))
    count = image.GetNumberOfComponentsPerPixel()
    if count > 1:
        channels = [sitk.VectorIndexSelectionCast(image, number) for number in range(count)]
    elif image.GetDimension() == 4:
        size = [*image.GetSize()[:3], 0]
        channels = [sitk.Extract(image, size, [0, 0, 0, number]) for number in range(image.GetSize()[3])]
    else:
        channels = [image]
    return [checked_image(channel, str(path)) for channel in channels]


def _read_file(path: Path) -> sitk.Image:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the name.")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as an image; NIfTI, NRRD, MHA or DICOM is needed.") from error
    if path.name.endswith(".gz") and not _is_whole(path, image):
        raise InputError(f"{path}: is incomplete or damaged; copy it again.")
    return image


def _is_whole(path: Path, image: sitk.Image) -> bool:
    """Return whether a compressed file holds all voxels; ITK reads a truncated one as if zeros followed."""
    bits = int(image.GetMetaData("bitpix")) if image.HasMetaDataKey("bitpix") else 0
    expected = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * bits // 8
    with path.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        # The length before compression is written last, unless the file was compressed in several parts.
        length = int.from_bytes(stream.read(4), "little")
    if expected < length < expected + LARGEST_HEADER:
        return True
    try:
        with gzip.open(path) as stream:
            while stream.read(1 << 24):
                pass
    except (EOFError, OSError, zlib.error):
        return False
    return True


def _read_dicom_series(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise InputError(f"{folder}: the folder holds no DICOM series; give an image file or a DICOM folder.")
    if len(series) > 1:
        raise InputError(f"{folder}: the folder holds {len(series)} DICOM series; give a folder with one.")
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    return reader.Execute()


def checked_image(image: sitk.Image, name: str) -> sitk.Image:
    """Return the image as a three-dimensional scalar one, without axes of length one beyond the third.

    :param name: what to call the image in an error.
    :raises InputError: the image has several channels or time points, is not three-dimensional, or its size in voxels
        or mm cannot be that of a head.
    """
    image = _without_trailing_axes(image, name)
    if image.GetNumberOfComponentsPerPixel() != 1:
        count = image.GetNumberOfComponentsPerPixel()
        raise InputError(f"{name}: has {count} values in each voxel; give an image with one.")
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{name}: holds complex numbers; give the magnitude image.")
    if min(image.GetSize()) < SMALLEST_SIZE:
        size = "x".join(str(count) for count in image.GetSize())
        raise InputError(f"{name}: is only {size} voxels; at least {SMALLEST_SIZE} along each axis are needed.")
    _check_units(image, name)
    if abs(np.linalg.det(np.asarray(image.GetDirection()).reshape(3, 3))) < 0.5:
        raise InputError(f"{name}: its header gives axes that are not perpendicular; resample or fix the header.")
    return image


def _check_units(image: sitk.Image, name: str) -> None:
    """Refuse an image whose size in mm cannot be that of a head."""
    spacing = image.GetSpacing()
    extent = max(count * step for count, step in zip(image.GetSize(), spacing, strict=True))
    if max(spacing) > LARGEST_SPACING or not SMALLEST_EXTENT <= extent <= LARGEST_EXTENT:
        raise InputError(
            f"{name}: its header gives voxels of {'x'.join(f'{step:g}' for step in spacing)} mm, {extent:g} mm in all; "
            "the units may be wrong; correct the header."
        )


def _without_trailing_axes(image: sitk.Image, name: str) -> sitk.Image:
    """Drop axes of length one after the third: many a NIfTI file has them."""
    if image.GetDimension() == 3:
        return image
    if image.GetDimension() < 3:
        raise InputError(f"{name}: has {image.GetDimension()} axes; a three-dimensional image is needed.")
    size = list(image.GetSize())
    if any(count != 1 for count in size[3:]):
        raise InputError(f"{name}: holds {int(np.prod(size[3:]))} volumes; extract one of them first.")
    return sitk.Extract(image, size[:3] + [0] * (len(size) - 3), [0] * len(size))


def checked_intensities(image: sitk.Image, name: str) -> sitk.Image:
    """Return the image as 32-bit floats with every value finite.

    Voxels that are not numbers become the smallest value of the others: background in brain MRI.

    :raises InputError: all voxels have the same value, or none is a number.
    """
    image = sitk.Cast(image, sitk.sitkFloat32)
    values = sitk.GetArrayViewFromImage(image)
    finite = np.isfinite(values)
    if not finite.any():
        raise InputError(f"{name}: holds no numbers at all; check how it was made.")
    low, high = float(values[finite].min()), float(values[finite].max())
    if low == high:
        raise InputError(f"{name}: every voxel has the value {low:g}; there is nothing to register.")
    if finite.all():
        return image
    repaired = sitk.GetImageFromArray(np.where(finite, values, low))
    repaired.CopyInformation(image)
    return repaired


def checked_labels(image: sitk.Image, name: str) -> sitk.Image:
    """Return a label map as 32-bit integers.

    :raises InputError: the image holds values that are not whole numbers, or negative ones, or only zeros.
    """
    values = sitk.GetArrayViewFromImage(image)
    if not np.all(np.isfinite(values)) or np.any(values != np.round(values)):
        raise InputError(f"{name}: holds values that are not whole numbers; it is not a label map.")
    if values.min() < 0:
        raise InputError(f"{name}: holds negative label numbers; labels start at 1, background is 0.")
    if values.max() == 0:
        raise InputError(f"{name}: holds no label, only background.")
    return sitk.Cast(image, sitk.sitkInt32)


def read_labels(path: str | Path) -> sitk.Image:
    """Read a label map.

    :raises InputError: as :func:`read_image` and :func:`checked_labels`.
    """
    return checked_labels(read_image(path), str(path))


def write_image(image: sitk.Image, path: Path) -> None:
    """Write an image, compressed where the format allows it; the ending decides the format.

    :raises InputError: the format cannot be written.
    """
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise InputError(f"{path.name}: cannot be written; use .nii.gz, .nrrd or .mha.") from error


def smallest_label_type(labels: sitk.Image) -> sitk.Image:
    """Store a label map in the smallest unsigned integers that hold it."""
    highest = int(sitk.GetArrayViewFromImage(labels).max())
    for limit, pixel in ((255, sitk.sitkUInt8), (65535, sitk.sitkUInt16)):
        if highest <= limit:
            return sitk.Cast(labels, pixel)
    return sitk.Cast(labels, sitk.sitkInt32)
