"""Register the ten pairs of real brains and score them: ``python Testing/benchmarks/pairs.py``.

Each pair is one process of the command, timed from start to exit, with the peak of its memory.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import SimpleITK as sitk

from SLSFGRLib.evaluation import evaluate

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
FIGURES = ("dice", "surface_distance_95_mm", "folding_percent", "log_jacobian_deviation", "seconds", "memory_gb")


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brains", type=Path, default=BRAINS, help="folder with NNNN_t1 and NNNN_labels")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="only the first so many")
    parser.add_argument("--csv", type=Path, help="also write the figures to this file")
    parser.add_argument("options", nargs="*", help="passed on to slsfgr register, after --")
    arguments = parser.parse_args()
    rows = []
    for fixed, moving in PAIRS[: arguments.pairs]:
        rows.append({"pair": f"{fixed}-{moving}"} | run_pair(arguments.brains, fixed, moving, arguments.options))
        print("  ".join(f"{name} {_shown(value)}" for name, value in rows[-1].items()), flush=True)
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in FIGURES}
    print("mean  " + "  ".join(f"{name} {_shown(value)}" for name, value in mean.items()))
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def run_pair(brains: Path, fixed: str, moving: str, options: list[str]) -> dict[str, float]:
    """Register one pair in a process of its own and score it."""
    with tempfile.TemporaryDirectory() as folder:
        images = [str(brains / f"{name}_t1.nii.gz") for name in (fixed, moving)]
        command = [sys.executable, "-m", "SLSFGRLib", "register", *images, "--output", folder, "--quiet", *options]
        seconds, memory = timed(command)
        labels = [sitk.ReadImage(str(brains / f"{name}_labels.nii.gz")) for name in (fixed, moving)]
        found = evaluate(*labels, sitk.ReadTransform(str(Path(folder) / "transform.h5")))
    figures = (
        found.mean_dice,
        found.mean_surface_distance_95,
        found.folding_percent,
        found.log_jacobian_deviation,
        seconds,
        memory,
    )
    return dict(zip(FIGURES, figures, strict=True))


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds from start to exit of a process, and the peak of its memory in GB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}"


if __name__ == "__main__":
    main()
