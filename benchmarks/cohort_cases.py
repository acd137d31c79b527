"""Write a table of small cases for a batch: ``python -m benchmarks.cohort_cases FOLDER --cases 60 --spacing 4``.

They are made of the brains in shared/data at a low resolution.
"""

from __future__ import annotations

import argparse
import csv
from itertools import islice, product
from pathlib import Path

from .data import BRAINS
from .processes import isolated

CORRUPT, FULL_DISK = "corrupt", "full_disk"


def main() -> None:
    """Write the images and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--spacing", type=float, default=4.0, help="voxel size in mm")
    given = parser.parse_args()
    print(write_cases(given.folder, given.cases, given.spacing))


def write_cases(folder: Path, count: int, spacing: float) -> Path:
    """Write images, which are made on first use, and a table of ``count`` cases.

    One of the cases is called :data:`FULL_DISK`, and the image of another one, :data:`CORRUPT`, is cut in its middle.

    :param spacing: voxel size in mm.
    :returns: the table; the cases are ordered by their fixed image.
    """
    images = [_small_image(source, folder, spacing) for source in sorted(BRAINS.glob("*_t1.nii.gz"))]
    whole = images[0].read_bytes()
    corrupt = folder / f"{CORRUPT}.nii.gz"
    corrupt.write_bytes(whole[: len(whole) // 2])
    pairs = ((fixed, moving) for fixed, moving in product(images, images) if fixed != moving)
    rows = [(f"{_name(fixed)}-{_name(moving)}", fixed, moving) for fixed, moving in islice(pairs, count - 1)]
    rows[count // 4] = (FULL_DISK, *rows[count // 4][1:])
    rows.insert(2 * count // 3, (CORRUPT, images[1], corrupt))
    table = folder / "cases.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("name", "fixed", "moving"), *rows])
    return table


def _small_image(source: Path, folder: Path, spacing: float) -> Path:
    path = folder / f"{_name(source)}.nii.gz"
    if not path.exists():
        isolated("benchmarks.image_variants:write_resampled", source, path, spacing)
    return path


def _name(path: Path) -> str:
    return path.name.split("_")[0].split(".")[0]


if __name__ == "__main__":
    main()
