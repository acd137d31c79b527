"""Nodes as Slicer's own displayable managers draw them, without a screen.

Needs OpenGL, by EGL or Mesa, and no window system.
"""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS_3D = ("vtkMRMLCameraDisplayableManager", "vtkMRMLSegmentationsDisplayableManager3D")
MANAGERS_2D = ("vtkMRMLSegmentationsDisplayableManager2D", "vtkMRMLTransformsDisplayableManager2D")


def render_slice(shown, orientation, center, offset, size=300, field_of_view=240.0):
    """What a slice view shows: its layers, and the segmentations over them.

    :param shown: slice composite node, which holds the layers.
    :param center: RAS in mm; the offset along the normal counts from the origin.
    :returns: (size, size, 3) bytes, the first row on top.
    """
    scene = shown.GetScene()
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(scene)
    node = logic.AddSliceNode(f"Picture{scene.GetNumberOfNodes()}")
    layers = logic.GetSliceCompositeNode()
    layers.SetBackgroundVolumeID(shown.GetBackgroundVolumeID())
    layers.SetForegroundVolumeID(shown.GetForegroundVolumeID())
    layers.SetForegroundOpacity(shown.GetForegroundOpacity())
    node.SetOrientation(orientation)
    node.SetDimensions(size, size, 1)
    node.SetFieldOfView(field_of_view, field_of_view, 1.0)
    node.JumpSliceByCentering(*center)
    node.SetSliceOffset(offset)
    logic.UpdatePipeline()
    connection = logic.GetImageDataConnection()
    window, renderer = _window(size)
    mapper = vtk.vtkImageMapper()
    mapper.SetInputConnection(connection)
    mapper.SetColorWindow(255.0)
    mapper.SetColorLevel(127.5)
    image = vtk.vtkActor2D()
    image.SetMapper(mapper)
    image.GetProperty().SetDisplayLocationToBackground()
    renderer.AddViewProp(image)
    group, _logic = _managers(MANAGERS_2D, renderer, node)
    pixels = _pixels(window)
    group.SetMRMLDisplayableNode(None)
    for created in (layers, node):
        scene.RemoveNode(created)
    return pixels


def render_in_3d(scene, azimuth=0.0, elevation=0.0, size=420):
    """What a 3-D view shows of the visible segmentations of a scene, on black.

    :param azimuth: degrees to the side from which it is seen; 0 is from the front.
    :param elevation: degrees upwards.
    """
    node = scene.AddNewNodeByClass("vtkMRMLViewNode")
    node.SetLayoutName(f"Picture{scene.GetNumberOfNodes()}")
    window, renderer = _window(size)
    group, _logic = _managers(MANAGERS_3D, renderer, node)
    for light in ((-1, 1, 1), (1, 1, 0.5)):
        _add_light(renderer, light)
    renderer.ResetCamera()
    camera = renderer.GetActiveCamera()
    right, front, up = camera.GetFocalPoint()
    camera.SetPosition(right, front + 400.0, up)
    camera.SetViewUp(0.0, 0.0, 1.0)
    camera.Azimuth(azimuth)
    camera.Elevation(elevation)
    renderer.ResetCamera()
    camera.Zoom(1.45)
    renderer.ResetCameraClippingRange()
    pixels = _pixels(window)
    group.SetMRMLDisplayableNode(None)
    scene.RemoveNode(node)
    return pixels


def _window(size):
    window, renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(8)
    window.SetSize(size, size)
    window.AddRenderer(renderer)
    window.SetInteractor(vtk.vtkGenericRenderWindowInteractor())  # the managers listen to one
    return window, renderer


def _managers(names, renderer, node):
    """Have displayable managers draw what a view shows. They draw as long as what is returned lives."""
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(node.GetScene())
    for name in names:
        manager = getattr(slicer, name)()
        manager.SetMRMLApplicationLogic(logic)
        group.AddDisplayableManager(manager)
    group.SetMRMLDisplayableNode(node)
    return group, logic


def _add_light(renderer, direction):
    light = vtk.vtkLight()
    light.SetLightTypeToCameraLight()
    light.SetPosition(*direction)
    light.SetIntensity(0.8)
    renderer.AddLight(light)


def _pixels(window):
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _ = image.GetDimensions()
    array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
    return np.ascontiguousarray(array)
