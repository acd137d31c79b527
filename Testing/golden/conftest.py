"""Brains and results that several golden tests look at; each is made once."""

import subprocess
import sys

import pytest

from golden.results import read_results


@pytest.fixture(autouse=True)
def without_bundled_weights():
    """Override the fixture of this name in Testing/conftest.py: golden tests run the bundled network."""


@pytest.fixture(scope="session")
def pair(demo_pair):
    return demo_pair


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory):
    """What ``slsfgr demo`` writes, and in ``printed.txt`` what it prints."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "SLSFGRLib", "demo", "--output", folder, "--quiet"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    (folder / "printed.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="session")
def registered(demo_folder):
    """The pair, deformed by ``slsfgr demo``, with all other defaults."""
    return read_results(demo_folder)
