"""Finding the files that ship with the library: weights, recipes, tables."""

from __future__ import annotations

from pathlib import Path


def resource_path(*parts: str) -> Path:
    """The path of a file under ``Resources``.

    An installed library carries the folder inside itself; in a source checkout it lies beside the library.
    """
    here = Path(__file__).resolve().parent
    inside = here / "Resources"
    return (inside if inside.is_dir() else here.parent / "Resources").joinpath(*parts)


def can_segment() -> bool:
    """Whether the weights of the network that segments are installed. Needs no torch."""
    return resource_path("Models", "sl_sfgr.pt").is_file()
