"""Register or segment many images: a table of cases, a folder of images or a BIDS data set.

TABLE.csv has the columns fixed and moving (or fixed for all is given by --fixed; with --task segment the column image),
one line for each case. Further columns, all optional: name (the case's folder below DIR), mode, transform, device,
model, no_affine, jacobian (yes or no), initial_transform, moving_labels, fixed_mask, moving_mask, fixed_lesion,
moving_lesion. Names of files are relative to the table.

Each case gets a folder below DIR with what slsfgr register (or segment) writes. DIR/results.csv has a line for each
case, DIR/index.html a picture of each, the worst first. A case that fails stops no other. If the batch is stopped, the
same command continues it; cases whose inputs, settings or version have changed since are done again.
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

SHARED_OPTIONS = ("transform", "mode", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr batch``."""
    parser.add_argument("source", type=Path, metavar="TABLE.csv|FOLDER", help="the cases")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--fixed", type=Path, metavar="F", help="the fixed image of all cases, or mni152")
    parser.add_argument("--task", choices=("register", "segment"), default="register", help="default: register")
    parser.add_argument("--model", default="", metavar="M", help="as for slsfgr register or segment")
    parser.add_argument("--no-affine", action="store_true", help="skip the affine registration")
    parser.add_argument("--jacobian", action="store_true", help="also write images of the local change of volume")
    add_worker_options(parser, "case")


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr batch``."""
    from ..errors import InputError
    from ..jobs.batch import run_batch
    from ..jobs.case_work import FAILED

    _check(arguments)
    cases = _cases(arguments)
    output = arguments.output.resolve()
    with ExitStack() as stack:
        say = Say(arguments.quiet)
        runner = chosen_runner(arguments, cases, output, stack, say)
        progress = stack.enter_context(ConsoleProgress(arguments.quiet))
        try:
            rows = run_batch(cases, output, runner, progress, say)
        except KeyboardInterrupt as request:
            raise KeyboardInterrupt("the same command continues the batch.") from request
    print(arguments.output / "results.csv", arguments.output / "index.html", sep="\n")
    failed = [row for row in rows if row["status"] == FAILED]
    if failed:
        first = f"{failed[0]['name']}: {failed[0]['problem']}"
        raise InputError(
            f"{len(failed)} of {len(rows)} cases failed, the others are done; the first is {first} "
            f"All are in {arguments.output / 'results.csv'}."
        )


def _check(arguments: argparse.Namespace) -> None:
    """Refuse numbers that are not positive and options of the other task."""
    from ..errors import InputError

    check_workers(arguments)
    if arguments.task == "segment" and (arguments.fixed or arguments.jacobian or arguments.no_affine):
        raise InputError("--fixed, --jacobian and --no-affine are for registrations; leave them out.")


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """Return the cases, all checked."""
    from ..errors import InputError
    from ..io.resources import image_path
    from ..jobs.bids import cases_of_bids, is_bids, write_data_set
    from ..jobs.cases import REGISTER, SETTINGS, cases_of_folder, cases_of_table

    source, task = arguments.source, arguments.task
    common = {name: getattr(arguments, name) for name in SETTINGS[task]}
    fixed = image_path(arguments.fixed).absolute() if arguments.fixed else None
    if fixed is not None and not fixed.exists():
        raise InputError(f"{fixed}: there is no such file; check the name.")
    if not source.is_dir():
        return cases_of_table(source, task, common, fixed)
    if task == REGISTER and fixed is None:
        raise InputError(f"{source}: is a folder; give the image that all are registered to with --fixed, or a table.")
    if not is_bids(source):
        return cases_of_folder(source, task, common, fixed)
    cases = cases_of_bids(source, task, common, fixed)
    write_data_set(source, arguments.output, task, fixed)
    return cases
