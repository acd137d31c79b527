"""Brains and results that several golden tests look at; each is made once."""

import pytest

from SLSFGRLib import register
from SLSFGRLib.cli.demo_pair import make_pair


@pytest.fixture(autouse=True)
def without_bundled_weights():
    """Override the fixture of this name in Testing/conftest.py: golden tests run the bundled network."""


@pytest.fixture(scope="session")
def pair():
    """The MNI152 template at 1 mm with its tissues, and the same brain deformed in a known way, with a T2 contrast."""
    return make_pair()


@pytest.fixture(scope="session")
def registered(pair):
    """The pair, deformed, with all other defaults."""
    return register(pair.fixed, pair.moving, transform="deformable")
