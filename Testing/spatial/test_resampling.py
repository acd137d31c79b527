import numpy as np
import pytest
import SimpleITK as sitk

from SLSFGRLib.spatial.resampling import INTERPOLATORS, resample_image

# A wave of eight voxels along x, whose values half a voxel further on are known.
PLACES = np.arange(64)
WAVE = 100.0 + 50.0 * np.sin(2.0 * np.pi * PLACES / 8.0)
SHIFTED = 100.0 + 50.0 * np.sin(2.0 * np.pi * (PLACES + 0.5) / 8.0)


@pytest.mark.parametrize(
    ("interpolation", "error"), [("linear", 3.9), ("nearest", 19.6), ("bspline", 0.053), ("sinc", 0.27)]
)
def test_interpolations_differ_by_how_much_they_blur(interpolation, error):
    image = sitk.GetImageFromArray(np.broadcast_to(WAVE, (12, 12, 64)).astype(np.float32))
    found = resample_image(image, image, sitk.TranslationTransform(3, (0.5, 0.0, 0.0)), interpolation)
    values = sitk.GetArrayFromImage(found)[6, 6, 12:-12]
    assert np.abs(values - SHIFTED[12:-12]).max() == pytest.approx(error, rel=0.3)


@pytest.mark.parametrize("interpolation", INTERPOLATORS)
def test_pixel_type_stays_and_values_beyond_it_are_clipped(interpolation):
    array = np.zeros((16, 16, 16), dtype=np.uint8)
    array[5:11, 5:11, 5:11] = 255
    image = sitk.GetImageFromArray(array)
    found = resample_image(image, image, sitk.TranslationTransform(3, (0.4, 0.0, 0.0)), interpolation)
    assert found.GetPixelID() == sitk.sitkUInt8
    assert sitk.GetArrayFromImage(found)[:, :, 4].max() < 200  # not wrapped around below 0
