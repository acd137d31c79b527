"""Reading models: those that ship, those that a user has trained, and the system that needs no training.

A file holds settings and weights and no code; what it says of itself is checked before it is used.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from ..errors import InputError
from ..io.resources import MULTIMODAL, SEGMENTATION_MODEL, model_path, require_intact
from ..preprocessing import PREPARATION
from .model import FORMAT, Model, ModelSettings, structures_of

# The network that is of use without training.
LEARNS_ON_A_PAIR = "li_fan"


def load_model(name: str) -> Model:
    """The model in a file, one that ships, or the system that learns on each pair.

    :param name: of a file, ``sl_sfgr``, ``multimodal`` or ``li_fan``; a file of this name goes first.
    :raises InputError: there is none of this name, or the file holds no model that this version can use.
    """
    path = Path(name)
    if path.is_file():
        return _read(path)
    if name == LEARNS_ON_A_PAIR:
        return Model.untrained(name)
    if name in (SEGMENTATION_MODEL, MULTIMODAL):
        return _shipped(name)
    names = f"{SEGMENTATION_MODEL}, {MULTIMODAL} or {LEARNS_ON_A_PAIR}"
    raise InputError(f"{name}: there is no such model file; give one, {names}.")


def default_model() -> Model:
    """The model that segments, which ships.

    :raises InputError: this installation has none, or a damaged one.
    """
    return _shipped(SEGMENTATION_MODEL)


def _shipped(name: str) -> Model:
    path = model_path(name)
    if not path.is_file():
        raise InputError(
            f"this installation has no trained weights of the model {name!r}; train one and give it with --model."
        )
    return _checked(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _checked(path: Path, _changed: int) -> Model:
    """The model in a file that ships, read once in a session: a batch or a console registers many pairs."""
    require_intact(path)
    return _read(path)


def _read(path: Path) -> Model:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a file of another kind torch's reader may stumble in any way
        raise InputError(f"{path}: is not a model file; give one that slsfgr train wrote.") from error
    return _model_from(content, path)


def _model_from(content: object, path: Path) -> Model:
    if not isinstance(content, dict) or not {"format", "name", "settings", "weights"} <= content.keys():
        raise InputError(f"{path}: is not a model file; give one that slsfgr train wrote.")
    if content["format"] != FORMAT:
        raise InputError(f"{path}: has format {content['format']}, this version reads {FORMAT}; update slsfgr.")
    try:
        settings = ModelSettings(**content["settings"])
        settings = replace(settings, level_weights=tuple(settings.level_weights))
        network = settings.build()
        network.load_state_dict(content["weights"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its settings and weights do not fit together; train it again.") from error
    # Models of the first versions do not say.
    if content.get("preparation", PREPARATION) != PREPARATION:
        raise InputError(f"{path}: learned from images that were prepared in another way; train it again.")
    if content.get("structures", structures_of(network)) != structures_of(network):
        raise InputError(f"{path}: finds other structures than those in Resources/labels.csv; train it again.")
    return Model(content["name"], settings, network, hashlib.sha256(path.read_bytes()).hexdigest())
