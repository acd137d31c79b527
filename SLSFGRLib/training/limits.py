"""What a recipe may say: the type and the limits of every entry, and which entries contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Annotated, Any, Literal, get_type_hints

import torch

from ..errors import InputError
from ..losses import MEASURES
from ..losses.label_overlap import LABEL_MEASURES
from ..losses.multiresolution import RESOLUTIONS
from ..losses.regularisation import PENALTIES
from ..models.model import FACTORS, NETWORKS, ModelSettings
from ..networks import BrainExtractionNetwork, SLSFGRNetwork
from ..synthesis import Synthesis
from ..synthesis.tissue_contrasts import channel_count
from .sections import METHODS, SECTIONS, Data, Schedule, Supervision, WeakSupervision

try:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
except ModuleNotFoundError as error:
    raise InputError("training needs the package pydantic; install it: pip install 'slsfgr[train]'.") from error

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegativeInt = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _list_of(kind: Any, **limits: int) -> Any:  # noqa: ANN401
    """Return the type of a list in TOML, which is a tuple in a section."""
    return Annotated[tuple[kind, ...], Field(strict=False, **limits)]


# Limits of entries. Numbers that are not listed must be 0 or more, see OTHERS.
LIMITS: dict[str, dict[str, Any]] = {
    "model": {
        "network": Literal[*NETWORKS],
        "factor": Literal[*FACTORS],
        "similarity": Literal[*MEASURES],
        "penalty": Literal[*PENALTIES],
        "level_weights": _list_of(NotNegative, min_length=RESOLUTIONS, max_length=RESOLUTIONS),
        "pyramid": _list_of(Literal[*FACTORS]),
        "rounds": Count,
        "pair_learning_rate": Positive,
    },
    "synthesis": {field.name: Fraction for field in fields(Synthesis) if field.name.endswith("_chance")},
    "supervision": {
        "shape": _list_of(Count, min_length=3, max_length=3),
        "label_fraction": Fraction,
        "real_share": Fraction,
        "real_pairs": Fraction,
        "full_resolution_share": Fraction,
    },
    "weak_supervision": {
        "label_measure": Literal[*LABEL_MEASURES],
        "scales": _list_of(NotNegative, min_length=1),
        "labels_per_step": Count,
        "images": Count,
    },
    "training": {
        "method": Literal[*METHODS],
        "steps": Count,
        "batch": Count,
        "learning_rate": Positive,
        "validate_every": Count,
    },
}
OTHERS = {
    float: NotNegative,
    int: NotNegativeInt,
    tuple[str, ...]: _list_of(str),
}
# Pydantic's words, and what they are in a TOML file.
WORDS = {"Input should": "must", "Tuple should": "must", "tuple": "list", "string": "text", " after validation": ""}


def parse(content: dict[str, Any]) -> dict[str, Any]:
    """Convert the tables of a recipe to its sections.

    :raises InputError: names every entry that is unknown, of a wrong type or outside its limits.
    """
    try:
        values = _RECIPE.model_validate(content).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise InputError("; ".join(_sentence(detail) for detail in _distinct(error.errors())) + ".") from error
    return {name: SECTIONS[name](**value) if name in SECTIONS else value for name, value in values.items()}


def check(sections: dict[str, Any]) -> None:
    """Refuse a recipe that cannot be followed.

    :raises InputError: names every entry that is outside its limits; or else all that contradict each other.
    """
    parse({name: asdict(section) for name, section in sections.items()})
    problems = list(_contradictions(**sections))
    if problems:
        raise InputError("; ".join(problems) + ".")


def _distinct(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the length of a list of which single items are refused: pydantic counts the others."""
    deeper = {detail["loc"][:-1] for detail in details}
    return [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in deeper]


