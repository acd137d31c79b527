"""Make the mean brain that ships: ``python Testing/training/average_brains.py DATA OUTPUT.pt``.

From the label maps in DATA/brain_labels, rendered as T1 brains, and the images in DATA/oasis, on two CPU cores in a
half an hour. The checksum is written beside it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import SimpleITK as sitk
import torch

from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.models.loading import default_model
from SLSFGRLib.synthesis.label_maps import label_map
from SLSFGRLib.training.data.label_propagation import rendered_brain
from SLSFGRLib.training.template_building import SeenBrain, mean_of


def main() -> None:
    """Average the brains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="with brain_labels/ and oasis/")
    parser.add_argument("output", type=Path, help="file of the mean brain")
    arguments = parser.parse_args()
    network = default_model().segmenter().to(memory_format=torch.channels_last_3d)
    brains = []
    for file in brain_files(arguments.data):
        print(file.name, flush=True)
        brains.append(SeenBrain.of(t1_brain(file), network))
    mean = mean_of(brains, lambda fraction: print(f"{fraction:.0%}", flush=True))
    mean.save(arguments.output)
    checksum = hashlib.sha256(arguments.output.read_bytes()).hexdigest()
    arguments.output.with_suffix(".pt.sha256").write_text(f"{checksum}  {arguments.output.name}\n", encoding="ascii")


def brain_files(data: Path) -> list[Path]:
    """The label maps and the images; not oasis_e, whose header has its axes in a wrong order."""
    return sorted((data / "brain_labels").glob("*.nii.gz")) + sorted((data / "oasis").glob("oasis_[a-d].nii.gz"))


def t1_brain(file: Path) -> sitk.Image:
    """A T1 image as it is, or one rendered from a label map."""
    if file.parent.name != "brain_labels":
        return read_image(file)
    image, _ = rendered_brain(label_map(read_labels(file), file.name))
    return image


if __name__ == "__main__":
    main()
