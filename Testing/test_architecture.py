"""The order of imports inside SLSFGRLib (docs/develop/architecture.md), read from the source."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "SLSFGRLib"
# From top to bottom. A package imports only packages of lower floors, never one of its own floor.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("jobs", "training"),
    ("report",),  # below both: a batch writes the same files as the command
    ("registration",),
    ("segmentation",),
    ("models",),
    ("preprocessing",),
    ("networks", "synthesis"),
    ("losses", "evaluation", "io"),
    ("runtime", "spatial"),
    ("errors", "version"),
)
FLOOR = {package: len(FLOORS) - number for number, packages in enumerate(FLOORS) for package in packages}
# Imports against the order that are still to go: take a pair out once it is gone, and add none.
KNOWN = {
    ("jobs.batch", "cli.register"),
    ("models.model", "registration.deformable"),
    ("models.model", "registration.instance_optimisation"),
    ("models.model", "registration.schedules"),
    ("segmentation.intensity_model", "synthesis.tissue_contrasts"),
    ("training.monitoring.samples", "report.canvas"),
    ("training.monitoring.samples", "report.pictures"),
}


@cache
def imports():
    """Each module of the library with the modules of the library that it imports anywhere, also inside functions."""
    files = {}
    for path in LIBRARY.rglob("*.py"):
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: set(imported(path, files)) for name, path in files.items()}


def imported(path, modules):
    """Names of modules below SLSFGRLib that a file imports; ``""`` stands for SLSFGRLib itself."""
    folder = path.relative_to(LIBRARY).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*folder[: len(folder) - node.level + 1], *(node.module or "").split(".")]
            name = ".".join(part for part in base if part)
            # What is named is a module, or something in one.
            for alias in node.names:
                longer = f"{name}.{alias.name}".lstrip(".")
                yield longer if longer in modules else name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(name.split(".")[0] == "SLSFGRLib" for name in names), f"{path}: import relatively"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # The name of a module for import_module.
            package, _, name = node.value.partition(".")
            if package == "SLSFGRLib" and name and name in modules:
                yield name


def arrows():
    """All pairs of modules of which the first imports the second, but for those of the library's own namespace."""
    return {(name, other) for name, others in imports().items() if name for other in others}


def package(module):
    return module.split(".")[0]


def test_every_package_has_its_floor():
    assert {package(name) for name in imports() if name} <= FLOOR.keys()


def test_packages_import_only_packages_of_lower_floors():
    assert not {pair for pair in arrows() if not pair[1]}, "the library itself imports nothing from its public names"
    against = {
        (one, other)
        for one, other in arrows()
        if package(one) != package(other) and FLOOR[package(one)] <= FLOOR[package(other)]
    }
    assert against - KNOWN == set(), "new imports against the order"
    assert KNOWN - against == set(), "these are gone: take them out of KNOWN"


def test_imports_have_no_circles():
    TopologicalSorter({name: others - {name} for name, others in imports().items() if name}).prepare()


def test_only_the_program_imports_the_command_line():
    importers = {one for one, other in arrows() - KNOWN if package(other) == "cli" and package(one) != "cli"}
    assert importers == {"__main__"}


@pytest.mark.parametrize("forbidden", ["synthesis", "training"])
def test_segmentation_and_registration_need_nothing_of_training(forbidden):
    graph = {}
    for one, other in arrows() - KNOWN:
        graph.setdefault(one, set()).add(other)
    reached = {name for name in imports() if package(name) in ("segmentation", "registration")}
    while more := {other for name in reached for other in graph.get(name, ())} - reached:
        reached |= more
    assert {name for name in reached if package(name) == forbidden} == set()


def test_few_files_lie_beside_the_packages():
    assert len([path for path in LIBRARY.iterdir() if path.is_file()]) <= 8


def test_slicers_own_process_needs_no_torch():
    packages = ("io", "jobs", "runtime")
    modules = {name for name in imports() if package(name) in packages} | {"spatial.grid", "evaluation.summary"}
    # It asks torch for the devices.
    modules -= {"runtime.devices"}
    lines = ["import sys; sys.modules['torch'] = None; import SLSFGRLib"]
    lines += [f"import SLSFGRLib.{name}" for name in sorted(modules)]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=LIBRARY.parent)
