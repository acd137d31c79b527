"""What the module puts into the scene, by its numbers, for volumes that lie every way, and after saving and reading."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
import vtk
from nodes import LPS_TO_RAS, add_volume, with_library
from panel_workers import REPORT, labelled
from phantoms import TURN, empty_image, filled, head_image, positions, rotation_about, transformed
from stand_ins import slicer_module

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs.job import JobResult

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic
apply_transform = slicer_module.load("SLSFGRModule.apply_transform")
comparison = slicer_module.load("SLSFGRModule.comparison")
output_nodes = slicer_module.load("SLSFGRModule.output_nodes")
segmentations = slicer_module.load("SLSFGRModule.segmentations")

# One column for each image axis, LPS.
DIRECTIONS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "oblique": TURN,
    "left-handed": TURN @ np.diag([-1.0, 1.0, 1.0]),
}
SIZE, SPACING = (34, 40, 36), (5.0, 4.5, 5.5)
CENTRE = (3.0, -4.0, 5.0)
SHIFT_LPS = np.array([6.0, -9.0, 4.0])


@pytest.fixture(autouse=True)
def scene():
    return slicer_module.new_scene()


@pytest.fixture(params=DIRECTIONS.values(), ids=DIRECTIONS)
def pair(request):
    """A fixed and a moving volume node of the same head, stored alike but 10 mm apart, and the library for them."""
    fixed = head_image(empty_image(SIZE, SPACING, request.param, centre=CENTRE))[0]
    moving = sitk.Image(fixed)
    moving.SetOrigin((np.array(fixed.GetOrigin()) + SHIFT_LPS).tolist())
    return add_volume(fixed, "before"), add_volume(moving, "after")


@pytest.fixture
def axial_pair():
    fixed = head_image(empty_image(SIZE, SPACING, centre=CENTRE))[0]
    moving = sitk.Image(fixed)
    moving.SetOrigin((np.array(fixed.GetOrigin()) + SHIFT_LPS).tolist())
    return add_volume(fixed, "before"), add_volume(moving, "after")


class Library:
    """A stand-in for SLSFGRLib: knows that the moving image is 10 mm away, and finds structures by intensity."""

    def __init__(self, bend=0.0):
        self.bend = bend

    def register(self, fixed, moving, mode, device, progress, **options):
        forward, inverse = (bent_shift(sign, fixed, self.bend) for sign in (1.0, -1.0))
        return SimpleNamespace(
            warped=sitk.Resample(moving, fixed, forward, sitk.sitkLinear, 0.0, moving.GetPixelID()),
            transform=forward,
            inverse_transform=inverse,
            fixed_labels=labelled(fixed),
            moving_labels=labelled(moving),
            report=REPORT | {"mode": mode},
        )

    def segment(self, image, device, progress):
        return labelled(image)


def bent_shift(sign, image, bend):
    """The shift, and on top of it a smooth bend of some mm; in one composite as the library makes them."""
    shift = sitk.TranslationTransform(3, (sign * SHIFT_LPS).tolist())
    field = filled(image, (sign * bend * np.sin(positions(image)[..., ::-1] / 25.0)).astype(np.float64), vector=True)
    return sitk.CompositeTransform([shift, sitk.DisplacementFieldTransform(field)])


def register(volumes, bend=0.0, **options):
    return with_library(Library(bend), SLSFGRLogic().register, *volumes, **options)


def image_of(volume_node):
    return slicer_module.load("SLSFGRModule.itk_conversion").imageFromVolumeNode(volume_node)


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


def segment_center(node, name):
    """Where the middle of the voxels of a segment is in the world, RAS."""
    segmentation = node.GetSegmentation()
    segment = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name))
    image = segment.GetRepresentation(segmentations.VOXELS)
    array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    array = array.reshape(image.GetDimensions()[::-1])
    to_world, parents = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_world)
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(node.GetParentTransformNode(), None, parents)
    middle = np.argwhere(array == segment.GetLabelValue()).mean(0)[::-1] + np.array(image.GetExtent()[::2])
    matrix = slicer.util.arrayFromVTKMatrix(parents) @ slicer.util.arrayFromVTKMatrix(to_world)
    return (matrix @ [*middle, 1.0])[:3]


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


def test_a_label_that_the_table_does_not_know_is_refused_and_nothing_is_added(axial_pair, scene):
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


def test_transforms_know_which_volume_they_take_to_which(axial_pair):
    fixed, moving = axial_pair
    nodes = register(axial_pair)
    for node, ends in ((nodes.transformNode, (fixed, moving)), (nodes.inverseTransformNode, (moving, fixed))):
        assert node.GetNodeReference(node.GetFixedNodeReferenceRole()) is ends[0]
        assert node.GetNodeReference(node.GetMovingNodeReferenceRole()) is ends[1]


def test_every_node_tells_how_it_came_about(axial_pair):
    nodes = register(axial_pair, mode="accurate", jacobian=True)
    made = [node for node in vars(nodes).values() if isinstance(node, slicer.vtkMRMLNode)]
    assert len(made) == 7
    for node in made:
        notes = {name: node.GetAttribute(f"SLSFGR.{name}") for name in ("Model", "ModelSHA256", "Mode", "Device")}
        assert notes == {"Model": "sl_sfgr", "ModelSHA256": "abc", "Mode": "accurate", "Device": "cpu (2 threads)"}
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


def test_results_stand_beside_their_inputs_in_the_subject_hierarchy(axial_pair, scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    studies = [hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), name) for name in ("2024", "2026")]
    for study, node in zip(studies, axial_pair, strict=True):
        hierarchy.CreateItem(study, node)
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


NAMES_OF_OUTPUTS = {
    "warpedVolumeNode": "{1} warped to {0}",
    "transformNode": "Transform {1} to {0}",
    "inverseTransformNode": "Transform {0} to {1}",
    "fixedSegmentationNode": "{0} segmentation",
    "movingSegmentationNode": "{1} segmentation",
    "volumesTableNode": "{0} structure volumes",
    "jacobianVolumeNode": "Jacobian determinant {0} to {1}",
}


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


def test_segmentation_alone_is_published_beside_its_volume(axial_pair):
    nodes = with_library(Library(), SLSFGRLogic().segment, axial_pair[0])
    assert nodes.fixedSegmentationNode.GetName() == "before segmentation"
    assert nodes.volumesTableNode.GetTable().GetNumberOfColumns() == 2
    assert (nodes.warpedVolumeNode, nodes.movingSegmentationNode) == (None, None)


def test_without_labels_no_segmentation_and_no_table_is_made(axial_pair):
    library = Library()
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


# Apply to... -------------------------------------------------------------------------------------------------------


def apply(node, nodes, fixed):
    return apply_transform.applyTransform(node, nodes.transformNode, nodes.inverseTransformNode, fixed)


def test_a_transformed_volume_has_the_values_of_simpleitk(pair):
    fixed, moving = pair
    nodes = register(pair, bend=3.0)
    copy = apply(moving, nodes, fixed)
    got = slicer.util.arrayFromVolume(copy).astype(float)
    known = slicer.util.arrayFromVolume(nodes.warpedVolumeNode)
    inner = (slice(4, -4),) * 3
    # ITK interpolates the field linearly, Slicer by cubics.
    np.testing.assert_allclose(got[inner], known[inner], atol=2.0)
    np.testing.assert_allclose(image_of(copy).GetOrigin(), image_of(fixed).GetOrigin(), atol=1e-6)


def test_a_transformed_label_map_keeps_its_values(axial_pair):
    fixed, moving = axial_pair
    labels = labelled(image_of(moving))
    node = add_volume(labels, "labels")
    label_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "regions")
    label_node.SetAndObserveImageData(node.GetImageData())
    label_node.CopyOrientation(node)
    copy = apply(label_node, register(axial_pair), fixed)
    assert copy.IsA("vtkMRMLLabelMapVolumeNode")
    expected = sitk.Resample(labels, image_of(fixed), bent_shift(1.0, image_of(fixed), 0.0), sitk.sitkNearestNeighbor)
    got = slicer.util.arrayFromVolume(copy)
    assert set(np.unique(got)) <= {0, 2, 17, 53}
    assert (got == sitk.GetArrayFromImage(expected)).mean() > 0.99


def test_a_transformed_segmentation_keeps_its_segments_and_lies_on_the_fixed_one(pair):
    fixed, _ = pair
    nodes = register(pair)
    copy = apply(nodes.movingSegmentationNode, nodes, fixed)
    segmentation = copy.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    assert segmentation.GetSegment("Right hippocampus").GetTerminology().count("Right") == 1
    got = slicer.util.arrayFromSegmentBinaryLabelmap(copy, "Right hippocampus", fixed) > 0
    known = slicer.util.arrayFromSegmentBinaryLabelmap(nodes.fixedSegmentationNode, "Right hippocampus", fixed) > 0
    assert 2 * (got & known).sum() / (got.sum() + known.sum()) > 0.95
    # What it was made from stays where it was.
    np.testing.assert_allclose(
        segment_center(nodes.movingSegmentationNode, "Right hippocampus")
        - segment_center(nodes.fixedSegmentationNode, "Right hippocampus"),
        SHIFT_LPS * LPS_TO_RAS,
        atol=1e-6,
    )


def test_transformed_models_and_markups_go_the_opposite_way_and_out_of_their_parents(axial_pair):
    fixed = axial_pair[0]
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "up")
    up = np.eye(4)
    up[2, 3] = 50.0
    parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(up))
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(10.0, 20.0, -30.0)
    sphere.Update()
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "lesion")
    model.SetAndObservePolyData(sphere.GetOutput())
    model.SetAndObserveTransformNodeID(parent.GetID())
    copy = apply(model, register(axial_pair), fixed)
    center = np.array(copy.GetPolyData().GetCenter())
    np.testing.assert_allclose(center, np.array([10.0, 20.0, 20.0]) - SHIFT_LPS * LPS_TO_RAS, atol=1e-3)
    assert copy.GetParentTransformNode() is None
    np.testing.assert_allclose(model.GetPolyData().GetCenter(), (10.0, 20.0, -30.0), atol=1e-3)


# Comparison ---------------------------------------------------------------------------------------------------------


def test_checkerboard_shows_either_volume_with_its_own_window_and_level(axial_pair):
    fixed = axial_pair[0]
    for node, level in zip(axial_pair, (100.0, 50.0), strict=True):
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevel(2 * level, level)
    slicer.util.arrayFromVolume(fixed)[:] = 100.0
    slicer.util.arrayFromVolume(axial_pair[1])[:] = 0.0
    board = slicer.util.arrayFromVolume(comparison.makeCheckerboard(*axial_pair))
    assert set(np.unique(board)) == {0, 127}
    side = [round(20.0 / spacing) for spacing in SPACING[::-1]]
    assert (board[: side[0], : side[1], : side[2]] == 127).all()
    assert (board[side[0] : 2 * side[0], : side[1], : side[2]] == 0).all()
    assert (board[side[0] : 2 * side[0], side[1] : 2 * side[1], : side[2]] == 127).all()


# Folders ------------------------------------------------------------------------------------------------------------


def test_a_folder_is_registered_file_by_file_and_a_bad_file_stops_nothing(axial_pair, tmp_path):
    fixed, moving = axial_pair
    scans = tmp_path / "scans"
    scans.mkdir()
    sitk.WriteImage(image_of(moving), str(scans / "one.nii.gz"))
    (scans / "two.nii.gz").write_text("this is no image")
    (scans / "notes.txt").touch()
    folders = scans, tmp_path / "results"
    one, two = with_library(Library(), SLSFGRLogic().registerFolder, fixed, *folders, mode="fast")
    assert (one.path.name, one.problem) == ("one.nii.gz", "")
    assert one.report["mode"] == "fast"
    assert {"warped.nii.gz", "transform.h5", "report.json"} <= {path.name for path in one.output.iterdir()}
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(one.output / "warped.nii.gz")))
    np.testing.assert_allclose(warped[8:-8, 8:-8, 8:-8], slicer.util.arrayFromVolume(fixed)[8:-8, 8:-8, 8:-8], atol=25)
    assert two.output is None
    assert "two.nii.gz: cannot be read" in two.problem
    assert not (tmp_path / "results" / "two").exists()
