"""Arrays and tensors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import half_head

from SLSFGRLib.evaluation.metrics import jacobian_image
from SLSFGRLib.io.transforms import transform_from_parts
from SLSFGRLib.jobs.job import JobResult, RegistrationJob, SegmentationJob, save_job
from SLSFGRLib.spatial.arrays import array_from_tensor, tensor_from_array

WITHOUT_BRIDGE = Path(__file__).resolve().parents[1] / "numpy_bridge.py"


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16", "int64", "bool"])
def test_values_survive_both_ways_whatever_the_memory_looks_like(dtype):
    array = np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)[::-1].astype(dtype)
    array.flags.writeable = False
    tensor = tensor_from_array(array)
    assert tensor.tolist() == array.tolist()
    back = array_from_tensor(tensor.movedim(0, -1))
    assert back.dtype == dtype
    assert back.flags.writeable
    np.testing.assert_array_equal(back, np.moveaxis(array, 0, -1))


def test_dtype_gradient_and_a_single_number():
    assert tensor_from_array(np.eye(3), torch.float32).dtype == torch.float32
    assert array_from_tensor(torch.ones((), requires_grad=True)) == 1.0


@pytest.mark.slow
def test_registration_and_segmentation_need_no_numpy_support_of_torch(tmp_path):
    image = half_head()
    moving = sitk.Resample(image, image, sitk.TranslationTransform(3, (6.0, -4.0, 3.0)))
    folders = [tmp_path / "registration", tmp_path / "segmentation"]
    save_job(RegistrationJob(image, moving, "fast", jacobian=True), folders[0])
    save_job(SegmentationJob(image), folders[1])
    subprocess.run([sys.executable, str(WITHOUT_BRIDGE), *map(str, folders)], check=True)
    result = JobResult.load(folders[0] / "result")
    transform = transform_from_parts(result.transform)
    np.testing.assert_allclose(transform.TransformPoint((0.0, 0.0, 0.0)), (-6.0, 4.0, -3.0), atol=1.5)
    found, expected = map(sitk.GetArrayFromImage, (result.jacobian, jacobian_image(transform, image)))
    np.testing.assert_allclose(found, expected, atol=0.02, rtol=0.0)
    # The intensities of this head are no brain's: where the network finds tissues, the field follows these a little.
    assert np.median(found) == pytest.approx(1.0, abs=0.05)
    assert JobResult.load(folders[1] / "result").fixed_labels.GetSize() == image.GetSize()
