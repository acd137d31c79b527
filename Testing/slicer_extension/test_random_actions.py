"""Many random actions in the panel, in a scene with nodes of the user's: none of these changes, and nothing fails."""

import random
import sys

import numpy as np
import pytest

pytest.importorskip("slicer_core", reason="needs the slicer-core wheel")

import slicer
from nodes import add_volume
from panel import FakeInstaller, SLSFGRWidget, small_head
from panel_workers import result_of
from phantoms import affine_matrix
from PySide6.QtCore import Qt
from stand_ins import slicer_module

INPUTS = ("fixedVolume", "movingVolume", "initialTransform", "fixedLesion", "movingMask")
SWITCHES = ("before", "checkerboard", "sideBySide", "grid")
OUTPUTS = ("warpedVolume", "transform", "inverseTransform", "fixedSegmentation", "movingSegmentation")


class InstantRunner:
    """Does a job in this process; the second call of poll ends it."""

    def __init__(self):
        self.job, self.ends = None, 0

    def stand_by(self, ready):
        pass

    def start(self, job, on_progress, on_log, on_end):
        assert self.job is None
        self.job, self.on_progress, self.on_end, self.polls = job, on_progress, on_end, 0

    def poll(self):
        if self.job is None:
            return
        self.polls += 1
        self.on_progress(0.5, "Deforming")
        if self.polls > 1:
            job, self.job, self.ends = self.job, None, self.ends + 1
            self.on_end(*((result_of(job), "") if job != "cancelled" else (None, "")))

    def cancel(self):
        self.job = "cancelled"

    def release(self):
        assert self.job is None

    def discard(self):
        self.job = None


class User:
    """Acts at random; selects no node of the scene's as an output but results of the module."""

    def __init__(self, widget, seed, scene_file):
        self.widget, self.random = widget, random.Random(seed)
        self.nodes, self.loads = [], 0
        self.add_nodes()
        assert slicer.mrmlScene.Commit(str(scene_file))
        self.scene_file = scene_file

    def add_nodes(self):
        for number in range(10):
            self.nodes.append(add_volume(small_head(spacing=9.0 + number), f"T{number}"))
            transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", f"planning {number}")
            matrix = affine_matrix(shift=(number, 2.0, 3.0))
            transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
            segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"tumour {number}")
            segmentation.GetSegmentation().AddEmptySegment("tumour", "tumour")
            self.nodes += [transform, segmentation]
        self.names = {node: node.GetName() for node in self.nodes}

    def content(self):
        """Return the name and what is in each node."""
        return {node: (node.GetName(), *content(node)) for node in self.nodes}

    def rename(self):
        node = self.random.choice([*self.nodes, *filter(None, [self.selector(OUTPUTS).currentNode()])])
        name = f"{node.GetName()[:20]} {self.random.randrange(100)}"
        node.SetName(name)
        if node in self.names:
            self.names[node] = name

    def load_scene(self):
        """Add a scene in which nodes have the IDs of others."""
        if self.loads < 2:
            self.loads += 1
            slicer.mrmlScene.SetURL(str(self.scene_file))
            slicer.mrmlScene.Import()

    def selector(self, names):
        return getattr(self.widget.ui, f"{self.random.choice(names)}Selector")

    def one_of(self, nodes):
        return self.random.choice([None, *nodes])

    def select_input(self):
        selector = self.selector(INPUTS)
        selector.setCurrentNode(self.one_of(selector._object.listed()))

    def select_pair(self):
        """Select two volumes that can be registered, and nothing else."""
        for name in INPUTS:
            getattr(self.widget.ui, f"{name}Selector").setCurrentNode(None)
        volumes = [node for node in self.nodes if node.IsA("vtkMRMLVolumeNode")]
        if len(volumes) > 1:
            for name, node in zip(INPUTS, self.random.sample(volumes, 2), strict=False):
                getattr(self.widget.ui, f"{name}Selector").setCurrentNode(node)

    def select_output(self):
        selector = self.selector(OUTPUTS)
        results = [node for node in selector._object.listed() if node.GetAttribute("SLSFGR.Version")]
        selector.setCurrentNode(self.one_of(results))

    def create_output(self):
        self.selector(OUTPUTS)._object.addNode()

    def delete_output(self):
        node = self.selector(OUTPUTS).currentNode()
        if node and node not in self.nodes:
            slicer.mrmlScene.RemoveNode(node)

    def delete_own_node(self):
        if len(self.nodes) > 6:
            slicer.mrmlScene.RemoveNode(self.nodes.pop(self.random.randrange(len(self.nodes))))

    def hide_output(self):
        node = self.selector(OUTPUTS).currentNode()
        if node:
            node.HideFromEditorsOn()

    def check(self):
        selector = self.widget.ui.moreVolumesSelector
        node = self.one_of(selector._object.listed())
        if node:
            selector.setCheckState(node, self.random.choice([Qt.CheckState.Checked, Qt.CheckState.Unchecked]))

    def press(self):
        name = self.random.choice(["register", "register", "register", "segment", "swap", "apply"])
        getattr(self.widget.ui, f"{name}Button")._object.click()

    def wait(self):
        for _ in range(20):
            self.widget.poll()

    def switch(self):
        box = getattr(self.widget.ui, f"{self.random.choice(SWITCHES)}CheckBox")
        if box.enabled:
            box.checked = not box.checked

    def go_and_come(self):
        slicer_module.leave(self.widget)
        self.wait()
        slicer_module.enter(self.widget)

    def close_scene(self):
        if self.random.random() < 0.2:
            self.nodes = []
            slicer.mrmlScene.Clear(0)
            self.add_nodes()

    ACTIONS = (
        *3 * (select_input,), *2 * (select_pair,), select_output, create_output, delete_output, delete_own_node,
        hide_output, check, rename, load_scene, *3 * (press,), *3 * (wait,), switch, go_and_come, close_scene,
    )  # fmt: skip

    def act(self):
        action = self.random.choice(self.ACTIONS)
        action(self)
        return action.__name__


def content(node):
    """What must not change of a node."""
    if node.IsA("vtkMRMLVolumeNode"):
        return node.GetSpacing(), float(slicer.util.arrayFromVolume(node).astype(float).sum())
    if node.IsA("vtkMRMLSegmentationNode"):
        return (tuple(node.GetSegmentation().GetSegmentIDs()),)
    moved = node.GetTransformToParent().TransformPoint((1.0, 2.0, 3.0))
    return (tuple(np.round(moved, 6)),)


@pytest.mark.slow
def test_no_node_of_the_user_changes_in_500_random_actions(scene, monkeypatch, tmp_path_factory):
    failures = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: failures.append(error))
    slicer.app.dialogs.clear()
    widget = slicer_module.open_widget(SLSFGRWidget(runner=InstantRunner(), installer=FakeInstaller()))
    user = User(widget, 0, tmp_path_factory.mktemp("scene") / "scene.mrml")
    for number in range(500):
        before = user.content()
        action = user.act()
        after = user.content()
        for node in before.keys() & after.keys():
            assert after[node][0] == user.names[node], (number, action)
            assert after[node][1:] == before[node][1:], (number, action)
        assert (failures, slicer.app.dialogs) == ([], []), (number, action)
    assert widget.runner.ends >= 5
    widget.cleanup()
    assert slicer.mrmlScene.GetFirstNodeByName("SLSFGR checkerboard") is None
