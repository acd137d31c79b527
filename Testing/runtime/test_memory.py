import os
import sys

import pytest

from SLSFGRLib.runtime import memory
from SLSFGRLib.runtime.memory import available_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads files of Linux")
def test_no_more_is_available_than_is_built_in():
    built_in = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_memory() <= built_in


@pytest.fixture
def meminfo(monkeypatch, tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       16000000 kB\nMemFree: 1000 kB\nMemAvailable:   5000000 kB\n")
    monkeypatch.setattr(memory, "PROC", path)
    monkeypatch.setattr(memory, "CONTROL_GROUPS", ((str(tmp_path / "limit"), str(tmp_path / "usage")),))
    return tmp_path


def test_what_caches_hold_is_available_too(meminfo):
    assert available_memory() == 5_000_000 * 1024


def test_limit_of_a_container_counts(meminfo):
    (meminfo / "limit").write_text("3000000000\n")
    (meminfo / "usage").write_text("1200000000\n")
    assert available_memory() == 1_800_000_000


def test_container_without_a_limit_has_what_the_machine_has(meminfo):
    (meminfo / "limit").write_text("max\n")
    (meminfo / "usage").write_text("1200000000\n")
    assert available_memory() == 5_000_000 * 1024
