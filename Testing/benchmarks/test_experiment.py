"""The runner of the benchmarks: what it measures, and how it continues an experiment that was stopped."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import empty_image, filled

from benchmarks.data import ROOT, Pair
from benchmarks.experiment import Experiment, Run, finished
from benchmarks.processes import RunError, isolated, timed
from benchmarks.systems import SYSTEMS, System, system

SHIFTING = """
import sys
import SimpleITK as sitk
fixed, moving, output, shift = sys.argv[1:]
sitk.WriteTransform(sitk.TranslationTransform(3, [float(shift), 0, 0]), f"{output}/transform.h5")
"""


@pytest.fixture
def pair(tmp_path):
    """Two cubes of 10 mm; the moving one lies 2 mm further along the first axis."""
    paths = {}
    for role, first in (("fixed", 8), ("moving", 10)):
        labels = np.zeros((24, 24, 24), np.uint8)
        labels[7:17, 7:17, first : first + 10] = 3
        image = filled(empty_image((24, 24, 24), (1.0, 1.0, 1.0)), labels)
        for name in (role, f"{role}_labels"):
            paths[name] = tmp_path / f"{name}.nii.gz"
            sitk.WriteImage(image, str(paths[name]))
    return Pair(**paths)


@pytest.fixture
def shifting(tmp_path):
    """Return a system that shifts the moving image by so many mm; it fails if that is no number."""
    script = tmp_path / "shifting.py"
    script.write_text(SHIFTING)
    return lambda shift: System(str(script), shift)


def printed_by(code):
    """Return what a new Python process prints."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout.decode()


def test_an_experiment_continues_where_it_stopped(pair, shifting, tmp_path, capsys):
    systems = {"right": shifting("2"), "failing": shifting("far")}
    experiment = Experiment(tmp_path / "output", {"a": pair}, systems, "benchmarks.score:registration")
    assert not experiment.do_missing()
    assert finished(tmp_path / "output" / "results.csv") == {Run(1, "a", "right")}
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("a  failing  failed: exit 1")
    assert "could not convert string to float" in Path(message.rpartition("see ")[2]).read_text()

    before = (tmp_path / "output" / "results.csv").read_text()
    systems["failing"] = shifting("0")
    assert experiment.do_missing()
    after = (tmp_path / "output" / "results.csv").read_text()
    assert after.startswith(before)
    figures = {tuple(line.split(",")[2:4]): float(line.split(",")[4]) for line in after.splitlines()[1:]}
    assert figures["right", "dice"] == figures["right", "dice/3"] == 1.0
    assert figures["right", "hd95_mm"] == figures["right", "folding_percent"] == 0.0
    assert figures["failing", "dice"] == pytest.approx(0.8)
    assert figures["failing", "hd95_mm"] == pytest.approx(2.0)
    assert 0.0 < figures["right", "cpu_seconds"] < 30.0 > figures["right", "seconds"] > 0.0


def test_systems_take_turns_case_by_case(tmp_path):
    experiment = Experiment(tmp_path, {"a": None, "b": None}, {"old": None, "new": None}, "", repeats=2)
    runs = [(run.repeat, run.case, run.system) for run in experiment.runs()]
    assert runs[:4] == [(1, "a", "old"), (1, "a", "new"), (1, "b", "old"), (1, "b", "new")]
    assert len(runs) == 8


def test_a_table_of_another_kind_is_refused(tmp_path):
    (tmp_path / "results.csv").write_text("contrast,repeat,system\n")
    with pytest.raises(SystemExit, match="other columns"):
        finished(tmp_path / "results.csv")


def test_another_checkout_runs_its_own_code(pair, tmp_path):
    library = tmp_path / "old-version" / "SLSFGRLib"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    (library / "__main__.py").write_text("import sys; print(__file__); print(*sys.argv[1:])")
    old = system(f"slsfgr-fast@{library.parent} --model m.pt")
    with (tmp_path / "log").open("w") as log:
        timed(old.command(pair, tmp_path), log, 1, old.environment)
    place, words = (tmp_path / "log").read_text().splitlines()
    assert place == str(library / "__main__.py")
    assert words.startswith(f"register {pair.fixed} {pair.moving} --output {tmp_path}")
    assert words.endswith("--quiet --mode fast --model m.pt")
    assert system("slsfgr-fast").environment == {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("gready", "no system 'gready'; use some of slsfgr, slsfgr-fast"),
        ("greedy@.", "after @ give, for a mode of SLSFGR"),
        ("slsfgr-fast@nowhere", "a folder that holds SLSFGRLib"),
    ],
)
def test_a_system_that_does_not_exist_is_refused(specification, message):
    with pytest.raises(SystemExit, match=message):
        system(specification)


@pytest.mark.parametrize("name", [name for name, listed in SYSTEMS.items() if listed.script])
def test_the_script_of_each_peer_exists(name, pair, tmp_path):
    python, script, *words = SYSTEMS[name].command(pair, tmp_path)
    assert python == sys.executable
    assert Path(script).is_file()
    assert words[:3] == [str(pair.fixed), str(pair.moving), str(tmp_path)]


def test_seconds_and_memory_of_a_command_are_its_own():
    # It sleeps for longer than even a busy machine takes to start it.
    child = "import time; a = b'x' * 300_000_000; time.sleep(3)"
    cost = eval(
        printed_by(
            "import sys; from benchmarks.processes import timed\n"
            f"print(timed([sys.executable, '-c', {child!r}], open('/dev/null', 'w'), 1))"
        )
    )
    assert cost["seconds"] > 3 > cost["cpu_seconds"] > 0
    assert cost["memory_gb"] == pytest.approx(0.31, abs=0.02)


@pytest.mark.parametrize("name", ["ten_pairs", "multimodal", "scaling", "segmentation", "ablation"])
def test_experiments_stay_small_themselves(name):
    # On exec, Linux passes the parent's peak memory on to the child.
    code = f"import benchmarks.{name}, sys\nprint({{'torch', 'SimpleITK', 'numpy', 'pandas'}} & set(sys.modules))"
    assert printed_by(code) == "set()\n"


def test_a_command_that_fails_is_reported_and_has_its_threads(tmp_path):
    with (tmp_path / "log").open("w") as log, pytest.raises(RunError, match="exit 2"):
        timed([sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS']); raise SystemExit(2)"], log, 2)
    assert (tmp_path / "log").read_text() == "2\n"


def test_a_function_runs_in_a_process_of_its_own():
    assert isolated("operator:add", 2, 3) == 5
    assert isolated("os:getpid") != isolated("os:getpid")
    with pytest.raises(RunError, match="operator:truediv: division by zero"):
        isolated("operator:truediv", 1, 0)
