"""Recover known rigid transforms between drawn scans of one head: ``python -m benchmarks.rigid --output DIR``.

The pairs are drawn by ``rigid_pairs.draw``: real and rendered heads in five contrasts, turned by up to 60 degrees, some
upside down, moved by up to 100 mm, with thick slices, slabs, bias field and noise.
"""

from __future__ import annotations

from .data import KnownPair
from .experiment import arguments, run
from .processes import isolated


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, "slsfgr,ants-rigid,greedy-rigid")
    parser.set_defaults(systems=["slsfgr --transform rigid", "ants-rigid", "greedy-rigid"])
    parser.add_argument("--pairs", type=int, default=150, help="how many (default: 150)")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing (default: 1; parameters were chosen on 0)")
    given = parser.parse_args()
    folder = given.output / "pairs"
    cases: dict[str, KnownPair] = {}
    for number in range(given.pairs):
        pair = isolated("benchmarks.rigid_pairs:draw", number, given.seed, folder)
        cases[f"{pair.kind.read_text()}/{number}"] = pair
    run(given, cases, "benchmarks.score:rigid")


if __name__ == "__main__":
    main()
