"""Recover known deformations of whole heads: ``python -m benchmarks.known_deformations --output DIR``.

The pairs are drawn by ``deformed_pairs.draw``: a head and the same head turned by up to 15 degrees and deformed by 8 mm
at most, each with its own bias field and noise. In T1 every other head is a real one, the others are rendered from
label maps that no training saw. With ``--contrasts t1,t2`` the heads are rendered in two contrasts.
"""

from __future__ import annotations

from .data import KnownPair
from .experiment import arguments, run
from .processes import isolated

SYSTEMS = ["slsfgr-standard --transform deformable", "greedy", "greedy-2-05", "greedy-3-1"]


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, ",".join(SYSTEMS))
    parser.set_defaults(systems=SYSTEMS)
    parser.add_argument("--pairs", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing (default: 1; parameters were chosen on 0)")
    parser.add_argument("--contrasts", default="t1,t1", help="of fixed and moving image (default: t1,t1)")
    given = parser.parse_args()
    contrasts = tuple(given.contrasts.split(","))
    cases: dict[str, KnownPair] = {}
    for number in range(given.pairs):
        pair = isolated("benchmarks.deformed_pairs:draw", contrasts, number, given.seed, given.output / "pairs")
        cases[f"{'-'.join(contrasts)}/{number}"] = pair
    run(given, cases, "benchmarks.score:known_deformation")


if __name__ == "__main__":
    main()
