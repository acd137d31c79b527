"""Follow one brain through scans at several dates: volumes of the structures and how they changed.

Give at least two scans of one head in one contrast, in the order of their dates. All are treated alike, half-way
between them, so that no scan is the reference and their order changes no volume. Writes into the folder given by
--output, with a number and the scan's name in place of N_NAME:
  volumes.csv report.html report.json   the volume of each structure at each date, and the change since the first
  mean.nii.gz labels.nii.gz             the mean of all scans in the half-way space, and its structures
  N_NAME_resampled.nii.gz               the scan in the half-way space
  N_NAME_change.nii.gz                  the local change of volume since the first scan, in percent
  N_NAME_transform.h5                   the transform of points of the half-way space to points of the scan
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..io.staging import staged_folder
from ..runtime.process import load_torch_without_compiler
from .console import ConsoleProgress

SHARED_OPTIONS = ("device", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr longitudinal``."""
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="the scans, at least two")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr longitudinal``."""
    from ..errors import InputError

    paths = arguments.images
    if len(paths) < 2:
        raise InputError(f"{paths[0]}: is the only scan; give those of the other dates, too.")
    doubled = next((path for path in paths if paths.count(path) > 1), None)
    if doubled is not None:
        raise InputError(f"{doubled}: is given twice; give each scan once.")
    from ..io.images import read_image

    images = [read_image(path) for path in paths]
    load_torch_without_compiler()
    from ..jobs.longitudinal import follow_up
    from ..report.longitudinal import write_follow_up

    with staged_folder(arguments.output) as folder, ConsoleProgress(arguments.quiet) as progress:
        result = follow_up(images, [str(path) for path in paths], arguments.device, progress)
        names = write_follow_up(result, folder)
    print(*(arguments.output / name for name in names), sep="\n")
