"""What ``bench.py`` can run: our modes and the peers, each at the settings that its own documentation gives.

Where each setting comes from stands in docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
SAME, T2 = "same", "t2"
CONTRASTS = (SAME, T2)


@dataclass(frozen=True)
class System:
    """One row of the table.

    :param title: its name in tables and pictures.
    :param script: file in ``peers``, or None for our own command.
    :param options: passed on as they are.
    :param result: how its output is read, see ``peers/conversion.py``.
    :param contrasts: the benchmarks that it takes part in.
    :param by_default: whether it runs without being asked for by name.
    """

    title: str
    script: str | None
    options: tuple[str, ...]
    result: str
    contrasts: tuple[str, ...] = (SAME,)
    by_default: bool = True

    def command(self, fixed: Path, moving: Path, output: Path) -> list[str]:
        """The command line that registers one pair and writes into an existing folder."""
        if self.script is None:
            words = ["-m", "SLSFGRLib", "register", str(fixed), str(moving), "--output", str(output), "--quiet"]
        else:
            words = [str(PEERS / self.script), str(fixed), str(moving), str(output)]
        return [sys.executable, *words, *self.options]


def _own(mode: str) -> System:
    return System(f"SLSFGR {mode}", None, ("--mode", mode), "itk", CONTRASTS)


def _ants(title: str, kind: str, contrasts: tuple[str, ...], by_default: bool = True) -> System:
    return System(f"ANTs {title}", "ants_syn.py", (kind,), "ants", contrasts, by_default)


def _greedy(title: str, options: str, contrasts: tuple[str, ...] = (SAME,)) -> System:
    return System(f"greedy {title}", "greedy_ncc.py", tuple(options.split()), "greedy", contrasts)


def _fireants(title: str, options: str, contrasts: tuple[str, ...] = (SAME,)) -> System:
    return System(f"FireANTs {title}", "fireants_greedy.py", tuple(options.split()), "fireants", contrasts)


SYSTEMS = {
    "slsfgr-fast": _own("fast"),
    "slsfgr-standard": _own("standard"),
    "slsfgr-accurate": _own("accurate"),
    "ants-syn": _ants("SyN", "SyN", CONTRASTS),
    "ants-quick": _ants("SyNQuick", "antsRegistrationSyNQuick[s]", CONTRASTS),
    "ants-syncc": _ants("SyNCC", "SyNCC", CONTRASTS),
    "ants-full": _ants("antsRegistrationSyN", "antsRegistrationSyN[s]", (SAME,), by_default=False),
    "greedy": _greedy("NCC, 1.732 / 0.707", "-m NCC 2x2x2"),
    "greedy-2-05": _greedy("NCC, 2 / 0.5", "-m NCC 2x2x2 -s 2vox 0.5vox"),
    "greedy-3-1": _greedy("NCC, 3 / 1", "-m NCC 2x2x2 -s 3vox 1vox"),
    "greedy-sv": _greedy("WNCC, -sv", "-m WNCC 2x2x2 -sv"),
    "greedy-nmi": _greedy("NMI", "--affine NMI -m NMI", (T2,)),
    "elastix": System("elastix, default", "elastix_bspline.py", ("default",), "itk", CONTRASTS),
    "elastix-par0035": System("elastix, Par0035", "elastix_bspline.py", ("par0035",), "itk", CONTRASTS),
    "convex-adam": System("ConvexAdam", "convex_adam.py", (), "convex_adam"),
    "convex-adam-t2": System("ConvexAdam", "convex_adam.py", ("--affine", "NMI"), "convex_adam", (T2,)),
    "fireants": _fireants("CC, OASIS script", "cc oasis"),
    "fireants-quick": _fireants("CC, quick start", "cc quickstart"),
    "fireants-mi": _fireants("MI", "mi quickstart", (T2,)),
}


def chosen(names: str | None, contrast: str) -> list[str]:
    """The systems to run.

    :param names: comma-separated, or None for all that take part by default.
    :raises SystemExit: a name that is not known, or not for this contrast.
    """
    if names is None:
        return [name for name, system in SYSTEMS.items() if contrast in system.contrasts and system.by_default]
    asked = names.split(",")
    for name in asked:
        if name not in SYSTEMS or contrast not in SYSTEMS[name].contrasts:
            fitting = ", ".join(key for key, system in SYSTEMS.items() if contrast in system.contrasts)
            raise SystemExit(f"bench.py: error: no system {name!r} for --contrast {contrast}; there are {fitting}.")
    return asked
