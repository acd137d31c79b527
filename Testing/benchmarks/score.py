"""Score one transform in a process of its own: ``python score.py KIND FOLDER BRAINS FIXED MOVING``.

Prints the figures as JSON. All systems are scored by this, and thereby by ``slsfgr evaluate``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FIGURES = ("dice", "surface_distance_95_mm", "folding_percent", "log_jacobian_deviation")


def score(kind: str, folder: Path, brains: Path, fixed: str, moving: str) -> dict:
    """Score what a system has written, without loading anything into this process.

    :param kind: how the result is read, see ``peers/conversion.py``.
    :param folder: where the system has written its files.
    :param brains: folder with NNNN_t1 and NNNN_labels.
    :returns: the figures, and ``labels``: Dice by label.
    """
    arguments = [kind, str(folder), str(brains), fixed, moving]
    printed = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(printed)


def main() -> None:
    """Read the transform and the label maps, and print the figures."""
    import SimpleITK as sitk
    from peers.conversion import read_result

    from SLSFGRLib.evaluation.metrics import evaluate

    kind, folder, brains, fixed, moving = sys.argv[1:]
    labels = [sitk.ReadImage(str(Path(brains) / f"{name}_labels.nii.gz")) for name in (fixed, moving)]
    found = evaluate(*labels, read_result(kind, Path(folder), Path(brains) / f"{fixed}_t1.nii.gz"))
    figures = (
        found.mean_dice,
        found.mean_surface_distance_95,
        found.folding_percent,
        found.log_jacobian_deviation,
    )
    print(json.dumps(dict(zip(FIGURES, figures, strict=True)) | {"labels": found.dice}))


if __name__ == "__main__":
    main()
