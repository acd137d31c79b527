"""Register the ten pairs of real brains and score them: ``python Testing/benchmarks/pairs.py``.

Each pair is one process of the command, timed from start to exit, with the peak of its memory. ``bench.py`` does
the same for our modes and the peers; this one is for trying options of ours.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from measuring import table_row, timed
from score import FIGURES, score

# The first of each pair is fixed.
PAIRS = (
    ("1000", "1001"),
    ("1002", "1006"),
    ("1007", "1008"),
    ("1009", "1010"),
    ("1011", "1012"),
    ("1013", "1014"),
    ("1015", "1017"),
    ("1036", "1000"),
    ("1001", "1002"),
    ("1006", "1007"),
)
BRAINS = Path(__file__).resolve().parents[3] / "shared" / "data" / "malc"


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brains", type=Path, default=BRAINS, help="folder with NNNN_t1 and NNNN_labels")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="only the first so many")
    parser.add_argument("--csv", type=Path, help="also write the figures to this file")
    parser.add_argument("options", nargs="*", help="passed on to slsfgr register, after --")
    arguments = parser.parse_args()
    if arguments.csv:
        arguments.csv.unlink(missing_ok=True)
    rows = []
    for fixed, moving in PAIRS[: arguments.pairs]:
        rows.append({"pair": f"{fixed}-{moving}"} | run_pair(arguments.brains, fixed, moving, arguments.options))
        print("  ".join(f"{name} {_shown(value)}" for name, value in rows[-1].items()), flush=True)
        if arguments.csv:
            table_row(arguments.csv, rows[-1])
    names = [name for name in rows[0] if name != "pair"]
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    print("mean  " + "  ".join(f"{name} {_shown(value)}" for name, value in mean.items()))


def run_pair(brains: Path, fixed: str, moving: str, options: list[str]) -> dict[str, float]:
    """Register one pair in a process of its own and score it."""
    with tempfile.TemporaryDirectory() as folder:
        images = [str(brains / f"{name}_t1.nii.gz") for name in (fixed, moving)]
        command = [sys.executable, "-m", "SLSFGRLib", "register", *images, "--output", folder, "--quiet", *options]
        cost = timed(command)
        found = score("itk", Path(folder), brains, fixed, moving)
    return {name: found[name] for name in FIGURES} | asdict(cost)


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}"


if __name__ == "__main__":
    main()
