"""Tables and pictures of the benchmarks."""

import pytest
import SimpleITK as sitk

from benchmarks.experiment import Run, append
from benchmarks.picture import draw, means_on_common_cases
from benchmarks.tables import cases, means, parts, read, write_tables


@pytest.fixture
def results(tmp_path):
    """Return the results that hold Dice, and other figures, by repeat, case and system."""

    def of(dice, **others):
        for key, value in dice.items():
            append(tmp_path / "results.csv", Run(*key), {"dice": value} | others)
        return read(tmp_path)

    return of


def test_means_and_spreads_are_over_cases_and_over_repeats(results):
    results({(1, "a", "greedy"): 0.60, (2, "a", "greedy"): 0.62, (1, "b", "greedy"): 0.70, (2, "b", "greedy"): 0.72})
    table = means(results({(1, "a", "affine"): 0.5}, seconds=4.0))
    assert list(table.index) == ["greedy", "affine"]
    # Cases: 0.61 and 0.71; repeats: 0.65 and 0.67.
    assert list(table.loc["greedy"]) == ["0.6600 ± 0.0707", "", "± 0.0141", 2]
    assert list(table.loc["affine"]) == ["0.5000", "4.0", "once", 1]
    assert list(table.columns) == ["Dice", "seconds", "repeats", "cases"]


def test_each_group_of_cases_has_its_tables(results, tmp_path):
    results({(1, "1000", "greedy"): 0.5, (1, "t2/1000", "greedy"): 0.25}, **{"dice/17": 0.75})
    text = write_tables(tmp_path)
    assert "t2\n\n" in text
    assert [line.split()[3] for line in text.splitlines() if "greedy" in line] == ["0.5000", "0.2500"]
    whole = (tmp_path / "tables.md").read_text()
    assert whole.startswith(text)
    assert "| 1000   | greedy   | 0.5000 |" in whole
    assert "| dice/17  | 0.7500   |" in whole


def test_figures_of_each_case_and_parts_of_each_figure(results):
    found = results({(1, "a", "old"): 0.5, (1, "a", "new"): 0.6}, **{"seconds/Deforming": 1.25, "dice/left": 0.75})
    assert cases(found).to_dict("list") == {
        "system": ["old", "new"],
        "Dice": ["0.5000", "0.6000"],
        "Deforming": ["1.2"] * 2,
    }
    assert parts(found).loc["dice/left"].to_dict() == {"old": "0.7500", "new": "0.7500"}


def test_a_picture_compares_systems_on_the_cases_that_all_have_done(results, tmp_path):
    results({(1, case, "greedy"): 0.1 * number for number, case in enumerate("abc")}, seconds=10.0)
    found = results({(1, case, "slsfgr-fast"): 0.2 * number for number, case in enumerate("bcd")}, seconds=5.0)
    points, count = means_on_common_cases(found)
    assert count == 2
    assert points["dice"].to_dict() == pytest.approx({"greedy": 0.15, "slsfgr-fast": 0.1})
    assert points["seconds"].to_dict() == {"greedy": 10.0, "slsfgr-fast": 5.0}
    draw(found, tmp_path / "picture.png")
    assert sitk.ReadImage(str(tmp_path / "picture.png")).GetSize()[0] > 1000
