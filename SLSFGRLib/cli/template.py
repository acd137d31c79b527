"""Build the template of a group of images: their mean in intensity and shape, with a label atlas.

TABLE.csv has the column image, one line for each image of one contrast, whole head or skull-stripped. Further columns,
both optional: labels (a label map of the image; then these are combined instead of our segmentations), name (the
image's folder below DIR/cases). Names of files are relative to the table. A folder of images or a BIDS data set may be
given instead.

Writes into the folder given by --output:
  template.nii.gz             the mean of all images, in their mean size and shape, upright as MNI152
  template_labels.nii.gz      the most frequent label at each voxel
  template_brain_mask.nii.gz  the brain with the CSF around it
  affine_average.nii.gz       the mean of all images after affine registration alone, to compare
  cases/NAME/                 for each image the transform to the template, its inverse, the warped image and labels
  report.json report.html     figures and pictures, the worst images first

An image that fails stops no other. If the run is stopped, the same command continues it.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .console import ConsoleProgress
from .workers import Say, add_worker_options, check_workers, chosen_runner

if TYPE_CHECKING:
    from ..jobs.cases import Case

SHARED_OPTIONS = ("mode", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr template``."""
    parser.add_argument("source", type=Path, metavar="TABLE.csv|FOLDER", help="the images")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    add_worker_options(parser, "image")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr template``."""
    check_workers(arguments)
    cases = _cases(arguments.source, {"mode": arguments.mode, "device": arguments.device})
    from ..errors import InputError
    from ..jobs.cases import require_group
    from ..runtime.process import load_torch_without_compiler

    require_group(cases)
    load_torch_without_compiler()
    from ..jobs.group_template import build_group_template

    output = arguments.output.resolve()
    with ExitStack() as stack:
        say = Say(arguments.quiet)
        runner = chosen_runner(arguments, cases, output, stack, say)
        progress = stack.enter_context(ConsoleProgress(arguments.quiet))
        try:
            report = build_group_template(cases, output, runner, progress, say)
        except KeyboardInterrupt as request:
            raise KeyboardInterrupt("the same command continues.") from request
    names = sorted(path.name for path in output.iterdir() if path.is_file())
    print(*(arguments.output / name for name in names), sep="\n")
    failed = [row for row in report["cases"] if row["status"] == "failed"]
    if failed:
        raise InputError(
            f"{len(failed)} of {report['images']} images failed and are left out of the template; the first is "
            f"{failed[0]['name']}: {failed[0]['problem']} All are in {arguments.output / 'report.html'}."
        )


def _cases(source: Path, settings: dict[str, str]) -> list[Case]:
    """Return the images, all checked."""
    from ..jobs.bids import cases_of_bids, is_bids
    from ..jobs.cases import TEMPLATE, cases_of_folder, cases_of_table

    if not source.is_dir():
        return cases_of_table(source, TEMPLATE, settings)
    return (cases_of_bids if is_bids(source) else cases_of_folder)(source, TEMPLATE, settings, None)
