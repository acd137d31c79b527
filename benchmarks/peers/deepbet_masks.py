"""Masks of real T1 heads by deepbet (``pip install deepbet``): ``python -m benchmarks.peers.deepbet_masks FOLDER``."""

import sys
from pathlib import Path

from deepbet import run_bet

from ..data import DATA

T1_HEADS = ("heads/patient_t1", "heads/icbm152_t1", "patients/01_1_T1W", "patients/04_1_T1W", "patients/20_2_T1W")


def main() -> None:
    """Write a mask of each head."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    files = [DATA / f"{head}.nii.gz" for head in T1_HEADS]
    run_bet([str(file) for file in files], mask_paths=[str(folder / file.name) for file in files], no_gpu=True)


if __name__ == "__main__":
    main()
