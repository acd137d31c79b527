"""Segment a brain image of any contrast, with or without the skull.

Writes a label map on the image's own grid, numbered as in FreeSurfer, and with --volumes a table
of the structures' volumes in mm3.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..io.staging import staged_file
from .console import ConsoleProgress

if TYPE_CHECKING:
    import SimpleITK as sitk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr segment``."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the image to segment")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="label map to write")
    parser.add_argument("--volumes", type=Path, metavar="TABLE.csv", help="also write the volumes in mm3")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--model", metavar="M", help="model file of slsfgr train (default: the one that ships)")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr segment``."""
    import SimpleITK as sitk

    from ..io.images import read_image, smallest_label_type
    from ..models.loading import load_model
    from ..segmentation.pipeline import segment

    model = load_model(arguments.model) if arguments.model else None
    labels = segment(read_image(arguments.image), arguments.device, ConsoleProgress(arguments.quiet), model=model)
    with staged_file(arguments.labels) as path:
        try:
            sitk.WriteImage(smallest_label_type(labels), str(path), useCompression=True)
        except RuntimeError as error:
            raise InputError(f"{arguments.labels}: cannot be written; use .nii.gz, .nrrd or .mha.") from error
        if arguments.volumes:
            _write_volumes(labels, arguments.volumes)
    print(arguments.labels)
    if arguments.volumes:
        print(arguments.volumes)


def _write_volumes(labels: sitk.Image, table: Path) -> None:
    from ..segmentation.volumes import volumes

    with staged_file(table) as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["number", "name", "volume_mm3"])
        writer.writerows([row.number, row.name, f"{row.volume_mm3:.1f}"] for row in volumes(labels))
