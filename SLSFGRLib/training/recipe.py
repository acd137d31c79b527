"""Recipes: TOML files that say what to train, on which images, and for how long."""

from __future__ import annotations

import glob
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..models.model import ModelSettings
from ..synthesis import Synthesis
from .sections import SECTIONS, Augmentation, Data, Schedule, Supervision, WeakSupervision


@dataclass(frozen=True)
class Recipe:
    """A training run's model, data and schedule.

    :raises InputError: names every entry that is outside its limits or contradicts another.
    """

    name: str
    folder: Path
    model: ModelSettings = field(default_factory=ModelSettings)
    data: Data = field(default_factory=Data)
    augmentation: Augmentation = field(default_factory=Augmentation)
    synthesis: Synthesis = field(default_factory=Synthesis)
    supervision: Supervision = field(default_factory=Supervision)
    weak_supervision: WeakSupervision = field(default_factory=WeakSupervision)
    training: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        from .limits import check  # needs pydantic, which reading and building recipes alone does

        check({name: getattr(self, name) for name in SECTIONS})

    def files(self, part: str) -> list[Path]:
        """Return the files of a part of :class:`Data`, in alphabetical order for each pattern.

        :raises InputError: a pattern matches no file.
        """
        found: list[Path] = []
        for pattern in getattr(self.data, part):
            matches = sorted(glob.glob(_expand(pattern), root_dir=self.folder))
            if not matches:
                raise InputError(f"{pattern}: no file matches this pattern of [data] {part}; correct it in the recipe.")
            found += [self.folder / match for match in matches]
        return found


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    :raises InputError: the file is missing or not TOML, or names every mistake in it.
    """
    from .limits import parse

    if not path.is_file():
        raise InputError(f"{path}: there is no such recipe; check the name.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a TOML file: {error}.") from error
    try:
        return Recipe(**{"name": path.stem} | parse(content), folder=path.resolve().parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def refuse_common_files(training: list[Path], validation: list[Path]) -> None:
    """Refuse a file that is used for both training and validation.

    :raises InputError: there is one.
    """
    both = {file.resolve() for file in training} & {file.resolve() for file in validation}
    if both:
        raise InputError(f"{min(both)}: is used for both training and validation; remove it from one of them.")


def _expand(pattern: str) -> str:
    """Replace environment variables in a pattern."""
    for name in re.findall(r"\$\{(\w+)\}", pattern):
        if name not in os.environ:
            raise InputError(f"{pattern}: the environment variable {name} is not set; set it to the data's folder.")
        pattern = pattern.replace(f"${{{name}}}", glob.escape(os.environ[name]))
    return pattern
