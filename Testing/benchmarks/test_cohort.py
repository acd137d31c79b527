"""The check of batches: its cases, and how much of the workers' time was work."""

import csv
import gzip
from pathlib import Path

import pytest
import SimpleITK as sitk

from benchmarks import cohort_cases
from benchmarks.cohort import idle_share


def test_cases_are_distinct_pairs_with_one_corrupt_image_and_one_name_for_the_full_disk(tmp_path, monkeypatch):
    brains = tmp_path / "brains"
    brains.mkdir()
    for name in range(5):
        sitk.WriteImage(sitk.GaussianSource(size=[12] * 3, mean=[6.0] * 3), str(brains / f"{name}_t1.nii.gz"))
    monkeypatch.setattr(cohort_cases, "BRAINS", brains)
    monkeypatch.setattr(cohort_cases, "_small_image", lambda source, folder, spacing: source)
    with cohort_cases.write_cases(tmp_path, 20, 4.0).open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len({row["name"] for row in rows}) == len({(row["fixed"], row["moving"]) for row in rows}) == 20
    assert [row["name"] for row in rows].index(cohort_cases.FULL_DISK) == 5
    (corrupt,) = [row["moving"] for row in rows if row["name"] == cohort_cases.CORRUPT]
    with pytest.raises(EOFError):
        gzip.decompress(Path(corrupt).read_bytes())


def test_idle_time_ends_when_the_last_case_begins():
    # Two workers from 10 to 20: one works for 9 s of it, the other one for 5 s, and 2 s on a case that failed.
    times = [(10.0, 15.0), (16.0, 20.0), (10.0, 15.0), (20.0, 27.0)]
    assert idle_share(times, 2.0, 2) == pytest.approx(1.0 - 16.0 / 20.0)
