"""Register ten pairs of real brains with our modes and the peers: ``python -m benchmarks.ten_pairs --output DIR``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .data import OTHER_PAIRS, TEN_PAIRS, Pair, pair_of_brains
from .experiment import arguments, run
from .processes import isolated
from .systems import CONTRASTS, SAME, SYSTEMS, T2


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, "those that suit the contrast")
    parser.set_defaults(systems=None)
    parser.add_argument("--pairs", type=int, default=len(TEN_PAIRS), help="only the first so many")
    parser.add_argument("--others", action="store_true", help="five other pairs, by which nothing was ever chosen")
    parser.add_argument("--contrast", choices=CONTRASTS, default=SAME, help="t2: the moving image looks like a T2")
    given = parser.parse_args()
    if given.systems is None:
        given.systems = [name for name, system in SYSTEMS.items() if given.contrast in system.contrasts]
    names = OTHER_PAIRS if given.others else TEN_PAIRS
    pairs = {name: pair_of_brains(name) for name in names[: given.pairs]}
    if given.contrast == T2:
        pairs = {f"{T2}/{name}": _with_t2(pair, given.output / T2) for name, pair in pairs.items()}
    run(given, pairs, "benchmarks.score:registration")


def _with_t2(pair: Pair, folder: Path) -> Pair:
    """Return the pair with a moving image in the contrast of a T2, which is made on first use."""
    path = folder / pair.moving.name.replace("t1", "t2")
    if not path.exists():
        isolated("benchmarks.image_variants:write_t2_like", pair.moving, path)
    return replace(pair, moving=path)


if __name__ == "__main__":
    main()
