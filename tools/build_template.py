"""Build the bundled population template: ``python -m tools.build_template DATA OUTPUT.pt``.

It is made of the label maps in DATA/brain_labels, rendered as T1 brains, and of the images in DATA/oasis, in half an
hour on two CPU cores. The checksum is written to OUTPUT.pt.sha256.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import SimpleITK as sitk
import torch

from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.models.loading import default_model
from SLSFGRLib.synthesis.label_maps import LabelMap
from SLSFGRLib.training.data.label_propagation import render_brain
from SLSFGRLib.training.template_building import SegmentedSubject, build_template
from SLSFGRLib.version import VERSION


def main() -> None:
    """Build the template."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="with brain_labels/ and oasis/")
    parser.add_argument("output", type=Path, help="file of the template")
    arguments = parser.parse_args()
    networks = default_model().segmenter(torch.device("cpu"))
    brains = []
    for file in brain_files(arguments.data):
        print(file.name, flush=True)
        brains.append(SegmentedSubject.from_image(t1_brain(file), networks))
    template = build_template(brains, lambda fraction: print(f"{fraction:.0%}", flush=True))
    template.save(arguments.output, VERSION)
    write_checksum(arguments.output)


def brain_files(data: Path) -> list[Path]:
    """Return the label maps and the images; oasis_e is left out, since its header has the axes in a wrong order."""
    return sorted((data / "brain_labels").glob("*.nii.gz")) + sorted((data / "oasis").glob("oasis_[a-d].nii.gz"))


def t1_brain(file: Path) -> sitk.Image:
    """Return a T1 image as it is, or one rendered from a label map."""
    if file.parent.name != "brain_labels":
        return read_image(file)
    image, _ = render_brain(LabelMap.from_image(read_labels(file), file.name))
    return image


def write_checksum(path: Path) -> None:
    """Write the SHA-256 of a file to another beside it, in the form of ``sha256sum``."""
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(f"{path.suffix}.sha256").write_text(f"{checksum}  {path.name}\n", encoding="ascii")


if __name__ == "__main__":
    main()