def _sentence(detail: dict[str, Any]) -> str:
    """Return a problem that pydantic found in plain words, such as ``model.factor: must be 1, 2, 4 or 8, not 3``."""
    loc, kind, words = detail["loc"], detail["type"], detail["msg"]
    place = ".".join(map(str, loc))
    if kind == "extra_forbidden":
        section = _RECIPE if len(loc) == 1 else _RECIPE.model_fields[loc[0]].annotation
        return f"{place}: is unknown; allowed: {', '.join(section.model_fields)}"
    if kind == "model_type":
        words = "must be a table"
    for word, plain in WORDS.items():
        words = words.replace(word, plain)
    return f"{place}: {words}" if kind.startswith("too_") else f"{place}: {words}, not {detail['input']!r}"


def _contradictions(
    model: ModelSettings,
    data: Data,
    synthesis: Synthesis,
    supervision: Supervision,
    weak_supervision: WeakSupervision,
    training: Schedule,
    **_: Any,  # noqa: ANN401
) -> Iterator[str]:
    try:
        with torch.device("meta"):  # neither memory nor random numbers are used
            network = model.build()
    except InputError as error:
        yield f"model: {str(error).rstrip('.')}"
        return
    for part in training.frozen:
        if not isinstance(getattr(network, part, None), torch.nn.Module):
            known = ", ".join(name for name, _ in network.named_children())
            yield f"training.frozen: the network has no part {part!r}; use some of {known}"
    method, multiple = training.method, network.size_multiple
    uses_shape = method in ("semi_supervised", "brain_extraction") or (
        method == "weakly_supervised" and data.training_maps
    )
    if uses_shape and any(size % multiple for size in supervision.shape):
        yield f"supervision.shape: must be three multiples of {multiple}, not {list(supervision.shape)}"
    if not any(value for name, value in asdict(synthesis).items() if name.endswith("_share")):
        yield "synthesis: one of the shares of contrasts must be above 0"
    if method == "semi_supervised":
        yield from _semi_supervised(model, network, supervision, training)
    if (method == "brain_extraction") != isinstance(network, BrainExtractionNetwork):
        yield f"model.network: {model.network!r} cannot be trained by {method}"
    if method == "weakly_supervised":
        yield from _weakly_supervised(model, data, weak_supervision)


def _semi_supervised(
    model: ModelSettings, network: torch.nn.Module, supervision: Supervision, training: Schedule
) -> Iterator[str]:
    if not isinstance(network, SLSFGRNetwork):
        yield f"model.network: {model.network!r} cannot be trained by semi_supervised; use sl_sfgr"
        return
    structures = channel_count() - 1
    if network.segmenter is not None and network.structures != structures:
        yield f"model.network_options: structures must be {structures}, as in the label table"
    if supervision.segmentation_steps > 0 and {"encoder", "segmenter"} <= set(training.frozen):
        yield "supervision.segmentation_steps: must be 0 while encoder and segmenter are frozen"


def _weakly_supervised(model: ModelSettings, data: Data, weak: WeakSupervision) -> Iterator[str]:
    if bool(data.training_cases) == bool(data.training_maps):
        which = "both" if data.training_cases else "neither"
        yield f"data: has {which} training_cases and training_maps; give one of the two"
    if weak.feature_steps and not weak.feature_weight:
        yield "weak_supervision.feature_steps: must be 0 while feature_weight is 0"
    if weak.label_weight + weak.similarity_weight == 0:
        yield "weak_supervision: one of label_weight and similarity_weight must be above 0"
    if model.pair_steps:
        yield "model.pair_steps: must be 0 for weakly_supervised: instance optimisation has no labels to train on"


def _section(name: str) -> type[BaseModel]:
    """Return the model of a section that checks the types and limits of its entries."""
    hints, limits = get_type_hints(SECTIONS[name]), LIMITS.get(name, {})
    entries = {entry: (limits.get(entry, OTHERS.get(hint, hint)), None) for entry, hint in hints.items()}
    return create_model(name, __config__=_CONFIG, **entries)


_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_RECIPE = create_model(
    "recipe", __config__=_CONFIG, name=(str, None), **{name: (_section(name), None) for name in SECTIONS}
)
