"""Geometry between ITK and Slicer: files that Slicer reads and nodes that the module publishes."""

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
import vtk
from nodes import LPS_TO_RAS, add_volume, read_transform_node, with_library
from phantoms import smooth_field
from stand_ins import slicer_module

from SLSFGRLib.io.transforms import write_transform
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.composite import affine_then_field, inverse_of_affine_then_field
from SLSFGRLib.spatial.grid import grid_of_image

SLSFGRLogic = slicer_module.load("SLSFGR").SLSFGRLogic
itk_conversion = slicer_module.load("SLSFGRModule.itk_conversion")

TOLERANCE_MM = 0.05
SIZE = (22, 26, 20)


def rotation(degrees, axis):
    angle = np.radians(degrees)
    matrix = np.eye(3)
    first, second = [index for index in range(3) if index != axis]
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


DIRECTIONS = {
    "LPS": np.eye(3),
    "LAS": np.diag([1.0, -1.0, 1.0]),
    "oblique": rotation(20, 0) @ rotation(-35, 2) @ np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
}
AFFINE_LPS = Affine.from_parts(rotation(8, 1) @ np.diag([1.1, 0.95, 1.0]), (4.0, -7.0, 11.0))


@pytest.fixture(params=DIRECTIONS.values(), ids=DIRECTIONS)
def fixed(request):
    return image_with(request.param)


@pytest.fixture(autouse=True)
def scene():
    return slicer_module.new_scene()


def image_with(direction, size=SIZE, seed=0):
    values = np.random.default_rng(seed).normal(size=size[::-1]).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin((-30.0, 12.0, 45.0))
    image.SetDirection(direction.flatten().tolist())
    return image


def transforms_on(image):
    """A transform and one built the other way round, as SLSFGRLib composes them."""
    grid = grid_of_image(image)
    forward = affine_then_field(AFFINE_LPS, smooth_field(1.0, grid.shape, seed=1), grid)
    return forward, inverse_of_affine_then_field(AFFINE_LPS, smooth_field(1.0, grid.shape, seed=2), grid)


def points_inside(image, transform=None, count=200):
    """LPS points at least three voxels from the faces; with a transform, points that it brings there."""
    indices = np.random.default_rng(3).uniform(3, np.array(image.GetSize()) - 4, size=(count, 3))
    points = [image.TransformContinuousIndexToPhysicalPoint(index.tolist()) for index in indices]
    return [transform.TransformPoint(point) for point in points] if transform else points


def assert_maps_like(node, transform, points_LPS):
    """The node's transform from its parent, in RAS, agrees with an ITK transform."""
    expected = np.array([transform.TransformPoint(point) for point in points_LPS])
    from_parent = node.GetTransformFromParent()
    got = np.array([from_parent.TransformPoint(LPS_TO_RAS * point) for point in points_LPS]) * LPS_TO_RAS
    assert np.abs(expected - points_LPS).max() > 3.0, "the test needs a transform that moves points"
    assert np.linalg.norm(got - expected, axis=1).max() < TOLERANCE_MM


def assert_both_map_alike(forward_node, inverse_node, forward, inverse, image):
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(AFFINE_LPS.linear.flatten().tolist())
    affine.SetTranslation(AFFINE_LPS.translation.tolist())
    assert_maps_like(forward_node, forward, points_inside(image))
    assert_maps_like(inverse_node, inverse, points_inside(image, affine))


def node_from_itk(transform):
    node = slicer.vtkMRMLTransformNode()
    node.SetAndObserveTransformFromParent(itk_conversion.vtkTransformFromITK(transform))
    return node


def add_parent(node, transform, name):
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    parent.SetAndObserveTransformToParent(transform)
    node.SetAndObserveTransformNodeID(parent.GetID())
    return parent


def linear_transform(matrix):
    transform = vtk.vtkTransform()
    transform.SetMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return transform


