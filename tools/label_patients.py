"""Label real images for training: ``python -m tools.label_patients DATA FOLDER``.

The T1 image of each head is segmented. Its labels are those of the other contrasts, too, after a rigid registration; so
the network learns these from the contrast that it segments best. Patient 04 is left out: it is for measuring.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import SimpleITK as sitk

import SLSFGRLib

# The T1 image of each head, and its other contrasts.
HEADS = {
    "patients/01_1_T1W": ("patients/01_1_T2W", "patients/01_1_FLAIR"),
    "patients/01_2_T1W": ("patients/01_2_T2W", "patients/01_2_FLAIR"),
    "patients/20_2_T1W": ("patients/20_2_FLAIR",),
    "patients/stripped_07_T1": ("patients/stripped_07_T2", "patients/stripped_07_FLAIR", "patients/stripped_07_T1POST"),
}


def main() -> None:
    """Label all heads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="with patients/")
    parser.add_argument("folder", type=Path, help="receives NAME_image.nii.gz and NAME_labels.nii.gz of each image")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for first, others in HEADS.items():
        files = [arguments.data / f"{name}.nii.gz" for name in (first, *others)]
        label_head(files[0], files[1:], arguments.folder)


def label_head(first: Path, others: list[Path], folder: Path) -> None:
    """Segment an image, and take its labels to other images of the same head."""
    image = sitk.ReadImage(str(first))
    labels = SLSFGRLib.segment(image)
    _write(image, labels, first, folder)
    for other in others:
        fixed = sitk.ReadImage(str(other))
        result = SLSFGRLib.register(fixed, image, transform="rigid", moving_labels=labels)
        _write(fixed, result.fixed_labels, other, folder)


def _write(image: sitk.Image, labels: sitk.Image, file: Path, folder: Path) -> None:
    name = file.name.removesuffix(".nii.gz")
    sitk.WriteImage(image, str(folder / f"{name}_image.nii.gz"))
    sitk.WriteImage(labels, str(folder / f"{name}_labels.nii.gz"))
    print(name, flush=True)


if __name__ == "__main__":
    main()
