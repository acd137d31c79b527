"""Finding the files that ship with the library: weights, recipes, tables."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import InputError

# The models that ship.
SEGMENTS = "sl_sfgr"
MULTIMODAL = "multimodal"
# What stands beside them: no network.
MEAN_BRAIN = "mean_brain"


def resource_path(*parts: str) -> Path:
    """The path of a file under ``Resources``.

    An installed library carries the folder inside itself; in a source checkout it lies beside the library.
    """
    library = Path(__file__).resolve().parents[1]
    installed = library / "Resources"
    return (installed if installed.is_dir() else library.parent / "Resources").joinpath(*parts)


def model_path(name: str) -> Path:
    """The file of a model that ships, or of the mean brain."""
    return resource_path("Models", f"{name}.pt")


def require_intact(path: Path) -> None:
    """Refuse a file that ships and is not what it was when it was made.

    Its SHA-256 is noted beside it, as `sha256sum` writes it.

    :raises InputError: it is damaged.
    """
    expected = path.with_suffix(".pt.sha256").read_text(encoding="ascii").split()[0]
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise InputError(f"{path}: is damaged; install SLSFGR again.")


def can_segment() -> bool:
    """Whether the weights of the network that segments are installed. Needs no torch."""
    return model_path(SEGMENTS).is_file()
