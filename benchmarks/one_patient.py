"""Compare our result on scans of one patient with public rigid programs: ``python -m benchmarks.one_patient``.

By default all 19 pairs of the patients 01, 04 and 20. The true transform is not known; the figures are distances in the
brain from the results of ANTs and greedy, which are computed first, their mean where these agree to 1 mm, and their
distance from each other.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from .data import DATA, PatientPair
from .experiment import arguments, run
from .processes import isolated

PATIENTS = ("01", "04", "20")
REFERENCES = {"ants": "ants-rigid", "greedy": "greedy-rigid"}


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, "slsfgr")
    parser.set_defaults(systems=["slsfgr"])
    parser.add_argument(
        "--patients",
        default=",".join(PATIENTS),
        help="numbers, separated by commas, or 'heads', whose scans are not those of ``patients``",
    )
    given = parser.parse_args()
    cases = {}
    for first, second in _pairs(given.patients.split(",")):
        name = f"{_stem(first)}-{_stem(second)}"
        brain = given.output / "brains" / first.name
        isolated("benchmarks.score:write_brain", first, brain)
        pair = PatientPair(first, second, given.output / "references" / name, brain)
        for folder, system in REFERENCES.items():
            isolated("benchmarks.score:write_reference", pair, system, pair.references / folder)
        cases[name] = pair
    run(given, cases, "benchmarks.score:one_patient")


def _pairs(patients: list[str]) -> list[tuple[Path, Path]]:
    pairs = []
    for number in patients:
        if number == "heads":
            heads = [DATA / "heads" / f"patient_{contrast}.nii.gz" for contrast in ("t1", "t2", "epi")]
            pairs += [(heads[0], other) for other in heads[1:]]
        else:
            pairs += combinations(sorted((DATA / "patients").glob(f"{number}_*.nii.gz")), 2)
    return pairs


def _stem(path: Path) -> str:
    return path.name.removesuffix(".nii.gz")


if __name__ == "__main__":
    main()
