"""The command ``slsfgr``: one module for each of its subcommands.

Nothing heavy is imported until a subcommand runs, so that ``--help`` and errors in the arguments answer at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from ..errors import InputError
from ..runtime.process import limit_threads, set_up_process
from ..version import VERSION
from . import apply, batch, demo, evaluate, info, longitudinal, register, segment, template, train
from .options import shared_options

SUBCOMMANDS = {
    "register": register,
    "segment": segment,
    "apply": apply,
    "evaluate": evaluate,
    "batch": batch,
    "template": template,
    "longitudinal": longitudinal,
    "train": train,
    "demo": demo,
    "info": info,
}
DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in the arguments in one line, like every other error."""

    def error(self, message: str) -> None:
        self.exit(BAD_INPUT, f"slsfgr: error: {message}; see '{self.prog} --help'.\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    :param arguments: without the program's name; by default those of the process.
    :returns: the exit code: 0 done, 2 bad input, 130 interrupted.
    """
    chosen = _parser().parse_args(arguments)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    set_up_process()
    try:
        _limit_threads(chosen)
        SUBCOMMANDS[chosen.subcommand].run(chosen)
    except InputError as error:
        return _fail(str(error))
    except KeyboardInterrupt as request:
        print(f"\nslsfgr: interrupted; {str(request) or 'nothing was written.'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has ended, as with `| head`; Python must not complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}; check the folder and the disk.")
    finally:
        signal.signal(signal.SIGTERM, previous)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="slsfgr", description="Registers and segments brain MRI.")
    parser.add_argument("--version", action="version", version=f"slsfgr {VERSION}")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for name, module in SUBCOMMANDS.items():
        summary, _, details = (module.__doc__ or "").partition("\n")
        subparser = subparsers.add_parser(
            name,
            # argparse reads a single % in a help text as the start of a name.
            help=(summary[:1].lower() + summary[1:].rstrip(".")).replace("%", "%%"),
            description=f"{summary}\n{details}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[shared_options(*module.SHARED_OPTIONS)],
        )
        module.add_arguments(subparser)
    return parser


def _limit_threads(chosen: argparse.Namespace) -> None:
    """Follow ``--threads``, which most subcommands have."""
    threads = getattr(chosen, "threads", None)
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads is {threads}; give 1 or more.")
    limit_threads(threads)


def _fail(message: str) -> int:
    print(f"slsfgr: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Make SIGTERM, which cluster schedulers send, clean up like Ctrl-C."""
    raise KeyboardInterrupt