class FakeLibrary:
    """A stand-in for SLSFGRLib: records its arguments, and returns a given result."""

    def __init__(self, **result):
        self.result = SimpleNamespace(report={"mode": "fast"}, fixed_labels=None, moving_labels=None, **result)

    def register(self, fixed, moving, **options):
        self.fixed, self.moving, self.options = fixed, moving, options
        return self.result


def register(fixed, library, **options):
    volumes = add_volume(fixed, "fixed"), add_volume(image_with(np.eye(3), (9, 8, 7)), "moving")
    return with_library(library, SLSFGRLogic().register, *volumes, **options)


def identity_library(warped):
    return FakeLibrary(
        warped=warped, transform=sitk.CompositeTransform(3), inverse_transform=sitk.CompositeTransform(3)
    )


def test_slicer_reads_the_transform_files_and_maps_points_as_itk_does(fixed, tmp_path):
    forward, inverse = transforms_on(fixed)
    nodes = []
    for name, transform in (("transform.h5", forward), ("inverse_transform.h5", inverse)):
        write_transform(transform, tmp_path / name)
        nodes.append(read_transform_node(tmp_path / name))
    assert_both_map_alike(*nodes, forward, inverse, fixed)


def test_published_transforms_map_points_as_itk_does(fixed):
    forward, inverse = transforms_on(fixed)
    nodes = register(fixed, FakeLibrary(warped=fixed, transform=forward, inverse_transform=inverse))
    assert_both_map_alike(nodes.transformNode, nodes.inverseTransformNode, forward, inverse, fixed)


def test_published_transform_still_maps_alike_after_slicer_saved_and_read_it(tmp_path):
    image = image_with(DIRECTIONS["oblique"])
    forward, _ = transforms_on(image)
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(tmp_path / "saved.h5"))
    assert storage.WriteData(node_from_itk(forward))
    assert_maps_like(read_transform_node(tmp_path / "saved.h5"), forward, points_inside(image))


def test_published_warped_volume_has_the_place_and_the_values_of_the_warped_image(fixed):
    volume = register(fixed, identity_library(fixed)).warpedVolumeNode
    ijk = np.array([[0, 0, 0], [5, 7, 3], [21, 0, 19]])
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    got = slicer.util.arrayFromVTKMatrix(matrix) @ np.c_[ijk, np.ones(3)].T
    expected = np.array([fixed.TransformIndexToPhysicalPoint(index.tolist()) for index in ijk]) * LPS_TO_RAS
    np.testing.assert_allclose(got[:3].T, expected, atol=1e-6)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), sitk.GetArrayFromImage(fixed))
    assert volume.GetDisplayNode() is not None


def test_library_gets_both_images_as_they_are_and_the_options(fixed):
    library = identity_library(fixed)
    nodes = register(fixed, library, mode="fast", device="cpu")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(library.fixed), sitk.GetArrayFromImage(fixed))
    for header in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(library.fixed, header)(), getattr(fixed, header)(), atol=1e-9)
    assert library.moving.GetSize() == (9, 8, 7)
    assert library.options == {
        "mode": "fast",
        "device": "cpu",
        "progress": None,
        "transform": "auto",
        "initial_transform": None,
        "start_from_segmentation": True,
    }
    assert nodes.report == {"mode": "fast", "volumes_ml": {}}


def test_linear_parent_transforms_are_part_of_the_images_place_even_when_they_shear():
    volumes = [add_volume(image_with(DIRECTIONS["oblique"]), name) for name in ("fixed", "moving")]
    shear = np.eye(4)
    shear[0, 1] = 0.3
    turn = np.eye(4)
    turn[:3, :3] = rotation(30, 2)
    turn[:3, 3] = (10, -20, 5)
    inner = add_parent(volumes[1], linear_transform(shear), "inner")
    add_parent(inner, linear_transform(turn), "outer")
    moving = SLSFGRLogic().prepareRegistration(*volumes).moving
    local = image_with(DIRECTIONS["oblique"])
    for index in ([0, 0, 0], [21, 3, 17], [4, 25, 9]):
        point_RAS = np.append(LPS_TO_RAS * local.TransformIndexToPhysicalPoint(index), 1.0)
        world_LPS = (turn @ shear @ point_RAS)[:3] * LPS_TO_RAS
        np.testing.assert_allclose(moving.TransformIndexToPhysicalPoint(index), world_LPS, atol=1e-6)


