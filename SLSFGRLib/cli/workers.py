"""Where the work of many cases is done: options that several subcommands share, and what follows from them."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..jobs.batch import Runner
    from ..jobs.cases import Case


def add_worker_options(parser: argparse.ArgumentParser, unit: str) -> None:
    """Declare ``--workers``, ``--scheduler`` and ``--threads``.

    :param unit: what one of the cases is called.
    """
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes here, as far as memory allows (default: no further one)",
    )
    place.add_argument("--scheduler", metavar="ADDRESS", help="a running Dask scheduler, such as tcp://10.0.0.1:8786")
    parser.add_argument("--threads", type=int, metavar="N", help=f"cores for each {unit} (default: an equal part)")


def check_workers(arguments: argparse.Namespace) -> None:
    """Refuse a number of workers that is not positive.

    :raises InputError: it is not.
    """
    from ..errors import InputError

    if arguments.workers is not None and arguments.workers < 1:
        raise InputError(f"--workers is {arguments.workers}; give 1 or more.")


def chosen_runner(
    arguments: argparse.Namespace, cases: list[Case], output: Path, stack: ExitStack, say: Say
) -> Runner | None:
    """Return what does the cases on workers; None for this process. The stack ends the workers."""
    if arguments.scheduler is None and arguments.workers is None:
        return None
    from ..jobs.cluster import affordable_workers, cluster_client, cores_for_each, do_on_workers, local_client

    threads = arguments.threads
    if arguments.scheduler is not None:
        client = stack.enter_context(cluster_client(arguments.scheduler))
    else:
        workers, note = affordable_workers(arguments.workers, cases)
        say(note)
        client = stack.enter_context(local_client(workers))
        threads = threads or cores_for_each(workers)
    say(f"Dask's dashboard: {client.dashboard_link}")
    return lambda waiting: do_on_workers(client, waiting, output, threads)


class Say:
    """Writes sentences to standard error, unless the user wants quiet."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        """Write a sentence, if it is not empty."""
        if text and not self._quiet:
            print(text, file=sys.stderr, flush=True)
