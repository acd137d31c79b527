"""Register pairs in two contrasts with our modes, the multimodal model and ANTs.

``python -m benchmarks.multimodal --output DIR``. For a model of your own that is driven by LNCC instead of labels:
``slsfgr train benchmarks/lncc_driven.toml --output lncc``, then add ``slsfgr-fast --model lncc/model.pt`` to --systems.
"""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from .data import Pair, pair_in_folder
from .experiment import arguments, run
from .processes import isolated

SETS = ("heldout", "sri24", "malc")
# "fast" is the network alone; "standard" continues by the intensities.
OURS = "affine,slsfgr-fast,slsfgr-standard,slsfgr-fast --model multimodal,slsfgr-standard --model multimodal"


def main() -> None:
    """Run the experiment."""
    # ANTs' SyN compares by mutual information. It takes part where it is installed.
    parser = arguments(__doc__, f"{OURS},ants-syn" if find_spec("ants") else OURS)
    parser.add_argument("--sets", default=",".join(SETS), help="see multimodal_pairs.py (default: %(default)s)")
    parser.add_argument("--pairs", type=int, help="only the first so many of each set")
    given = parser.parse_args()
    cases = {}
    for name in given.sets.split(","):
        cases |= islice(_pairs(name, given.output / "pairs" / name).items(), given.pairs)
    run(given, cases, "benchmarks.score:registration")


def _pairs(name: str, folder: Path) -> dict[str, Pair]:
    """Return the pairs of a set by name; they are made on first use."""
    complete = folder / "complete"
    if not complete.exists():
        isolated("benchmarks.multimodal_pairs:make", name, folder)
        complete.touch()
    folders = sorted(path.parent for path in folder.rglob("moving_labels.nii.gz"))
    return {f"{name}/{path.relative_to(folder)}": pair_in_folder(path) for path in folders}


if __name__ == "__main__":
    main()
