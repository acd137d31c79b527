"""Fixtures that many tests share."""

from pathlib import Path

import pytest
from fake_models import random_model
from phantoms import head_image

from SLSFGRLib.cli.demo_pair import make_pair

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder with real brains."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"there are no real brains at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def head():
    """The synthetic head at 2 mm and its label map."""
    return head_image()


@pytest.fixture(scope="session")
def demo_pair():
    """The MNI152 template at 1 mm with its tissues, and the same brain deformed in a known way, with a T2 contrast."""
    return make_pair()


@pytest.fixture(autouse=True)
def without_bundled_weights(monkeypatch):
    """Registrations in tests do not segment, which takes seconds, unless a test asks for it.

    Phantoms are no brains, and none is looked for in them.
    """
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: False)
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.brain_extraction_model", lambda: None)
    monkeypatch.setattr("SLSFGRLib.segmentation.pipeline.brain_network", lambda device: None)


@pytest.fixture
def model_file(tmp_path):
    """The file of a model with random weights."""
    path = tmp_path / "model.pt"
    random_model().save(path)
    return path
