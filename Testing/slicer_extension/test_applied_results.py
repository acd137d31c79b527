"""A registration of real brains, applied by Slicer's own C++ core, by SimpleITK and by ``slsfgr apply``."""

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import vtk
from nodes import add_volume, read_transform_node
from stand_ins import slicer_module

from SLSFGRLib.cli import main


@pytest.fixture(scope="module")
def registered(shared_data, tmp_path_factory):
    """The fixed and the moving brain, and the folder with what the command made of them."""
    folder = tmp_path_factory.mktemp("registered")
    files = [shared_data / "malc" / f"{number}_t1.nii.gz" for number in ("1000", "1001")]
    # Nothing is segmented, which takes most of the time.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: False)
        options = ["--output", str(folder), "--mode", "fast", "--transform", "deformable"]
        assert main(["register", *map(str, files), *options]) == 0
    return *[sitk.ReadImage(str(file)) for file in files], folder


@pytest.mark.slow
@pytest.mark.shared_data
def test_slicer_simpleitk_and_the_command_warp_alike(registered, tmp_path):
    fixed, moving, folder = registered
    transform = sitk.ReadTransform(str(folder / "transform.h5"))
    by_itk = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear)).astype(float)
    by_command = sitk.GetArrayFromImage(sitk.ReadImage(str(applied_by_command(registered, tmp_path)))).astype(float)
    by_slicer, by_slicer_linearly = applied_by_slicer(fixed, moving, folder / "transform.h5")
    brain = sitk.GetArrayViewFromImage(fixed) > 0
    contrast = by_itk[brain].std()
    np.testing.assert_array_equal(by_command, by_itk)
    # Between the field's voxels, 2 mm apart in this mode, ITK interpolates linearly, Slicer by cubics unless told.
    assert np.abs(by_slicer_linearly - by_itk)[brain].mean() < 0.005 * contrast
    assert np.abs(by_slicer - by_itk)[brain].mean() < 0.05 * contrast
    unregistered = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, sitk.Transform(), sitk.sitkLinear))
    assert np.abs(unregistered - by_itk)[brain].mean() > contrast


def applied_by_command(registered, folder):
    _, _, results = registered
    output = folder / "applied.nii.gz"
    reference, source = results / "warped.nii.gz", folder / "moving.nii.gz"
    sitk.WriteImage(registered[1], str(source))
    arguments = str(results / "transform.h5"), str(source), str(output), "--reference", str(reference)
    assert main(["apply", *arguments]) == 0
    return output


def applied_by_slicer(fixed, moving, file):
    """Resample as Slicer's slice views do, by the field as it was read and with linear interpolation of it."""
    slicer_module.new_scene()
    from_parent = read_transform_node(file).GetTransformFromParent()
    as_read = resliced(fixed, moving, from_parent)
    for number in range(from_parent.GetNumberOfConcatenatedTransforms()):
        part = from_parent.GetConcatenatedTransform(number)
        if part.IsA("vtkOrientedGridTransform"):
            part.SetInterpolationModeToLinear()
    return as_read, resliced(fixed, moving, from_parent)


def resliced(fixed, moving, from_parent):
    """The moving volume at the fixed volume's voxels, through RAS and the transform."""
    fixed_node, moving_node = add_volume(fixed, "fixed"), add_volume(moving, "moving")
    to_RAS, to_moving_IJK = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    fixed_node.GetIJKToRASMatrix(to_RAS)
    moving_node.GetRASToIJKMatrix(to_moving_IJK)
    chain = vtk.vtkGeneralTransform()
    chain.PostMultiply()
    for part in (to_RAS, from_parent, to_moving_IJK):
        chain.Concatenate(part)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(moving_node.GetImageData())
    reslice.SetResliceTransform(chain)
    reslice.SetInterpolationModeToLinear()
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(*[bound for size in fixed.GetSize() for bound in (0, size - 1)])
    reslice.Update()
    values = vtk.util.numpy_support.vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())
    return values.reshape(fixed.GetSize()[::-1]).astype(float)
