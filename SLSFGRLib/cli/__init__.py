"""The command ``slsfgr``: one module for each of its subcommands.

Nothing heavy is imported until a subcommand runs, so that ``--help`` and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from ..errors import InputError
from ..runtime.process import set_up_process
from ..version import VERSION
from . import apply, demo, evaluate, info, register, segment, train

SUBCOMMANDS = {
    "register": register,
    "segment": segment,
    "apply": apply,
    "evaluate": evaluate,
    "train": train,
    "demo": demo,
    "info": info,
}
DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130


class _Parser(argparse.ArgumentParser):
    """Reports mistakes in the arguments in one line, as all other mistakes."""

    def error(self, message: str) -> None:
        self.exit(BAD_INPUT, f"slsfgr: error: {message}; see '{self.prog} --help'.\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    :param arguments: without the program's name; by default those of the process.
    :returns: the exit code: 0 done, 2 bad input, 130 interrupted.
    """
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    set_up_process()
    try:
        SUBCOMMANDS[chosen.subcommand].run(chosen)
    except InputError as error:
        return _fail(str(error))
    except KeyboardInterrupt as wish:
        print(f"\nslsfgr: interrupted; {str(wish) or 'nothing was written.'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as with `| head`; Python must not complain again when it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}; check the folder and the disk.")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="slsfgr", description="Registers and segments brain MRI.")
    parser.add_argument("--version", action="version", version=f"slsfgr {VERSION}")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for name, module in SUBCOMMANDS.items():
        summary, _, details = (module.__doc__ or "").partition("\n")
        subparser = subparsers.add_parser(
            name,
            # In a help text, argparse reads a lone % as the start of a name.
            help=(summary[:1].lower() + summary[1:].rstrip(".")).replace("%", "%%"),
            description=f"{summary}\n{details}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser


def _fail(message: str) -> int:
    print(f"slsfgr: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Let a scheduler's SIGTERM clean up as Ctrl-C does."""
    raise KeyboardInterrupt
