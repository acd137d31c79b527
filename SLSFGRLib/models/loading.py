"""Load models: the bundled ones, those that a user has trained, and the system that needs no training.

A file holds settings and weights, no code; its contents are checked before use.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from ..errors import InputError
from ..io.resources import (
    BRAIN_EXTRACTION,
    MULTIMODAL,
    SEGMENTATION_MODEL,
    can_find_brains,
    model_path,
    require_intact,
)
from ..preprocessing import PREPARATION
from .model import FORMAT, UNTRAINED_SYSTEM, Model, ModelSettings, structures_of


def load_model(name: str) -> Model:
    """Load a model file, a bundled model, or the untrained system for instance optimisation.

    :param name: of a file, ``sl_sfgr``, ``multimodal`` or ``li_fan``; a file of this name takes precedence.
    :raises InputError: there is none of this name, or the file holds no model that this version can use.
    """
    path = Path(name)
    if path.is_file():
        return _read(path)
    if name == UNTRAINED_SYSTEM:
        return Model.untrained()
    if name in (SEGMENTATION_MODEL, MULTIMODAL):
        return _bundled(name)
    names = f"{SEGMENTATION_MODEL}, {MULTIMODAL} or {UNTRAINED_SYSTEM}"
    raise InputError(f"{name}: there is no such model file; give one, {names}.")


def default_model() -> Model:
    """Load the bundled model that segments.

    :raises InputError: this installation has none, or its file is damaged.
    """
    return _bundled(SEGMENTATION_MODEL)


def brain_extraction_model() -> Model | None:
    """Load the bundled model that finds the brain; None if this installation has none.

    :raises InputError: its file is damaged.
    """
    return _bundled(BRAIN_EXTRACTION) if can_find_brains() else None


def brain_network(device: torch.device) -> torch.nn.Module | None:
    """Return the network of the bundled model that finds the brain, on a device; None if there is none."""
    model = brain_extraction_model()
    return model.copy_of_network(device) if model else None


def _bundled(name: str) -> Model:
    path = model_path(name)
    if not path.is_file():
        raise InputError(
            f"this installation has no trained weights of the model {name!r}; train one and give it with --model."
        )
    return _checked(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=3)
def _checked(path: Path, _changed: int) -> Model:
    """Read a bundled model; once in a session, since a batch or a console registers many pairs."""
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
        settings = _settings(content["settings"])
        network = _network(settings, content["weights"])
        others = _network(settings, content["other_contrasts"]) if "other_contrasts" in content else None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its settings and weights do not fit together; train it again.") from error
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model = Model(content["name"], settings, network, sha256, content.get("version", "unknown"), others)
    # Files of the first versions lack these two entries.
    if content.get("preparation", PREPARATION) != PREPARATION:
        raise InputError(f"{path}: was trained on images that were prepared in another way; train it again.")
    if content.get("structures", structures_of(model)) != structures_of(model):
        raise InputError(f"{path}: finds other structures than those in Resources/labels.csv; train it again.")
    return model


def _network(settings: ModelSettings, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
    network = settings.build()
    network.load_state_dict(weights)
    return network


def _settings(content: dict) -> ModelSettings:
    """Return the settings in a file; files of version 0.1.0 do not say from which spacing on a field is refined."""
    content = dict(content)
    content.setdefault("refine_from_mm", 4.0 if content.get("network") == "sl_sfgr" else ModelSettings.refine_from_mm)
    settings = ModelSettings(**content)
    return replace(settings, level_weights=tuple(settings.level_weights), pyramid=tuple(settings.pyramid))
