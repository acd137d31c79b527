"""Recipes: TOML files that say what to train, on which images, and for how long."""

from __future__ import annotations

import glob
import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, TypeVar

from ..errors import InputError
from ..losses.label_overlap import SCALES
from ..models.model import ModelSettings
from ..synthesis import Synthesis

Section = TypeVar("Section")


@dataclass(frozen=True)
class Data:
    """Which images there are.

    :param training: file names or patterns, relative to the recipe; ``${NAME}`` is an environment variable.
    :param validation: likewise; these images are only ever looked at to choose the best weights.
    :param training_maps: label maps, from which images are made; for methods that learn from labels.
    :param validation_maps: likewise, for choosing the best weights.
    :param training_cases: pairs of images with corresponding labels: tables (.csv) or folders, see
        :mod:`SLSFGRLib.training.data.case_files`.
    :param validation_cases: likewise, for choosing the best weights.
    :param align_cases: bring each case's moving image to the fixed one by an affine alignment first; false where the
        two lie in space as they should, as tracked ultrasound does.
    """

    training: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    training_maps: tuple[str, ...] = ()
    validation_maps: tuple[str, ...] = ()
    training_cases: tuple[str, ...] = ()
    validation_cases: tuple[str, ...] = ()
    align_cases: bool = True


@dataclass(frozen=True)
class Augmentation:
    """How each image is changed at random, each time it is used.

    :param rotation_degrees: largest rotation about each axis.
    :param scale: largest relative change of length along each axis.
    :param shift_mm: largest shift along each axis.
    :param deformation_mm: standard deviation of a smooth random deformation.
    :param gamma: largest change of the logarithm of the exponent of the intensities.
    """

    rotation_degrees: float = 5.0
    scale: float = 0.05
    shift_mm: float = 4.0
    deformation_mm: float = 3.0
    gamma: float = 0.2


@dataclass(frozen=True)
class Supervision:
    """What a semi-supervised method learns from.

    :param shape: of the grid on which images are made and learned, in voxels.
    :param label_fraction: the share of the training maps whose labels may be seen; of the others, images alone. Below
        1, both images of a pair have the same contrast: without labels two of unlike contrasts cannot be compared.
    :param segmentation_steps: so many steps at the start learn the segmentation of single images only; they are
        left out where there are no labels, or no segmentation branch.
    :param rarity: how much more a voxel of a small structure counts in these steps; 0 not at all, 1 as much as the
        structure is smaller. A new network needs about 0.5 to see the small ones; later 0 is best.
    :param overlap: what the overlap counts beside the cross-entropy, in these steps and later; also that with labels
        carried over. A new network needs about 1; once it segments, little of it keeps the structures' sizes right.
    :param real_share: the share of these steps that learn from the training images, T1 brains without skull, to which
        the maps' labels are carried over by registration before the training begins.
    :param real_pairs: the share of pairs that are drawn from the training images, which have no labels.
    :param pseudo_steps: over so many steps what is learned without labels comes to count in full.
    """

    shape: tuple[int, ...] = (80, 96, 80)
    label_fraction: float = 1.0
    segmentation_steps: int = 0
    rarity: float = 0.5
    overlap: float = 1.0
    real_share: float = 0.0
    real_pairs: float = 0.2
    pseudo_steps: int = 500


