"""The order of imports inside SLSFGRLib (docs/develop/architecture.md), read from the source."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

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
    ("errors", "modes", "version"),
)
FLOOR = {package: len(FLOORS) - number for number, packages in enumerate(FLOORS) for package in packages}
# Who alone may import these: what segments and registers needs nothing that only training does.
IMPORTERS = {"cli": {"__main__"}, "training": {"cli"}, "synthesis": {"training"}}


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
    """All pairs of modules of which the first imports the second; the library's own namespace stands above all."""
    return {(name, other) for name, others in imports().items() if name for other in others}


def package(module):
    return module.split(".")[0]


def test_every_package_has_its_floor():
    # Also that no module imports the library's own public names, which would be a circle.
    assert {package(name) for pair in arrows() for name in pair} <= FLOOR.keys()


def is_allowed(one, other):
    return one == other or (FLOOR[one] > FLOOR[other] and one in IMPORTERS.get(other, {one}))


def test_packages_import_only_what_the_order_allows():
    assert {(one, other) for one, other in arrows() if not is_allowed(package(one), package(other))} == set()


def test_imports_have_no_circles():
    TopologicalSorter({name: others - {name} for name, others in imports().items() if name}).prepare()


def test_tests_share_helpers_through_modules_of_their_own():
    tests = (LIBRARY.parent / "Testing").rglob("test_*.py")
    found = {path.name for path in tests if re.search(r"^(from|import) test_", path.read_text("utf-8"), re.MULTILINE)}
    assert found == set()


def test_few_files_lie_beside_the_packages():
    assert len([path for path in LIBRARY.iterdir() if path.is_file()]) <= 8


def test_slicers_own_process_needs_no_torch():
    packages = ("io", "jobs", "runtime")
    modules = {name for name in imports() if package(name) in packages} | {"spatial.grid", "evaluation.summary"}
    # These work with torch.
    modules -= {"runtime.devices", "runtime.parallel"}
    modules -= {"jobs.group_means", "jobs.group_steps", "jobs.group_template", "jobs.longitudinal"}
    lines = ["import sys; sys.modules['torch'] = None; import SLSFGRLib"]
    lines += [f"import SLSFGRLib.{name}" for name in sorted(modules)]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=LIBRARY.parent)
