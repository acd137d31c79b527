"""Fixtures of the tests of the Slicer extension. They import Slicer's core when they are used: it may be missing."""

import numpy as np
import pytest
from phantoms import TURN

# One column for each image axis, LPS.
DIRECTIONS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "oblique": TURN,
    "left-handed": TURN @ np.diag([-1.0, 1.0, 1.0]),
}


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """An empty scene; what the module writes goes into a folder of the test."""
    import slicer
    from stand_ins import slicer_module

    monkeypatch.setattr(slicer.app, "temporaryPath", str(tmp_path))
    monkeypatch.setattr(slicer.app, "settings", {})
    monkeypatch.setattr(slicer.app, "dialogs", [])
    return slicer_module.new_scene()


@pytest.fixture(params=DIRECTIONS.values(), ids=DIRECTIONS)
def pair(request, scene):
    """A fixed and a moving volume node of the same head, a known shift apart."""
    from known_shift import add_pair

    return add_pair(request.param)


@pytest.fixture
def axial_pair(scene):
    """As ``pair``, for axial slices only."""
    from known_shift import add_pair

    return add_pair(DIRECTIONS["axial"])


@pytest.fixture
def installer():
    """PyTorch, which is installed."""
    from panel import FakeInstaller

    return FakeInstaller()


@pytest.fixture
def widget(scene, installer):
    """The panel, open."""
    from panel import open_panel

    widget = open_panel(installer)
    yield widget
    widget.cleanup()
