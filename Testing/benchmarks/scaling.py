"""Seconds and memory at several resolutions: ``python scaling.py --output DIR``.

Resamples one pair to each spacing, registers it with each of our modes, and writes ``DIR/scaling.csv`` (one line for
each stage) and a table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Cost, table_row, timed
from pairs import BRAINS, PAIRS

SPACINGS = (2.0, 1.0, 0.7)
MODES = ("fast", "standard", "accurate")


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--brains", type=Path, default=BRAINS, help="folder with NNNN_t1")
    parser.add_argument("--spacings", type=float, nargs="+", default=SPACINGS, help="in mm")
    parser.add_argument("--modes", nargs="+", default=MODES)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "scaling.csv").unlink(missing_ok=True)
    rows = []
    for spacing in arguments.spacings:
        images = [_resampled(arguments, name, spacing) for name in PAIRS[0]]
        for mode in arguments.modes:
            cost, report = _registered(images, mode, arguments.threads)
            rows += stage_rows(mode, spacing, cost, report)
            for row in rows[-len(report["seconds"]["stages"]) - 1 :]:
                table_row(arguments.output / "scaling.csv", row)
    text = markdown_table(rows)
    (arguments.output / "scaling.md").write_text(text, encoding="utf-8")
    print(text)


def _resampled(arguments: argparse.Namespace, name: str, spacing: float) -> Path:
    """An image at another spacing, made in a process of its own to keep this one small."""
    path = arguments.output / f"{name}_{spacing:g}mm.nii.gz"
    if not path.exists():
        source = arguments.brains / f"{name}_t1.nii.gz"
        script = Path(__file__).parent / "resampling.py"
        subprocess.run([sys.executable, str(script), str(source), str(path), str(spacing)], check=True)
    return path


def _registered(images: list[Path], mode: str, threads: int) -> tuple[Cost, dict]:
    with tempfile.TemporaryDirectory() as folder:
        words = ["register", *map(str, images), "--output", folder, "--mode", mode, "--quiet"]
        cost = timed([sys.executable, "-m", "SLSFGRLib", *words], threads)
        return cost, json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))


def stage_rows(mode: str, spacing: float, cost: Cost, report: dict) -> list[dict[str, object]]:
    """One row for each stage of the report, and one for the whole process."""
    stages = report["seconds"]["stages"] | {"process": cost.seconds}
    start = {"mode": mode, "spacing_mm": spacing}
    return [
        start | {"stage": stage, "seconds": round(seconds, 3), "memory_gb": round(cost.memory_gb, 3)}
        for stage, seconds in stages.items()
    ]


def markdown_table(rows: list[dict[str, object]]) -> str:
    """One line for each mode and spacing: seconds and memory of the process, then seconds by stage."""
    stages = list(dict.fromkeys(row["stage"] for row in rows if row["stage"] != "process"))
    lines = ["| mode | mm | seconds | peak GB | " + " | ".join(stages) + " |", "|---" * (4 + len(stages)) + "|"]
    for mode, spacing in dict.fromkeys((row["mode"], row["spacing_mm"]) for row in rows):
        found = {row["stage"]: row for row in rows if (row["mode"], row["spacing_mm"]) == (mode, spacing)}
        whole = found["process"]
        parts = [f"{found[stage]['seconds']:.1f}" if stage in found else "" for stage in stages]
        cells = [mode, f"{spacing:g}", f"{whole['seconds']:.1f}", f"{whole['memory_gb']:.2f}", *parts]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
