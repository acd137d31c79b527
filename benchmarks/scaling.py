"""Measure seconds by stage and memory at several resolutions: ``python -m benchmarks.scaling --output DIR``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .data import TEN_PAIRS, Pair, pair_of_brains
from .experiment import arguments, run
from .processes import isolated


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, "slsfgr-fast,slsfgr-standard,slsfgr-accurate")
    parser.add_argument("--spacings", type=float, nargs="+", default=(2.0, 1.0, 0.7), help="in mm")
    given = parser.parse_args()
    name = TEN_PAIRS[0]
    pairs = {f"{spacing:g} mm/{name}": _resampled(name, spacing, given.output) for spacing in given.spacings}
    run(given, pairs, "benchmarks.score:stages")


def _resampled(name: str, spacing: float, folder: Path) -> Pair:
    """Return one of the ten pairs with images of another spacing, which are made on first use."""
    pair = pair_of_brains(name)
    paths = [folder / image.name.replace("t1", f"{spacing:g}mm") for image in (pair.fixed, pair.moving)]
    for source, path in zip((pair.fixed, pair.moving), paths, strict=True):
        if not path.exists():
            isolated("benchmarks.image_variants:write_resampled", source, path, spacing)
    return replace(pair, fixed=paths[0], moving=paths[1])


if __name__ == "__main__":
    main()
