"""The documentation: its examples run, its links lead somewhere, its figures are those that were measured."""

import csv
import doctest
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("*.md"), *REPOSITORY.glob("Resources/Models/*.md")])
IDS = [str(page.relative_to(REPOSITORY)) for page in PAGES]
# The folders whose files the pages name; file names elsewhere are the user's own.
OWN_FOLDERS = ("SLSFGR", "SLSFGRLib", "Resources", "Testing", "benchmarks", "tools", "docs")
# How the tables name the systems of docs/data/ten_pairs.csv.
SYSTEMS = {
    "**SLSFGR** `fast`": "slsfgr-fast",
    "**SLSFGR** `standard`": "slsfgr-standard",
    "**SLSFGR** `accurate`": "slsfgr-accurate",
    "greedy, NCC, smoothing 2 / 0.5": "greedy-2-05",
    "ANTs SyN, ANTsPy's default": "ants-syn",
}


# Its figures, and their last digit.
DIGITS = {"dice": 1e-4, "hd95_mm": 0.01, "seconds": 1.0, "peak_gb": 0.01}


def blocks(page, language):
    """The code blocks of a page in one language, each with its line number."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)


def anchors(page):
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_examples_run(page):
    names, runner, parser = {}, doctest.DocTestRunner(), doctest.DocTestParser()
    for line, code in blocks(page, "python"):
        if ">>>" in code:
            example = parser.get_doctest(code, names, page.name, str(page), line)
            assert runner.run(example, clear_globs=False).failed == 0
            names.update(example.globs)
        else:
            compile(code, str(page), "exec")


def test_page_on_coordinates_has_examples():
    assert sum(code.count(">>>") for _, code in blocks(REPOSITORY / "docs/develop/coordinates.md", "python")) > 30


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_of_the_repository_that_a_page_names_exist(page):
    pattern = rf"(?<![\w/.-])(?:{'|'.join(OWN_FOLDERS)})/[\w./-]*\w"
    named = re.findall(pattern, page.read_text(encoding="utf-8"))
    missing = [name for name in named if not (REPOSITORY / name).exists()]
    assert missing == []


def test_every_test_that_the_audit_of_the_slicer_module_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs/develop/slicer-audit.md").read_text(encoding="utf-8")))
    code = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "Testing").rglob("test_*.py"))
    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))


def test_page_on_the_architecture_names_every_package():
    text = (REPOSITORY / "docs/develop/architecture.md").read_text(encoding="utf-8")
    table = text.partition("| package | what it holds |")[2].partition("\n\n")[0]
    packages = {path.parent.name for path in REPOSITORY.glob("SLSFGRLib/*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == packages


def means():
    """The mean figures of each system over the ten pairs."""
    rows = defaultdict(list)
    with open(REPOSITORY / "docs/data/ten_pairs.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["system"]].append(row)
    assert {len(of_system) for of_system in rows.values()} == {10}
    return {name: {key: fmean(float(row[key]) for row in of) for key in DIGITS} for name, of in rows.items()}


@pytest.mark.parametrize(
    ("page", "section", "columns"),
    [
        ("README.md", "## How good, how fast", {"dice": 1, "hd95_mm": 2, "seconds": 4, "peak_gb": 5}),
        ("docs/benchmarks.md", "## Ten pairs, one contrast", {"dice": 1, "hd95_mm": 2, "seconds": 5, "peak_gb": 6}),
    ],
)
def test_tables_show_what_was_measured(page, section, columns):
    text = (REPOSITORY / page).read_text(encoding="utf-8").partition(f"{section}\n")[2].partition("\n## ")[0]
    found = {}
    for line in text.partition("\n###")[0].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] in SYSTEMS:
            found[SYSTEMS[cells[0]]] = cells
    assert found.keys() == means().keys()
    for system, measured in means().items():
        for figure, column in columns.items():
            shown = re.search(r"[\d.]+", found[system][column].replace("*", "")).group()
            # Each run in the file is rounded, and so is the mean in the table.
            digit = 10.0 ** -len(shown.partition(".")[2])
            assert float(shown) == pytest.approx(measured[figure], abs=0.5 * (digit + DIGITS[figure]) + 1e-9)
