"""The nodes with the results, by their numbers, for volumes of every orientation, and after saving and reading."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from known_shift import SHIFT_LPS, SPACING, bent_shift, image_of, register
from nodes import LPS_TO_RAS, add_volume, segment_center
from panel_workers import labelled
from phantoms import rotation_about, transformed
from stand_ins import slicer_module

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs.job import JobResult

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic
output_nodes = slicer_module.load("SLSFGRModule.output_nodes")
segmentations = slicer_module.load("SLSFGRModule.segmentations")

NAMES_OF_OUTPUTS = {
    "warpedVolumeNode": "{1} warped to {0}",
    "transformNode": "Transform {1} to {0}",
    "inverseTransformNode": "Transform {0} to {1}",
    "fixedSegmentationNode": "{0} segmentation",
    "movingSegmentationNode": "{1} segmentation",
    "volumesTableNode": "{0} structure volumes",
    "jacobianVolumeNode": "Jacobian determinant {0} to {1}",
}


def saved_and_read(scene, folder):
    """The scene as Slicer would have it after saving everything and opening it again."""
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene():
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
            if storage:
                # No number at the end: files that are numbered through are read as one series.
                name = f"{node.GetName()}.{storage.GetDefaultWriteFileExtension()}"
                storage.SetFileName(str(folder / name))
                assert storage.WriteData(node), node.GetName()
    scene.SetURL(str(folder / "scene.mrml"))
    scene.SetRootDirectory(str(folder))
    assert scene.Commit()
    read = slicer_module.new_scene()
    read.SetURL(str(folder / "scene.mrml"))
    assert read.Connect()
    return read


def test_warped_volume_has_the_grid_of_the_fixed_one_and_the_values_of_simpleitk(pair):
    fixed, moving = map(image_of, pair)
    warped = register(pair, bend=3.0).warpedVolumeNode
    expected = sitk.Resample(moving, fixed, bent_shift(1.0, fixed, 3.0), sitk.sitkLinear, 0.0)
    got = image_of(warped)
    for header in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(got, header)(), getattr(fixed, header)(), atol=1e-9)
    np.testing.assert_allclose(sitk.GetArrayFromImage(got), sitk.GetArrayFromImage(expected), atol=1e-4)


def test_inverse_node_undoes_the_transform(pair):
    nodes = register(pair)
    forward, inverse = nodes.transformNode, nodes.inverseTransformNode
    for point in ([0.0, 0.0, 0.0], [20.0, -30.0, 10.0]):
        there = forward.GetTransformFromParent().TransformPoint(point)
        np.testing.assert_allclose(np.array(there) - point, SHIFT_LPS * LPS_TO_RAS, atol=1e-3)
        np.testing.assert_allclose(inverse.GetTransformFromParent().TransformPoint(there), point, atol=1e-3)


def test_moving_volume_under_the_transform_lies_on_the_fixed_one(axial_pair):
    fixed, moving = axial_pair
    moving.SetAndObserveTransformNodeID(register(axial_pair).transformNode.GetID())
    bounds = [0.0] * 6, [0.0] * 6
    fixed.GetRASBounds(bounds[0])
    moving.GetRASBounds(bounds[1])
    np.testing.assert_allclose(bounds[1], bounds[0], atol=0.05)


def test_results_follow_inputs_that_are_under_transforms(pair):
    fixed, moving = pair
    turn = np.eye(4)
    turn[:3, :3] = rotation_about((1, 2, 3), 25)
    turn[:3, 3] = (10, 20, -5)
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "tilt of the head rest")
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turn))
    for node in pair:
        node.SetAndObserveTransformNodeID(parent.GetID())
    nodes = register(pair)
    place, fixed_place = image_of(nodes.warpedVolumeNode), image_of(fixed)
    np.testing.assert_allclose(place.GetOrigin(), fixed_place.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(place.GetDirection(), fixed_place.GetDirection(), atol=1e-9)
    assert nodes.transformNode.GetParentTransformNode() is None
    assert nodes.movingSegmentationNode.GetParentTransformNode() is parent
    center = np.array(segment_center(nodes.movingSegmentationNode, "Right hippocampus"))
    labels = labelled(image_of(moving))
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(labels)
    np.testing.assert_allclose(center, np.array(shape.GetCentroid(53)) * LPS_TO_RAS, atol=0.01)


def test_segments_have_names_colors_numbers_and_snomed_codes(pair):
    node = register(pair).fixedSegmentationNode
    segmentation = node.GetSegmentation()
    names = [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]
    assert names == ["Left cerebral white matter", "Left hippocampus", "Right hippocampus"]
    left = segmentation.GetSegment("Left hippocampus")
    np.testing.assert_allclose(left.GetColor(), np.array([220, 216, 20]) / 255.0)
    assert left.GetLabelValue() == 17
    assert not left.GetNameAutoGenerated()
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    assert logic.DeserializeTerminologyEntry(left.GetTerminology(), entry)
    assert entry.GetTerminologyContextName() == "Segmentation category and type - DICOM master list"
    assert entry.GetCategoryObject().GetCodeValue() == "123037004"
    assert entry.GetTypeObject().GetCodeValue() == "5366008"
    assert entry.GetTypeModifierObject().GetCodeMeaning() == "Left"


def test_every_structure_of_the_bundled_table_becomes_a_coded_segment(axial_pair):
    table = read_label_table()
    size = axial_pair[0].GetImageData().GetNumberOfPoints()
    numbers = np.resize([structure.number for structure in table], size).astype(np.uint16)
    labels = numbers.reshape(slicer.util.arrayFromVolume(axial_pair[0]).shape)
    segmentation = segmentations.segmentationFromLabels(labels, axial_pair[0])
    assert segmentation.GetNumberOfSegments() == len(table) >= 30
    logic, entry = slicer.vtkSlicerTerminologiesModuleLogic(), slicer.vtkSlicerTerminologyEntry()
    for structure in table:
        segment = segmentation.GetSegment(structure.name)
        assert logic.DeserializeTerminologyEntry(segment.GetTerminology(), entry)
        assert entry.GetTypeObject().GetCodeMeaning() == structure.terminology.type.meaning
        np.testing.assert_allclose(segment.GetColor(), np.array(structure.color) / 255.0)


def test_fluid_does_not_hide_the_brain_in_3d_unless_the_user_wants_it(axial_pair):
    labels = sitk.Cast(labelled(image_of(axial_pair[0])) == 2, sitk.sitkUInt16) * 24
    result = JobResult(fixed_labels=labels, report={})
    node = output_nodes.publish(result, axial_pair[0], None).fixedSegmentationNode
    display = node.GetDisplayNode()
    assert not display.GetSegmentVisibility3D("Cerebrospinal fluid")
    assert display.GetSegmentOpacity2DFill("Cerebrospinal fluid") == pytest.approx(0.3)
    display.SetSegmentVisibility3D("Cerebrospinal fluid", True)
    output_nodes.publish(result, axial_pair[0], None, output_nodes.RegistrationNodes(fixedSegmentationNode=node))
    assert display.GetSegmentVisibility3D("Cerebrospinal fluid")


def test_segments_lie_where_their_labels_are(pair):
    fixed, moving = pair
    nodes = register(pair)
    for node, volume in ((nodes.fixedSegmentationNode, fixed), (nodes.movingSegmentationNode, moving)):
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, "Right hippocampus", volume)
        np.testing.assert_array_equal(array > 0, sitk.GetArrayFromImage(labelled(image_of(volume))) == 53)
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        assert node.GetNodeReference(role) is volume


def test_an_unknown_label_is_refused_and_nothing_is_added(axial_pair, scene):
    before = scene.GetNumberOfNodes()
    labels = labelled(image_of(axial_pair[0])) + 9000
    with pytest.raises(ValueError, match="does not hold the labels 9000, 9002, 9017, 9053"):
        output_nodes.publish(JobResult(fixed_labels=labels), axial_pair[0], None)
    assert scene.GetNumberOfNodes() == before


def test_table_holds_the_volumes_of_both_brains_in_ml(axial_pair):
    table = register(axial_pair).volumesTableNode.GetTable()
    columns = [table.GetColumn(index) for index in range(table.GetNumberOfColumns())]
    assert [column.GetName() for column in columns] == ["Structure", "before (mL)", "after (mL)"]
    assert [columns[0].GetValue(row) for row in range(table.GetNumberOfRows())] == [
        "Left cerebral white matter",
        "Left hippocampus",
        "Right hippocampus",
    ]
    labels = sitk.GetArrayFromImage(labelled(image_of(axial_pair[0])))
    for row, number in enumerate((2, 17, 53)):
        milliliters = (labels == number).sum() * np.prod(SPACING) / 1000.0
        assert columns[1].GetValue(row) == pytest.approx(milliliters)
        assert columns[2].GetValue(row) == pytest.approx(milliliters)


def test_volumes_of_two_brains_of_one_name_are_both_in_the_table(axial_pair):
    for node in axial_pair:
        node.SetName("T1")
    table = register(axial_pair).volumesTableNode.GetTable()
    titles = [table.GetColumnName(index) for index in range(table.GetNumberOfColumns())]
    assert titles == ["Structure", "T1, fixed (mL)", "T1, moving (mL)"]


def test_transforms_refer_to_the_volumes_that_they_connect(axial_pair):
    fixed, moving = axial_pair
    nodes = register(axial_pair)
    for node, ends in ((nodes.transformNode, (fixed, moving)), (nodes.inverseTransformNode, (moving, fixed))):
        assert node.GetNodeReference(node.GetFixedNodeReferenceRole()) is ends[0]
        assert node.GetNodeReference(node.GetMovingNodeReferenceRole()) is ends[1]


def test_every_node_has_its_provenance(axial_pair):
    nodes = register(axial_pair, mode="accurate", jacobian=True)
    made = [node for node in vars(nodes).values() if isinstance(node, slicer.vtkMRMLNode)]
    assert len(made) == 7
    for node in made:
        notes = {name: node.GetAttribute(f"SLSFGR.{name}") for name in ("Model", "ModelSHA256", "Mode", "Device")}
        assert notes == {
            "Model": "sl_sfgr (segmentation)",
            "ModelSHA256": "abc",
            "Mode": "accurate",
            "Device": "cpu (2 threads)",
        }
        assert float(node.GetAttribute("SLSFGR.DiceAfter")) == 0.842
        assert float(node.GetAttribute("SLSFGR.FoldingPercent")) == 0.0


def test_warped_volume_is_shown_as_the_moving_volume_is(axial_pair):
    moving = axial_pair[1]
    moving.CreateDefaultDisplayNodes()
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "Iron")
    moving.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    moving.GetDisplayNode().AutoWindowLevelOff()
    moving.GetDisplayNode().SetWindowLevel(123.0, 77.0)
    display = register(axial_pair).warpedVolumeNode.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (123.0, 77.0)
    assert display.GetColorNode() is colors
    assert not display.GetAutoWindowLevel()


def test_long_integers_which_slicer_refuses_on_windows_become_doubles(axial_pair, monkeypatch):
    conversion = slicer_module.load("SLSFGRModule.itk_conversion")
    array = slicer.util.arrayFromVolume(axial_pair[0]).astype(np.int64) + 2**40
    conversion.fillLike(axial_pair[1], array, axial_pair[0], (0, 1), "vtkMRMLColorTableNodeGrey")
    stored = slicer.util.arrayFromVolume(axial_pair[1])
    assert stored.dtype == np.float64
    np.testing.assert_array_equal(stored, array)


def test_results_are_next_to_their_inputs_in_the_subject_hierarchy(axial_pair, scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    studies = [hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), name) for name in ("2024", "2026")]
    for study, node in zip(studies, axial_pair, strict=True):
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
    nodes = register(axial_pair)
    parent_of = lambda node: hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))  # noqa: E731
    for node in (nodes.fixedSegmentationNode, nodes.volumesTableNode, nodes.inverseTransformNode):
        assert parent_of(node) == studies[0]
    for node in (nodes.warpedVolumeNode, nodes.transformNode, nodes.movingSegmentationNode):
        assert parent_of(node) == studies[1]


def test_chosen_nodes_are_filled_in_place(axial_pair, scene):
    first = register(axial_pair, jacobian=True)
    first.warpedVolumeNode.SetName("my name for it")
    count = scene.GetNumberOfNodes()
    second = register(axial_pair, into=first, mode="fast", jacobian=True)
    assert scene.GetNumberOfNodes() == count
    for name, node in vars(second).items():
        assert node is getattr(first, name) or name == "report"
    assert second.warpedVolumeNode.GetName() == "my name for it"
    assert second.warpedVolumeNode.GetAttribute("SLSFGR.Mode") == "fast"
    assert second.fixedSegmentationNode.GetSegmentation().GetNumberOfSegments() == 3
    assert second.volumesTableNode.GetTable().GetNumberOfColumns() == 3


def names_of(nodes):
    return {place: getattr(nodes, place).GetName() for place in NAMES_OF_OUTPUTS}


def names_for(fixed, moving):
    return {place: name.format(fixed, moving) for place, name in NAMES_OF_OUTPUTS.items()}


@pytest.fixture
def other_volume(axial_pair):
    """A third volume, of the same head."""
    return add_volume(image_of(axial_pair[0]), "later")


def test_names_that_we_gave_follow_the_inputs(axial_pair, other_volume, scene):
    first = register(axial_pair, jacobian=True)
    assert names_of(first) == names_for("before", "after")
    count = scene.GetNumberOfNodes()
    second = register((axial_pair[0], other_volume), into=first, jacobian=True)
    assert names_of(second) == names_for("before", "later")
    transform = second.transformNode
    assert transform.GetNodeReference(transform.GetMovingNodeReferenceRole()) is other_volume
    third = register((other_volume, axial_pair[1]), into=second, jacobian=True)
    assert names_of(third) == names_for("later", "after")
    columns = third.volumesTableNode.GetTable()
    assert [columns.GetColumnName(index) for index in range(3)] == ["Structure", "later (mL)", "after (mL)"]
    assert names_of(register((axial_pair[1], other_volume), into=third, jacobian=True)) == names_for("after", "later")
    assert names_of(register((other_volume, axial_pair[1]), into=third, jacobian=True)) == names_for("later", "after")
    assert scene.GetNumberOfNodes() == count


def test_names_follow_an_input_that_is_renamed(axial_pair):
    first = register(axial_pair, jacobian=True)
    axial_pair[1].SetName("T1 of 2026")
    assert names_of(register(axial_pair, into=first, jacobian=True)) == names_for("before", "T1 of 2026")


def test_names_that_the_user_gave_stay(axial_pair, other_volume):
    first = register(axial_pair, jacobian=True)
    first.warpedVolumeNode.SetName("for the report")
    first.transformNode.SetName("Transform after to before, checked")
    chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Inverse transform")
    into = replace(first, inverseTransformNode=chosen)
    for _run in range(2):
        nodes = register((axial_pair[0], other_volume), into=into, jacobian=True)
        assert nodes.warpedVolumeNode.GetName() == "for the report"
        assert nodes.transformNode.GetName() == "Transform after to before, checked"
        assert nodes.inverseTransformNode.GetName() == "Inverse transform"
        assert nodes.jacobianVolumeNode.GetName() == "Jacobian determinant before to later"


def test_a_name_that_was_made_unique_stays_while_the_inputs_do_and_follows_them_then(axial_pair, other_volume):
    register(axial_pair)
    second = register(axial_pair)
    assert second.warpedVolumeNode.GetName() == "after warped to before_1"
    assert register(axial_pair, into=second).warpedVolumeNode.GetName() == "after warped to before_1"
    third = register((axial_pair[0], other_volume), into=second)
    assert third.warpedVolumeNode.GetName() == "later warped to before"


def test_names_still_follow_after_the_scene_was_saved_and_read(axial_pair, other_volume, scene, tmp_path):
    first = register(axial_pair)
    first.transformNode.SetName("mine")
    saved_and_read(scene, tmp_path)
    made = {place: node.GetName() for place, node in vars(first).items() if place in NAMES_OF_OUTPUTS and node}
    into = replace(first, **{place: slicer.util.getNode(name) for place, name in made.items()})
    nodes = register((slicer.util.getNode("before"), slicer.util.getNode("later")), into=into)
    assert nodes.warpedVolumeNode.GetName() == "later warped to before"
    assert nodes.transformNode.GetName() == "mine"


def test_a_file_of_an_earlier_result_is_not_overwritten_under_its_old_name(axial_pair, other_volume, tmp_path):
    first = register(axial_pair)
    node = first.warpedVolumeNode
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(tmp_path / "after warped to before.nrrd"))
    register(axial_pair, into=first)
    assert node.GetStorageNode() is not None
    register((axial_pair[0], other_volume), into=first)
    assert node.GetStorageNode() is None


def test_a_run_that_cannot_be_published_renames_nothing(axial_pair, other_volume):
    first = register(axial_pair)
    labels = labelled(image_of(axial_pair[0])) + 9000
    with pytest.raises(ValueError, match="does not hold"):
        output_nodes.publish(JobResult(fixed_labels=labels), other_volume, None, first)
    assert first.fixedSegmentationNode.GetName() == "before segmentation"
    assert first.fixedSegmentationNode.GetSegmentation().GetNumberOfSegments() == 3


def test_all_of_it_survives_saving_and_reading_the_scene(pair, scene, tmp_path):
    made = register(pair, bend=3.0)
    fixed = image_of(pair[0])
    expected = image_of(made.warpedVolumeNode)
    terminology = made.fixedSegmentationNode.GetSegmentation().GetSegment("Left hippocampus").GetTerminology()
    read = saved_and_read(scene, tmp_path)
    warped = slicer.util.getNode("after warped to before")
    # Slicer turns left-handed volumes into right-handed ones as it reads them: compare in space.
    found = sitk.Resample(image_of(warped), expected, sitk.Transform(), sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    assert warped.GetAttribute("SLSFGR.DiceAfter") == "0.842"
    transform = slicer.util.getNode("Transform after to before")
    assert transform.GetNodeReference(transform.GetMovingNodeReferenceRole()).GetName() == "after"
    points = np.array([[10.0, -20.0, 30.0], [-25.0, 10.0, 0.0]])
    moved = [transform.GetTransformFromParent().TransformPoint(point) for point in points * LPS_TO_RAS]
    known = transformed(bent_shift(1.0, fixed, 3.0), points)
    np.testing.assert_allclose(np.array(moved) * LPS_TO_RAS, known, atol=0.02)
    segment = slicer.util.getNode("before segmentation").GetSegmentation().GetSegment("Left hippocampus")
    assert segment.GetName() == "Left hippocampus"
    assert segment.GetTerminology() == terminology
    before = slicer.util.getNode("before")
    array = slicer.util.arrayFromSegmentBinaryLabelmap(
        slicer.util.getNode("before segmentation"), "Left hippocampus", before
    )
    np.testing.assert_array_equal(array > 0, sitk.GetArrayFromImage(labelled(image_of(before))) == 17)
    assert slicer.util.getNode("before structure volumes").GetTable().GetNumberOfRows() == 3
    assert read.GetFirstNodeByName("SLSFGR checkerboard") is None
