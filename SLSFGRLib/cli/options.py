"""Options that several subcommands share."""

from __future__ import annotations

import argparse

from ..modes import AUTO, DEFAULT_MODE, MODES, TRANSFORMS


def shared_options(*names: str) -> argparse.ArgumentParser:
    """Return a parent parser with ``--quiet`` and the named options.

    :param names: of ``mode``, ``transform``, ``device`` and ``threads``.
    """
    parser = argparse.ArgumentParser(add_help=False)
    if "mode" in names:
        parser.add_argument(
            "--mode", choices=MODES, default=DEFAULT_MODE, help=f"how long to optimise (default: {DEFAULT_MODE})"
        )
    if "transform" in names:
        parser.add_argument(
            "--transform",
            choices=TRANSFORMS,
            default=AUTO,
            help="rigid or affine for two scans of one head, deformable for two people; auto decides by the images "
            f"(default: {AUTO})",
        )
    if "device" in names:
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    if "threads" in names:
        parser.add_argument(
            "--threads", type=int, metavar="N", help="threads for each computation (default: one for each core)"
        )
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser
