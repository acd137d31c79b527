"""The modes of a registration: how long it optimises. Needs no torch, so that ``--help`` answers at once."""

from __future__ import annotations

MODES = ("fast", "standard", "accurate")
DEFAULT_MODE = "standard"