@dataclass(frozen=True)
class WeakSupervision:
    """What a weakly supervised method learns from; images made from label maps have the shape of ``supervision``.

    :param label_measure: a name in :data:`SLSFGRLib.losses.label_overlap.LABEL_MEASURES`.
    :param scales: of the Gaussians by which labels are blurred before they are compared, in voxels.
    :param label_weight: what the labels' unlikeness counts; 0 learns from intensities alone.
    :param feature_weight: what it counts that features tell labels by the other image's, see
        :mod:`SLSFGRLib.losses.prototypes`.
    :param feature_steps: so many steps at the start learn the features alone, which takes a third of the time.
    :param labels_per_step: how many pairs of labels are drawn at each step; the paper has one for each case.
    :param images: so many are made from label maps, to be paired over and over.
    :param similarity_weight: what the unlikeness of intensities counts, the model's ``similarity``.
    """

    label_measure: str = "dice"
    scales: tuple[float, ...] = SCALES
    label_weight: float = 1.0
    feature_weight: float = 0.0
    feature_steps: int = 0
    labels_per_step: int = 1
    images: int = 256
    similarity_weight: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """How, how long and how fast to train.

    :param method: a name in :data:`SLSFGRLib.training.trainer.METHODS`.
    :param start: a model file with the first weights, relative to the recipe; empty for random ones.
    :param frozen: parts of the network that keep the weights of ``start``, such as ``encoder`` and ``segmenter``.
    :param dynamic_weights: weigh the losses by dynamic weight averaging.
    :param seed: decides the first weights, the order of the pairs and every random change.
    :param steps: pairs to learn from.
    :param learning_rate: of Adam at the start; it falls to nothing along a cosine.
    :param validate_every: steps between two looks at the validation pairs, each with a checkpoint.
    """

    method: str = "self_supervised"
    start: str = ""
    frozen: tuple[str, ...] = ()
    dynamic_weights: bool = False
    seed: int = 0
    steps: int = 2000
    learning_rate: float = 3e-4
    validate_every: int = 100


@dataclass(frozen=True)
class Recipe:
    """All that a training run needs to know."""

    SECTIONS: ClassVar[dict[str, type]] = {
        "model": ModelSettings,
        "data": Data,
        "augmentation": Augmentation,
        "synthesis": Synthesis,
        "supervision": Supervision,
        "weak_supervision": WeakSupervision,
        "training": Schedule,
    }

    name: str
    folder: Path
    model: ModelSettings = field(default_factory=ModelSettings)
    data: Data = field(default_factory=Data)
    augmentation: Augmentation = field(default_factory=Augmentation)
    synthesis: Synthesis = field(default_factory=Synthesis)
    supervision: Supervision = field(default_factory=Supervision)
    weak_supervision: WeakSupervision = field(default_factory=WeakSupervision)
    training: Schedule = field(default_factory=Schedule)

    def files(self, part: str) -> list[Path]:
        """The files of a part of :class:`Data`, in alphabetical order.

        :raises InputError: a pattern matches no file.
        """
        found: list[Path] = []
        for pattern in getattr(self.data, part):
            matches = sorted(glob.glob(_expanded(pattern), root_dir=self.folder))
            if not matches:
                raise InputError(f"{pattern}: no file matches this pattern of [data] {part}; correct it in the recipe.")
            found += [self.folder / match for match in matches]
        return found


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    :raises InputError: the file is missing or not TOML, or holds something that no recipe has.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such recipe; check the name.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a TOML file: {error}.") from error
    sections = Recipe.SECTIONS
    unknown = content.keys() - sections.keys() - {"name"}
    if unknown:
        raise InputError(f"{path}: has an unknown entry {sorted(unknown)[0]!r}; allowed: {', '.join(sections)}.")
    parts = {name: _section(kind, content.get(name, {}), f"{path}: [{name}]") for name, kind in sections.items()}
    name = _like(content.get("name", path.stem), "", f"{path}: name")
    return Recipe(name=name, folder=path.resolve().parent, **parts)


def _section(kind: type[Section], values: object, place: str) -> Section:
    """Build one part of a recipe from its table, with every value of the type of its default."""
    if not isinstance(values, dict):
        raise InputError(f"{place}: must be a table.")
    defaults = {item.name: getattr(kind(), item.name) for item in fields(kind)}
    for name in values:
        if name not in defaults:
            raise InputError(f"{place}: has an unknown entry {name!r}; allowed: {', '.join(defaults)}.")
    return kind(**{name: _like(value, defaults[name], f"{place}: {name}") for name, value in values.items()})


def _like(value: object, default: object, place: str) -> object:
    """The value, turned into the type of the default where nothing is lost."""
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(_like(item, default[0] if default else "", place) for item in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool):
        return value
    raise InputError(f"{place}: {value!r} is not of the kind {type(default).__name__}.")


def _expanded(pattern: str) -> str:
    for name in re.findall(r"\$\{(\w+)\}", pattern):
        if name not in os.environ:
            raise InputError(f"{pattern}: the environment variable {name} is not set; set it to the data's folder.")
        pattern = pattern.replace(f"${{{name}}}", glob.escape(os.environ[name]))
    return pattern
