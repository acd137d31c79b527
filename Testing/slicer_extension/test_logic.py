"""Registration and segmentation from the console and scripts."""

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from known_shift import SHIFT_LPS, ShiftLibrary, image_of
from nodes import LPS_TO_RAS, with_library
from stand_ins import slicer_module

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic


def test_segmentation_alone_is_published_beside_its_volume(axial_pair):
    nodes = with_library(ShiftLibrary(), SLSFGRLogic().segment, axial_pair[0])
    assert nodes.fixedSegmentationNode.GetName() == "before segmentation"
    assert nodes.volumesTableNode.GetTable().GetNumberOfColumns() == 2
    assert (nodes.warpedVolumeNode, nodes.movingSegmentationNode) == (None, None)


def test_without_labels_no_segmentation_and_no_table_is_made(axial_pair):
    library = ShiftLibrary()
    register_with_labels = library.register

    def register_without_labels(*images, **options):
        result = register_with_labels(*images, **options)
        result.fixed_labels = result.moving_labels = None
        return result

    library.register = register_without_labels
    nodes = with_library(library, SLSFGRLogic().register, *axial_pair)
    assert (nodes.fixedSegmentationNode, nodes.movingSegmentationNode, nodes.volumesTableNode) == (None, None, None)


def test_initial_transform_is_handed_on_as_fixed_to_moving_points(axial_pair):
    start = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "start")
    to_fixed = np.eye(4)
    to_fixed[:3, 3] = -SHIFT_LPS * LPS_TO_RAS  # put under it, the moving volume lies on the fixed one
    start.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(to_fixed))
    job = SLSFGRLogic().prepareRegistration(*axial_pair, initialTransformNode=start)
    np.testing.assert_allclose(job.initial_transform.TransformPoint((0.0, 0.0, 0.0)), SHIFT_LPS)


def test_a_folder_is_registered_file_by_file_and_a_bad_file_stops_nothing(axial_pair, tmp_path):
    fixed, moving = axial_pair
    scans = tmp_path / "scans"
    scans.mkdir()
    sitk.WriteImage(image_of(moving), str(scans / "one.nii.gz"))
    (scans / "two.nii.gz").write_text("this is no image")
    (scans / "notes.txt").touch()
    folders = scans, tmp_path / "results"
    one, two = with_library(ShiftLibrary(), SLSFGRLogic().registerFolder, fixed, *folders, mode="fast")
    assert (one.path.name, one.problem) == ("one.nii.gz", "")
    assert one.report["mode"] == "fast"
    assert {"warped.nii.gz", "transform.h5", "report.json"} <= {path.name for path in one.output.iterdir()}
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(one.output / "warped.nii.gz")))
    np.testing.assert_allclose(warped[8:-8, 8:-8, 8:-8], slicer.util.arrayFromVolume(fixed)[8:-8, 8:-8, 8:-8], atol=25)
    assert two.output is None
    assert "two.nii.gz: cannot be read" in two.problem
    assert not (tmp_path / "results" / "two").exists()
