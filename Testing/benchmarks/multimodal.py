"""Register pairs of unlike contrasts with our systems and ANTs, and score all alike.

``python Testing/benchmarks/multimodal.py --output DIR [--model MODEL.pt] [--lncc-model OTHER.pt] [--sets malc]``

Each run is one process, timed from start to exit. Its figures go to ``DIR/results.csv`` at once; a run that stands
there is not done again, so the benchmark can be stopped and continued. At the end it prints a table for each set of
pairs (see ``multimodal_pairs.py``). ANTs takes part where ANTsPy is installed, as ``make bench`` does it.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from measuring import RunError, table_row, timed
from systems import SYSTEMS, System

HERE = Path(__file__).parent
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("heldout", "sri24", "malc")
FIGURES = {
    "dice": "Dice",
    "error_mm": "error, mm",
    "surface_distance_95_mm": "HD95, mm",
    "folding_percent": "folding, %",
}


def main() -> None:
    """Do what has not been done yet, then print the tables."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    systems = compared(arguments.model, arguments.lncc_model)
    results = arguments.output / "results.csv"
    done = {(row["pair"], row["system"]) for row in _rows(results)}
    for name in arguments.sets.split(","):
        for pair in _pairs(name, arguments)[: arguments.pairs]:
            for title, system in systems.items():
                key = f"{name}/{pair.name}", title
                if key not in done:
                    print(*key, file=sys.stderr, flush=True)
                    _run(system, pair, key, arguments)
    print(tables(_rows(results)))


def compared(model: str, lncc_model: str | None) -> dict[str, System]:
    """The systems by title, each with how its result is read."""
    found = {
        "affine": System("affine", None, ("--mode", "fast"), "affine"),
        "SLSFGR fast": SYSTEMS["slsfgr-fast"],
        "SLSFGR standard": SYSTEMS["slsfgr-standard"],
    }
    # "fast" is the network alone; "standard" goes on by the intensities.
    networks = {"Hu et al. fast": model, "Hu et al. standard": model, "LNCC-driven fast": lncc_model}
    for title, path in networks.items():
        if path:
            found[title] = System(title, None, ("--mode", title.split()[-1], "--model", path), "itk")
    if find_spec("ants"):
        # Its SyN compares by Mattes' mutual information.
        found["ANTs SyN, MI"] = SYSTEMS["ants-syn"]
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for pairs and results; continued if it exists"
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with brain_labels, sri24 and malc")
    parser.add_argument(
        "--model",
        default="multimodal",
        help="model file of Resources/Recipes/weakly_supervised.toml (default: it ships)",
    )
    parser.add_argument("--lncc-model", help="model file of Testing/benchmarks/lncc_driven.toml")
    parser.add_argument("--sets", default=",".join(SETS), help=f"comma-separated, of {', '.join(SETS)}")
    parser.add_argument("--pairs", type=int, help="only the first so many of each set")
    parser.add_argument("--threads", type=int, default=2, help="for each process")
    return parser.parse_args()


def _pairs(name: str, arguments: argparse.Namespace) -> list[Path]:
    """The folders of a set's pairs, made by a process of its own so that this one stays small."""
    command = [
        sys.executable,
        str(HERE / "multimodal_pairs.py"),
        name,
        str(arguments.data),
        str(arguments.output / "pairs"),
    ]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [Path(line) for line in printed.splitlines()]


def _run(system: System, pair: Path, key: tuple[str, str], arguments: argparse.Namespace) -> None:
    """Register, score, and append the row."""
    log = arguments.output / "logs" / ("-".join(key).replace("/", "-").replace(" ", "-") + ".log")
    log.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with log.open("w") as stream:
                images = pair / "fixed.nii.gz", pair / "moving.nii.gz"
                cost = timed(system.command(*images, Path(folder)), arguments.threads, stream)
            command = [sys.executable, str(HERE / "multimodal_score.py"), system.result, folder, str(pair)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        except (RunError, subprocess.CalledProcessError) as error:
            print(f"failed: {error}; see {log}", file=sys.stderr, flush=True)
            return
    figures = {name: "" if found[name] is None else f"{found[name]:.5f}" for name in FIGURES}
    row = {"pair": key[0], "system": key[1]} | figures | {"seconds": f"{cost.seconds:.1f}"}
    for label, dice in found["labels"].items():
        labelled = {"pair": key[0], "system": key[1], "label": label, "dice": f"{dice:.5f}"}
        table_row(arguments.output / "labels.csv", labelled)
    table_row(arguments.output / "results.csv", row)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def tables(rows: list[dict[str, str]]) -> str:
    """A Markdown table for each set of pairs: the means over the pairs that a system has been run on."""
    columns = FIGURES | {"seconds": "seconds"}
    lines: list[str] = []
    for name in dict.fromkeys(row["pair"].split("/")[0] for row in rows):
        lines += ["", f"**{name}**", "", "| system | pairs | " + " | ".join(columns.values()) + " |"]
        lines.append("|---" * (len(columns) + 2) + "|")
        inside = [row for row in rows if row["pair"].split("/")[0] == name]
        for system in dict.fromkeys(row["system"] for row in inside):
            own = [row for row in inside if row["system"] == system]
            means = [_mean([row[column] for row in own]) for column in columns]
            lines.append(f"| {system} | {len(own)} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def _mean(cells: list[str]) -> str:
    return f"{fmean(map(float, cells)):.3f}" if all(cells) else ""


if __name__ == "__main__":
    main()
