"""What a user may choose of a registration. Needs no torch, so that ``--help`` answers at once."""

from __future__ import annotations

MODES = ("fast", "standard", "accurate")
DEFAULT_MODE = "standard"
# The kinds of transform to find; "auto" chooses between the second and the last by the images.
AUTO, RIGID, AFFINE, DEFORMABLE = TRANSFORMS = ("auto", "rigid", "affine", "deformable")
