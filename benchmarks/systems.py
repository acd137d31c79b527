"""The systems that are compared: our modes and the peers, each with the settings of its own documentation.

docs/benchmarks.md says where each setting comes from.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from .data import ROOT, Brain, KnownPair, Pair, PatientPair

PEERS = Path(__file__).parent / "peers"
SAME, T2 = "same", "t2"
CONTRASTS = (SAME, T2)


@dataclass(frozen=True)
class System:
    """A program that registers a pair or segments a brain.

    :param script: file in ``peers``, or None for our own command.
    :param options: of the script or command.
    :param reader: how its transform is read, see ``score.read_transform``.
    :param contrasts: the contrasts of the ten pairs that it is run on by default.
    :param checkout: the copy of this repository that our own command is taken from.
    """

    script: str | None
    options: str
    reader: str = "itk"
    contrasts: tuple[str, ...] = (SAME,)
    checkout: Path = ROOT

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the process needs."""
        return {} if self.script else {"PYTHONPATH": str(self.checkout)}

    def command(self, case: Pair | Brain | KnownPair | PatientPair, output: Path) -> list[str]:
        """Return the command line that does one case and writes into an existing folder."""
        if self.script:
            words = [str(PEERS / self.script), str(case.fixed), str(case.moving), str(output)]
        else:
            # -P: what is in the working directory is not imported in place of the checkout.
            words = ["-P", "-m", "SLSFGRLib", *case.words(output), "--quiet"]
        return [sys.executable, *words, *shlex.split(self.options)]


SYSTEMS = {
    "slsfgr": System(None, "", contrasts=()),
    "slsfgr-fast": System(None, "--mode fast", contrasts=CONTRASTS),
    "slsfgr-standard": System(None, "--mode standard", contrasts=CONTRASTS),
    "slsfgr-accurate": System(None, "--mode accurate", contrasts=CONTRASTS),
    # The affine part of what "fast" finds.
    "affine": System(None, "--mode fast", "affine", ()),
    "ants-syn": System("ants_syn.py", "SyN", "ants", CONTRASTS),
    "ants-quick": System("ants_syn.py", "antsRegistrationSyNQuick[s]", "ants", CONTRASTS),
    "ants-syncc": System("ants_syn.py", "SyNCC", "ants", CONTRASTS),
    "ants-full": System("ants_syn.py", "antsRegistrationSyN[s]", "ants", ()),
    "greedy": System("greedy_ncc.py", "-m NCC 2x2x2", "greedy"),
    "greedy-2-05": System("greedy_ncc.py", "-m NCC 2x2x2 -s 2vox 0.5vox", "greedy"),
    "greedy-3-1": System("greedy_ncc.py", "-m NCC 2x2x2 -s 3vox 1vox", "greedy"),
    "greedy-sv": System("greedy_ncc.py", "-m WNCC 2x2x2 -sv", "greedy"),
    "greedy-nmi": System("greedy_ncc.py", "--affine NMI -m NMI", "greedy", (T2,)),
    "ants-rigid": System("ants_rigid.py", "", "ants_rigid", ()),
    "greedy-rigid": System("greedy_rigid.py", "NMI", "greedy_rigid", ()),
    "elastix": System("elastix_bspline.py", "default", contrasts=CONTRASTS),
    "elastix-par0035": System("elastix_bspline.py", "par0035", contrasts=CONTRASTS),
    "convex-adam": System("convex_adam.py", "", "convex_adam"),
    "convex-adam-t2": System("convex_adam.py", "--affine NMI", "convex_adam", (T2,)),
    # They need a checkout of LapIRN.
    "lapirn-diff": System("lapirn.py", "diff", "lapirn", ()),
    "lapirn-disp": System("lapirn.py", "disp", "lapirn", ()),
    "fireants": System("fireants_greedy.py", "cc oasis", "fireants"),
    "fireants-quick": System("fireants_greedy.py", "cc quickstart", "fireants"),
    "fireants-mi": System("fireants_greedy.py", "mi quickstart", "fireants", (T2,)),
}


def system(specification: str) -> System:
    """Return a system by the words that the user has given.

    :param specification: ``NAME[@CHECKOUT] [OPTION ...]``: a key of :data:`SYSTEMS`; for ours, another checkout of
        this repository to run, without spaces in its path; further options.
    :raises SystemExit: there is no such system or checkout.
    """
    place, _, options = specification.partition(" ")
    name, _, checkout = place.partition("@")
    if name not in SYSTEMS:
        raise SystemExit(f"error: there is no system {name!r}; use some of {', '.join(SYSTEMS)}.")
    listed = SYSTEMS[name]
    if checkout and (listed.script or not (Path(checkout) / "SLSFGRLib").is_dir()):
        raise SystemExit(f"error: {place}: after @ give, for a mode of SLSFGR, a folder that holds SLSFGRLib.")
    folder = Path(checkout).resolve() if checkout else ROOT
    return replace(listed, options=f"{listed.options} {options}", checkout=folder)
