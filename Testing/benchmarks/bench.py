"""Run our modes and the peers on the same pairs and score all alike: ``python bench.py --output DIR``.

Each run is one process, timed from start to exit. Its figures go to ``DIR/results.csv`` at once; a run that stands
there is not done again, so the benchmark can be stopped and continued.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import RunError, table_row, timed
from pairs import BRAINS, PAIRS
from score import FIGURES, score
from summary import summarise
from systems import CONTRASTS, SAME, SYSTEMS, T2, chosen


@dataclass(frozen=True)
class Run:
    """One registration of the benchmark; its fields are the key of its row."""

    contrast: str
    repeat: int
    system: str
    pair: str


def main() -> None:
    """Do what has not been done yet, then write the table and the picture."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    names = chosen(arguments.systems, arguments.contrast)
    runs = list(planned(names, arguments.contrast, arguments.pairs, arguments.repeats))
    done = finished(arguments.output / "results.csv")
    failures = 0
    for number, run in enumerate(runs, 1):
        if run not in done:
            print(f"{number}/{len(runs)}  {run.system}  {run.pair}  repeat {run.repeat}", file=sys.stderr, flush=True)
            failures += not _attempt(run, arguments)
    print(summarise(arguments.output))
    raise SystemExit(1 if failures else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the results; continued if it exists")
    parser.add_argument("--brains", type=Path, default=BRAINS, help="folder with NNNN_t1 and NNNN_labels")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="only the first so many")
    parser.add_argument("--repeats", type=int, default=1, help="how often everything is run")
    parser.add_argument("--systems", help=f"comma-separated, of {', '.join(SYSTEMS)}")
    parser.add_argument("--contrast", choices=CONTRASTS, default=SAME, help="t2: the moving image looks like a T2")
    parser.add_argument("--threads", type=int, default=2, help="for each process")
    return parser.parse_args()


def planned(systems: list[str], contrast: str, pairs: int, repeats: int) -> Iterator[Run]:
    """All runs, pair by pair, so that what is there after a while covers all systems alike."""
    for repeat in range(1, repeats + 1):
        for fixed, moving in PAIRS[:pairs]:
            for system in systems:
                yield Run(contrast, repeat, system, f"{fixed}-{moving}")


def finished(path: Path) -> set[Run]:
    """The runs whose figures stand in a table already."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as stream:
        return {Run(row["contrast"], int(row["repeat"]), row["system"], row["pair"]) for row in csv.DictReader(stream)}


def _attempt(run: Run, arguments: argparse.Namespace) -> bool:
    """Carry out a run and record it; False if it failed, which its log explains."""
    log = arguments.output / "logs" / f"{run.contrast}-{run.repeat}-{run.system}-{run.pair}.log"
    log.parent.mkdir(exist_ok=True)
    try:
        _record(run, arguments, log)
    except (RunError, subprocess.CalledProcessError) as error:
        print(f"failed: {error}; see {log}", file=sys.stderr, flush=True)
        return False
    return True


def _record(run: Run, arguments: argparse.Namespace, log: Path) -> None:
    """Register, score, and append the row of each table."""
    system = SYSTEMS[run.system]
    fixed, moving = run.pair.split("-")
    images = arguments.brains / f"{fixed}_t1.nii.gz", _moving_image(arguments, moving)
    with tempfile.TemporaryDirectory() as folder:
        with log.open("w") as stream:
            cost = timed(system.command(*images, Path(folder)), arguments.threads, stream)
        found = score(system.result, Path(folder), arguments.brains, fixed, moving)
    # The row in results.csv comes last: it says that the run is complete.
    for label, dice in found["labels"].items():
        table_row(arguments.output / "labels.csv", asdict(run) | {"label": label, "dice": f"{dice:.5f}"})
    figures = {name: found[name] for name in FIGURES} | asdict(cost)
    table_row(arguments.output / "results.csv", asdict(run) | {name: f"{value:.5f}" for name, value in figures.items()})


def _moving_image(arguments: argparse.Namespace, name: str) -> Path:
    """The moving image in the contrast that is asked for, made on first use."""
    image = arguments.brains / f"{name}_t1.nii.gz"
    if arguments.contrast != T2:
        return image
    path = arguments.output / "t2" / f"{name}_t2.nii.gz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        script = Path(__file__).parent / "recontrast.py"
        subprocess.run([sys.executable, str(script), str(image), str(path)], check=True)
    return path


if __name__ == "__main__":
    main()
