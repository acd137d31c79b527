"""Count how often ``auto`` tells one patient from two people: ``python -m benchmarks.choice --output DIR``.

60 pairs of one patient and 64 of two people, in like and unlike contrasts: the patients' scans, whole heads, SRI24,
brains of OASIS and MALC (T1, and as a T2), and heads rendered by :mod:`benchmarks.head_rendering`, the second of each
pair turned. ``choices.csv`` has one line for each pair; a pair that is in it is not judged again.

The limit between one head and two people was first chosen on patients 01, 07 and 20, OASIS and the rendered maps 17 and
19; the pairs without these are counted apart. The present one was chosen on all pairs.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path

from .csv_tables import append, rows
from .data import BRAINS, DATA
from .head_rendering import CONTRASTS
from .whole_heads import HELD_OUT

COLUMNS = ("fixed", "moving", "is_one_head", "is_said_to_be", "is_held_out", "reason")
# Names that the first limit was chosen on.
CHOSEN_ON = ("patients/01", "patients/20", "patients/stripped_07", "oasis", "rendered/17", "rendered/19")
MALC = (1000, 1001, 1002, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1017, 1036)
LEANING = ((1017, 1002), (1002, 1017), (1017, 1013), (1013, 1017))
FIRST_PATIENT = [f"patients/01_{date}_{contrast}" for date in (1, 2) for contrast in ("T1W", "T2W", "FLAIR")]
PATIENTS = (
    FIRST_PATIENT,
    [f"patients/04_1_{contrast}" for contrast in ("T1W", "T2W", "FLAIR")],
    [f"patients/20_2_{contrast}" for contrast in ("T1W", "FLAIR")],
    [f"patients/stripped_07_{contrast}" for contrast in ("T1", "T1POST", "T2", "FLAIR")],
    [f"heads/patient_{contrast}" for contrast in ("t1", "t2", "epi")],
    [f"sri24/{contrast}" for contrast in ("spgr", "erly", "late")],
)
RENDERED = {number: [f"rendered/{number}-{contrast}" for contrast in CONTRASTS] for number in HELD_OUT}

Pair = tuple[str, str]


def one_patient() -> list[Pair]:
    """Return 60 pairs of scans of one patient."""
    scans = [*PATIENTS, *RENDERED.values()]
    pairs = [pair for patient in scans for pair in combinations(patient, 2)]
    return pairs + [(f"oasis/oasis_{letter}", f"t2/oasis_{letter}") for letter in "abcde"]


def two_people() -> list[Pair]:
    """Return 60 pairs of two people, and four more."""
    malc = [f"malc/{number}_t1" for number in MALC]
    t2 = [f"t2/oasis_{letter}" for letter in "abcde"]
    pairs = [*zip(malc, malc[1:] + malc[:1], strict=True), *zip(malc, t2, strict=False)]
    pairs += combinations([f"oasis/oasis_{letter}" for letter in "abcd"], 2)
    first, second = [scans[:3] for scans in PATIENTS[:2]]
    pairs += product(first, second)
    pairs += zip(PATIENTS[3], malc, strict=False)
    pairs += zip(first, ("heads/patient_t1", "heads/patient_t2", "heads/patient_epi"), strict=True)
    for one, other in (("17", "18"), ("18", "20"), ("20", "19")):
        pairs += zip(RENDERED[one], RENDERED[other], strict=True)
    pairs += [
        ("heads/patient_t1", "heads/icbm152_t1"),
        ("heads/patient_t2", "heads/stroke_t2"),
        ("patients/04_1_T1W", "heads/patient_epi"),
        ("rendered/18-t1", "heads/patient_t2"),
        ("rendered/20-flair", "patients/04_1_T2W"),
        ("sri24/late", "heads/stroke_t2"),
    ]
    # Of all pairs of these brains, the four that are most like one head in the rough pose (docs/methods/rigid.md).
    pairs += [(f"malc/{one}_t1", f"malc/{other}_t1") for one, other in LEANING]
    return pairs


def main() -> None:
    """Judge all pairs and count the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results; continued if it exists")
    parser.add_argument("--held-out", action="store_true", help="only the pairs that the first limit was not chosen on")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    table = given.output / "choices.csv"
    done = {(row["fixed"], row["moving"]) for row in rows(table)}
    for is_one_head, pairs in ((True, one_patient()), (False, two_people())):
        for fixed, moving in pairs:
            held_out = not any(name.startswith(CHOSEN_ON) for name in (fixed, moving))
            if (fixed, moving) in done or (given.held_out and not held_out):
                continue
            said, reason = judge(given.output / "images", fixed, moving)
            print(f"{'right' if said == is_one_head else 'WRONG'}  {fixed}  {moving}  {reason}", flush=True)
            append(table, COLUMNS, (fixed, moving, int(is_one_head), int(said), int(held_out), reason))
    print(summary(rows(table)))


def judge(images: Path, fixed: str, moving: str) -> tuple[bool, str]:
    """Return whether ``auto`` takes a pair for one head, and why."""
    from SLSFGRLib.registration.choice import choose

    found = choose(_subject(images, fixed), _subject(images, moving), "auto")
    return found.is_one_head, found.reason


# Pairs of the same images follow each other.
@lru_cache(maxsize=10)
def _subject(images: Path, name: str) -> object:
    import SLSFGRLib
    from SLSFGRLib.io.images import read_image

    return SLSFGRLib.load_subject(read_image(_path(images, name)))


def _path(images: Path, name: str) -> Path:
    """Return the image of a name; rendered heads and T2-like brains are made on first use."""
    from . import image_variants

    kind, _, rest = name.partition("/")
    path = images / kind / f"{rest}.nii.gz"
    if kind == "t2" and not path.exists():
        image_variants.write_t2_like(_path(images, f"oasis/{rest}"), path)
    elif kind == "rendered" and not path.exists():
        _render(rest, path)
    return path if kind in ("t2", "rendered") else {"malc": BRAINS}.get(kind, DATA / kind) / f"{rest}.nii.gz"


def _render(name: str, path: Path) -> None:
    """Write a rendered head; in all contrasts but T1 turned, so that no two have the same voxels."""
    from SLSFGRLib.io.images import read_labels

    from . import image_variants
    from .head_rendering import render

    number, contrast = name.split("-")
    numbers = read_labels(DATA / "brain_labels" / f"training_seg_{number}.nii.gz")
    image, labels = render(numbers, contrast, False, seed=int(number) * 10 + CONTRASTS.index(contrast))
    image_variants.write(image if contrast == "t1" else image_variants.turned(image, labels)[0], path)


def summary(pairs: list[dict[str, str]]) -> str:
    """Return how many pairs were told rightly, as a table in Markdown."""
    lines = ["| pairs | one patient | two people |", "|---|---|---|"]
    for words, counted in (
        ("all", pairs),
        ("that the first limit was not chosen on", [row for row in pairs if row["is_held_out"] == "1"]),
    ):
        cells = []
        for kind in ("1", "0"):
            told = [row["is_said_to_be"] == kind for row in counted if row["is_one_head"] == kind]
            cells.append(f"{sum(told)} of {len(told)} right")
        lines.append(f"| {words} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
