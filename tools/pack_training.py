"""Pack the data of SL-SFGR's training for another machine: ``python -m tools.pack_training DATA FOLDER``.

FOLDER then holds the label maps in compact form, the images, and the recipes that name them: about 20 MB.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[1] / "Resources" / "Recipes"
# In their order: the folder of each stage, from which the recipe of the next one starts, and its recipe.
STAGES = {
    "first": "sl_sfgr_1_segmentation.toml",
    "second": "sl_sfgr_2_calibration.toml",
    "third": "sl_sfgr_3_registration.toml",
    "last": "sl_sfgr_4_joint.toml",
}


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="with brain_labels/ and oasis/")
    parser.add_argument("folder", type=Path, help="to be copied to the other machine")
    arguments = parser.parse_args()
    pack(arguments.data, arguments.folder)
    print(f"{arguments.folder}: {sum(file.stat().st_size for file in arguments.folder.rglob('*')) / 1e6:.1f} MB")


def pack(data: Path, folder: Path) -> None:
    """Fill the folder; label maps that are already in it are not compacted again."""
    from SLSFGRLib.synthesis import load_label_maps

    files = sorted((data / "brain_labels").glob("*.nii.gz"))
    load_label_maps(files, folder / "brain_labels", lambda fraction: print(f"{fraction:.0%}", flush=True))
    (folder / "oasis").mkdir(parents=True, exist_ok=True)
    for image in sorted((data / "oasis").glob("oasis_[a-d].nii.gz")):
        shutil.copyfile(image, folder / "oasis" / image.name)
    for recipe in STAGES.values():
        (folder / recipe).write_text(with_compact_maps((RECIPES / recipe).read_text(encoding="utf-8")), "utf-8")


def with_compact_maps(recipe: str) -> str:
    """Return a recipe that names the compact files of the label maps, whose names end in a fingerprint."""
    return re.sub(r'(brain_labels/[^"]*)\.nii\.gz"', r'\1_*.npz"', recipe)


if __name__ == "__main__":
    main()