def test_a_volume_under_a_nonlinear_transform_is_refused_by_name():
    fixed, moving = (add_volume(image_with(np.eye(3)), name) for name in ("T1 before", "T1 after"))
    forward, _ = transforms_on(image_with(np.eye(3)))
    bend = node_from_itk(forward)
    bend.SetName("warp of last week")
    slicer.mrmlScene.AddNode(bend)
    moving.SetAndObserveTransformNodeID(bend.GetID())
    with pytest.raises(ValueError, match="T1 after is under the nonlinear transform warp of last week"):
        SLSFGRLogic().register(fixed, moving)


def test_volumes_that_cannot_be_registered_are_refused_with_the_reason():
    logic = SLSFGRLogic()
    volume = add_volume(image_with(np.eye(3)), "T1")
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "no image")
    colors = slicer.util.addVolumeFromArray(
        np.zeros((4, 5, 6, 3)), name="photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    for other, reason in (
        (None, "Select a fixed and a moving volume"),
        (volume, "are the same"),
        (empty, "no image has no voxels"),
        (colors, "photo has several values"),
        (slicer.util.addVolumeFromArray(np.ones((4, 5, 6)), name="blank"), "blank has the same value in all"),
    ):
        with pytest.raises(ValueError, match=reason):
            logic.register(volume, other)


def test_a_moving_volume_put_under_the_transform_lies_where_its_inverse_takes_it(fixed):
    grid = grid_of_image(fixed)
    linear = affine_then_field(AFFINE_LPS, torch.zeros(1, 3, *grid.shape), grid)
    node = register(fixed, FakeLibrary(warped=fixed, transform=linear, inverse_transform=linear)).transformNode
    moving_point_LPS = linear.TransformPoint(points_inside(fixed, count=1)[0])
    to_parent = node.GetTransformToParent()
    got = np.array(to_parent.TransformPoint(LPS_TO_RAS * moving_point_LPS)) * LPS_TO_RAS
    np.testing.assert_allclose(got, points_inside(fixed, count=1)[0], atol=TOLERANCE_MM)


def test_an_affine_alone_is_published_as_a_linear_transform():
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(AFFINE_LPS.linear.flatten().tolist())
    affine.SetCenter((10.0, 20.0, 30.0))
    node = node_from_itk(sitk.CompositeTransform([affine]))
    assert node.IsLinear()
    assert_maps_like(node, affine, points_inside(image_with(np.eye(3))))


def test_nodes_have_names_roles_and_no_file():
    nodes = register(image_with(np.eye(3)), identity_library(image_with(np.eye(3))))
    transform, inverse = nodes.transformNode, nodes.inverseTransformNode
    assert nodes.warpedVolumeNode.GetName() == "moving warped to fixed"
    assert (transform.GetName(), inverse.GetName()) == (
        "Transform moving to fixed",
        "Transform fixed to moving",
    )
    assert transform.GetNodeReference(transform.GetMovingNodeReferenceRole()).GetName() == "moving"
    assert inverse.GetNodeReference(inverse.GetMovingNodeReferenceRole()).GetName() == "fixed"
    assert [node.GetStorageNode() for node in (nodes.warpedVolumeNode, transform, inverse)] == [None] * 3


def test_a_result_that_cannot_be_published_leaves_no_node_behind(scene):
    fixed = image_with(np.eye(3))
    library = FakeLibrary(
        warped=fixed, transform=sitk.CompositeTransform(3), inverse_transform=sitk.BSplineTransform(3)
    )
    volumes = add_volume(fixed, "fixed"), add_volume(fixed, "moving")
    before = scene.GetNumberOfNodes()
    with pytest.raises(TypeError, match="BSplineTransform"):
        with_library(library, SLSFGRLogic().register, *volumes)
    assert scene.GetNumberOfNodes() == before
