"""What the published nodes look like in Slicer's views, drawn by its own displayable managers without a screen."""

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
import vtk
from nodes import add_volume
from panel_workers import labelled, volumes_ml
from phantoms import empty_image, head_image
from rendering import render_in_3d, render_slice
from stand_ins import slicer_module

from SLSFGRLib.jobs.job import JobResult

publish = slicer_module.load("SLSFGRModule.output_nodes").publish

if not vtk.vtkRenderWindow().SupportsOpenGL():
    pytest.skip("there is no OpenGL here", allow_module_level=True)


@pytest.fixture
def segmented():
    """The segmentation node of a head, over its volume in the slice views."""
    scene = slicer_module.new_scene()
    colors = slicer.vtkMRMLColorLogic()
    colors.SetMRMLScene(scene)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    image = head_image(empty_image((48, 56, 52), (4.0, 4.0, 4.0), centre=(0.0, 0.0, 0.0)))[0]
    volume, labels = add_volume(image, "head"), labelled(image)
    slicer.util.setSliceViewerLayers(background=volume)
    result = JobResult(fixed_labels=labels, report={"volumes_ml": {"fixed": volumes_ml(labels)}})
    yield publish(result, volume, None).fixedSegmentationNode
    slicer_module.new_scene()


def coloured(pixels):
    """How much of a picture is not grey."""
    return float((np.ptp(pixels.astype(int), axis=2) > 20).mean())


def test_segments_lie_over_the_volume_in_a_slice_view(segmented):
    view = slicer_module.slice_views()[0]
    with_segments = render_slice(view, "Axial", (0.0, 0.0, 0.0), 8.0, 120)
    segmented.GetDisplayNode().SetVisibility(False)
    without = render_slice(view, "Axial", (0.0, 0.0, 0.0), 8.0, 120)
    assert without.max() > 100
    assert coloured(without) == 0.0
    # The hippocampi of the label table are yellow; here they are the brighter parts of the head.
    assert coloured(with_segments) > 0.1
    yellow = with_segments[(np.ptp(with_segments.astype(int), axis=2) > 40)].mean(0)
    assert yellow[0] > 1.3 * yellow[2]
    assert yellow[1] > 1.3 * yellow[2]


def test_segments_have_their_colours_in_a_3d_view(segmented):
    segmented.CreateClosedSurfaceRepresentation()
    segmented.GetDisplayNode().SetSegmentVisibility3D("Left cerebral white matter", False)
    pixels = render_in_3d(slicer.mrmlScene, 30.0, 10.0, 160)
    assert 0.1 < coloured(pixels) < 0.9
    shown = pixels[np.ptp(pixels.astype(int), axis=2) > 40].astype(float).mean(0)
    np.testing.assert_allclose(shown[1] / shown[0], 216 / 220, atol=0.08)
    segmented.GetDisplayNode().SetVisibility(False)
    assert coloured(render_in_3d(slicer.mrmlScene, 30.0, 10.0, 160)) == 0.0
