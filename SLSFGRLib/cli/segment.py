"""Segment a brain image of any contrast, with or without the skull.

Writes a label map on the grid of the image, with FreeSurfer's label numbers. On request it also writes a table of the
volumes of the structures in mm3, a mask of the brain as a whole, and the image without all else.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.staging import staged_file
from ..runtime.process import load_torch_without_compiler
from .console import ConsoleProgress

if TYPE_CHECKING:
    import SimpleITK as sitk

SHARED_OPTIONS = ("device", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr segment``."""
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the image to segment")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="label map to write")
    parser.add_argument("--volumes", type=Path, metavar="TABLE.csv", help="also write the volumes in mm3")
    parser.add_argument("--brain-mask", type=Path, metavar="MASK", help="also write a mask of the brain")
    parser.add_argument("--brain", type=Path, metavar="IMAGE", help="also write the image with the brain alone")
    parser.add_argument("--model", metavar="M", help="model file of slsfgr train (default: the bundled one)")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr segment``."""
    load_torch_without_compiler()
    from ..io.images import read_image, smallest_label_type, write_image
    from ..models.loading import load_model
    from ..report.results import write_volumes
    from ..segmentation.pipeline import segment

    model = load_model(arguments.model) if arguments.model else None
    image = read_image(arguments.image)
    with ConsoleProgress(arguments.quiet) as progress:
        labels = segment(image, arguments.device, progress, model=model)
    with staged_file(arguments.labels) as path:
        write_image(smallest_label_type(labels), path)
        if arguments.volumes:
            with staged_file(arguments.volumes) as table:
                write_volumes(labels, table)
        _write_brain(image, labels, arguments)
    outputs = arguments.labels, arguments.volumes, arguments.brain_mask, arguments.brain
    print(*filter(None, outputs), sep="\n")


def _write_brain(image: sitk.Image, labels: sitk.Image, arguments: argparse.Namespace) -> None:
    """Write the mask and the image of the brain as far as they are wanted."""
    from ..io.images import write_image
    from ..segmentation.brain_mask import brain_alone, brain_mask

    if arguments.brain_mask:
        with staged_file(arguments.brain_mask) as path:
            write_image(brain_mask(labels), path)
    if arguments.brain:
        with staged_file(arguments.brain) as path:
            write_image(brain_alone(image, labels), path)
