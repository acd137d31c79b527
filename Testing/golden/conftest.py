"""Brains and results that several golden tests look at; each is made once."""

import pytest

from SLSFGRLib import register


@pytest.fixture(autouse=True)
def without_bundled_weights():
    """Override the fixture of this name in Testing/conftest.py: golden tests run the bundled network."""


@pytest.fixture(scope="session")
def pair(demo_pair):
    return demo_pair


@pytest.fixture(scope="session")
def registered(pair):
    """The pair, deformed, with all other defaults."""
    return register(pair.fixed, pair.moving, transform="deformable")
