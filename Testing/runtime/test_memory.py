import os
import sys

import pytest
import torch

from SLSFGRLib.runtime import memory
from SLSFGRLib.runtime.memory import available_memory, is_out_of_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads files of Linux")
def test_no_more_memory_is_available_than_is_built_in():
    built_in = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_memory() <= built_in


@pytest.fixture
def meminfo(monkeypatch, tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       16000000 kB\nMemFree: 1000 kB\nMemAvailable:   5000000 kB\n")
    monkeypatch.setattr(memory, "PROC", path)
    monkeypatch.setattr(memory, "CONTROL_GROUPS", ((str(tmp_path / "limit"), str(tmp_path / "usage")),))
    return tmp_path


def test_memory_of_caches_is_available(meminfo):
    assert available_memory() == 5_000_000 * 1024


@pytest.mark.parametrize(
    ("limit", "usage", "available"),
    [("3000000000", "1200000000", 1_800_000_000), ("3000000000", "3200000000", 0), ("max", "12", 5_000_000 * 1024)],
)
def test_limit_of_a_container_is_kept(meminfo, limit, usage, available):
    (meminfo / "limit").write_text(f"{limit}\n")
    (meminfo / "usage").write_text(f"{usage}\n")
    assert available_memory() == available


VM_STAT = """\
Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            500000.
Pages inactive:                          200000.
Pages speculative:                         3000.
Pages throttled:                              0.
Pages wired down:                        150000.
Pages purgeable:                           4000.
"Translation faults":                  12345678.
Pages copy-on-write:                     999999.
File-backed pages:                       777777.
"""


def test_on_macos_free_and_purgeable_memory_is_available(monkeypatch, tmp_path):
    command = tmp_path / "vm_stat"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{VM_STAT}END\n")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(memory, "PROC", tmp_path / "absent")
    monkeypatch.setattr(memory, "VM_STAT", command)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert available_memory() == 16384 * (10000 + 200000 + 3000 + 4000)


def test_memory_is_unknown_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "freebsd")
    monkeypatch.setattr(memory, "PROC", tmp_path / "absent")
    monkeypatch.setattr(memory, "VM_STAT", tmp_path / "absent")
    assert available_memory() is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000000000 bytes."),
        RuntimeError("Exception thrown in SimpleITK: itk::ERROR: Failed to allocate memory for image."),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
    ids=["Python", "torch", "torch on Windows", "ITK", "C++", "CUDA"],
)
def test_exhausted_memory_is_recognised(error):
    assert is_out_of_memory(error)


def test_error_that_torch_itself_raises_is_recognised():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("Exception thrown in SimpleITK: Inputs do not occupy the same physical space!"),
        ValueError("out of memory"),
        KeyError("memory"),
    ],
)
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)
