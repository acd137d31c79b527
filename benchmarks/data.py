"""The data of the benchmarks: where they are, and what one case consists of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Holds malc, sri24 and brain_labels. The training recipes use the same variable.
DATA = Path(os.environ.get("SLSFGR_DATA", ROOT.parent / "shared" / "data")).resolve()
BRAINS = DATA / "malc"
# The fixed brain of each pair comes first.
# fmt: off
TEN_PAIRS = (
    "1000-1001", "1002-1006", "1007-1008", "1009-1010", "1011-1012",
    "1013-1014", "1015-1017", "1036-1000", "1001-1002", "1006-1007",
)
# fmt: on
# Nothing was ever chosen by these.
OTHER_PAIRS = ("1010-1007", "1012-1036", "1014-1002", "1015-1009", "1017-1008")


@dataclass(frozen=True)
class Pair:
    """Two images to register, and the label maps that the result is scored on.

    :param truth: the correct transform, where it is known.
    """

    fixed: Path
    moving: Path
    fixed_labels: Path
    moving_labels: Path
    truth: Path | None = None

    def words(self, output: Path) -> list[str]:
        """Return the subcommand of ``slsfgr`` that registers the pair into a folder."""
        return ["register", str(self.fixed), str(self.moving), "--output", str(output)]


@dataclass(frozen=True)
class Brain:
    """An image to segment, and its manual labels."""

    image: Path
    labels: Path

    def words(self, output: Path) -> list[str]:
        """Return the subcommand of ``slsfgr`` that segments the image into a folder."""
        return ["segment", str(self.image), str(output / "labels.nrrd")]


def pair_of_brains(name: str) -> Pair:
    """Return one of the ten pairs."""
    images, labels = ([BRAINS / f"{brain}_{part}.nii.gz" for brain in name.split("-")] for part in ("t1", "labels"))
    return Pair(*images, *labels)


def pair_in_folder(folder: Path) -> Pair:
    """Return the pair that is in a folder with fixed, moving, fixed_labels, moving_labels and maybe the truth."""
    names = ("fixed", "moving", "fixed_labels", "moving_labels")
    truth = folder / "truth.h5"
    return Pair(*(folder / f"{name}.nii.gz" for name in names), truth if truth.exists() else None)


@dataclass(frozen=True)
class KnownPair:
    """Two scans of one head with a known transform.

    :param truth: fixed points to moving points.
    :param mask: of the brain or head in the fixed image, where the error is measured.
    :param kind: a text: like or unlike contrasts, and what makes the pair hard.
    """

    fixed: Path
    moving: Path
    truth: Path
    mask: Path
    kind: Path

    @classmethod
    def in_folder(cls, folder: Path) -> KnownPair:
        """Return the pair that is in a folder, or will be."""
        names = ("fixed.nii.gz", "moving.nii.gz", "truth.tfm", "mask.nii.gz", "kind.txt")
        return cls(*(folder / name for name in names))

    def words(self, output: Path) -> list[str]:
        """Return the subcommand of ``slsfgr`` that registers the pair into a folder."""
        return ["register", str(self.fixed), str(self.moving), "--output", str(output)]


@dataclass(frozen=True)
class PatientPair:
    """Two scans of one patient, whose true transform is not known.

    :param references: folder with a folder for each public program's result.
    :param brain: mask of the brain in the fixed image.
    """

    fixed: Path
    moving: Path
    references: Path
    brain: Path

    def words(self, output: Path) -> list[str]:
        """Return the subcommand of ``slsfgr`` that registers the pair into a folder."""
        return ["register", str(self.fixed), str(self.moving), "--output", str(output)]
