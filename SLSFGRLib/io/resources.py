"""Find the bundled files: weights, template, recipes, label table."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import InputError

# The bundled models: the one that segments and registers, one for images of different modalities, and the one that
# finds the brain.
SEGMENTATION_MODEL = "sl_sfgr"
MULTIMODAL = "multimodal"
BRAIN_EXTRACTION = "brain_extraction"
# The population template, which is no network but lies in the same folder.
TEMPLATE = "template"
# The word for the bundled standard brain, where a fixed image is asked for.
STANDARD_BRAIN = "mni152"


def resource_path(*parts: str) -> Path:
    """Return the path of a file under ``Resources``.

    In an installed library the folder lies inside it; in a source checkout it lies beside it.
    """
    library = Path(__file__).resolve().parents[1]
    installed = library / "Resources"
    return (installed if installed.is_dir() else library.parent / "Resources").joinpath(*parts)


def model_path(name: str) -> Path:
    """Return the path of a bundled model or of the template."""
    return resource_path("Models", f"{name}.pt")


def standard_brain_path() -> Path:
    """Return the path of the standard brain: MNI152, T1, 1 mm, without the skull."""
    return resource_path("StandardBrain", f"{STANDARD_BRAIN}.nii.gz")


def image_path(name: Path) -> Path:
    """Return the path of an image that a user names: a file's own, or that of the standard brain for its word."""
    return standard_brain_path() if str(name) == STANDARD_BRAIN and not name.exists() else name


def require_intact(path: Path) -> str:
    """Check a bundled file against its SHA-256, which lies beside it as `sha256sum` writes it, and return that.

    :raises InputError: the file is damaged.
    """
    expected = path.with_suffix(".pt.sha256").read_text(encoding="ascii").split()[0]
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise InputError(f"{path}: is damaged; install SLSFGR again.")
    return expected


def can_segment() -> bool:
    """Return whether the weights of the segmentation model are installed; this needs no torch."""
    return model_path(SEGMENTATION_MODEL).is_file()


def can_find_brains() -> bool:
    """Return whether the weights of brain extraction are installed; this needs no torch."""
    return model_path(BRAIN_EXTRACTION).is_file()
