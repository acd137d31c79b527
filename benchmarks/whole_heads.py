"""Segment and register rendered heads, whole and skull-stripped: ``python -m benchmarks.whole_heads --output DIR``.

The heads are those of four label maps that no training has used, rendered by :mod:`benchmarks.head_rendering`.
``--task register`` registers each to the next: T1 to T1, T2, FLAIR and PD.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from .data import DATA, Brain, Pair
from .experiment import arguments, run
from .head_rendering import CONTRASTS
from .processes import isolated

HELD_OUT = ("17", "18", "19", "20")
WHOLE, STRIPPED = "whole", "stripped"


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, "slsfgr")
    parser.add_argument("--task", choices=("segment", "register"), default="segment")
    parser.add_argument("--maps", type=lambda text: text.split(","), default=HELD_OUT, help="numbers of label maps")
    parser.add_argument("--states", type=lambda text: text.split(","), default=(STRIPPED, WHOLE), help="which heads")
    parser.add_argument("--contrasts", type=lambda text: text.split(","), default=CONTRASTS, help="of the fixed heads")
    given = parser.parse_args()
    heads = given.output / "heads"
    if given.task == "segment":
        cases = {
            f"{state}-{contrast}/{number}": rendered_head(heads, number, contrast, state)
            for number, contrast, state in product(given.maps, given.contrasts, given.states)
        }
        run(given, cases, "benchmarks.score:rendered_segmentation")
    cases = {}
    for number, contrast, state in product(given.maps, given.contrasts, given.states):
        other = HELD_OUT[(HELD_OUT.index(number) + 1) % len(HELD_OUT)]
        fixed, moving = rendered_head(heads, number, contrast, state), rendered_head(heads, other, "t1", state)
        name = f"{state}-{contrast}/{number}"
        cases[name] = Pair(fixed.image, moving.image, fixed.labels, moving.labels)
    run(given, cases, "benchmarks.score:registration")


def rendered_head(folder: Path, number: str, contrast: str, state: str) -> Brain:
    """Return a rendered head with its labels, both made on first use."""
    name = f"{number}-{contrast}-{state}"
    brain = Brain(folder / f"{name}.nii.gz", folder / f"{name}_labels.nii.gz")
    if not brain.labels.exists():
        isolated("benchmarks.whole_heads:make", number, contrast, state, brain)
    return brain


def make(number: str, contrast: str, state: str, brain: Brain) -> None:
    """Write a rendered head with its labels; runs in a process of its own."""
    from SLSFGRLib.io.images import read_labels

    from .head_rendering import render
    from .image_variants import write

    numbers = read_labels(DATA / "brain_labels" / f"training_seg_{number}.nii.gz")
    images = render(numbers, contrast, state == STRIPPED, seed=int(number) * 10 + CONTRASTS.index(contrast))
    for image, path in zip(images, (brain.image, brain.labels), strict=True):
        write(image, path)


if __name__ == "__main__":
    main()
