"""Models: a network together with all that is needed to use it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..io.label_table import read_label_table
from ..losses.multiresolution import MultiResolutionObjective
from ..networks import CompositeNetwork, GlobalNetwork, LiFanNetwork, LocalNetwork, SLSFGRNetwork
from ..preprocessing import FINEST_SPACING, PREPARATION, PreparedImage
from ..registration.deformable import Level
from ..registration.instance_optimisation import PairLearning, learn_pair
from ..spatial.fields import downsample, pad_to_multiple, resize_field
from ..spatial.warping import AffineWarper
from ..version import VERSION

FORMAT = 1
NETWORKS = {
    "li_fan": LiFanNetwork,
    "sl_sfgr": SLSFGRNetwork,
    "hu": CompositeNetwork,
    "hu_local": LocalNetwork,
    "hu_global": GlobalNetwork,
}
# The sizes of prepared images are multiples of each of these.
FACTORS = (1, 2, 4, 8)
# What each mode multiplies the steps of learning on the pair with.
EFFORT = {"fast": 0.0, "standard": 1.0, "accurate": 3.0}


@dataclass(frozen=True)
class ModelSettings:
    """All of a model but its weights.

    :param network: a name in :data:`NETWORKS`.
    :param network_options: its constructor's arguments.
    :param factor: how many mm, voxels of the finest working grid, make one voxel of the network's.
    :param similarity: the measure, a name in :data:`SLSFGRLib.losses.MEASURES`.
    :param penalty: a name in :data:`SLSFGRLib.losses.regularisation.PENALTIES`.
    :param roughness: the penalty's weight.
    :param level_weights: of the resolutions, coarse to fine.
    :param pair_steps: steps of learning on the pair in standard mode; with 0 the field is refined instead.
    :param pair_learning_rate: their learning rate.
    """

    network: str = "li_fan"
    network_options: dict = field(default_factory=lambda: {"channels": [16, 32, 64], "diffeomorphic": True})
    factor: int = 2
    similarity: str = "lncc"
    penalty: str = "gradient"
    roughness: float = 0.1
    level_weights: tuple[float, ...] = (0.3, 0.6, 1.0)
    pair_steps: int = 100
    pair_learning_rate: float = 1e-3

    def objective(self) -> MultiResolutionObjective:
        """What the model minimises."""
        return MultiResolutionObjective.from_names(self.similarity, self.penalty, self.roughness, self.level_weights)

    def factor_for(self, spacing: float) -> int:
        """How many voxels of an image prepared at a spacing in mm come nearest to one of the network's.

        Coarse images are not prepared at the finest spacing.
        """
        wanted = self.factor * FINEST_SPACING
        return min(FACTORS, key=lambda factor: abs(math.log(factor * spacing / wanted)))

    def build(self) -> torch.nn.Module:
        """A network with fresh weights.

        :raises InputError: there is no such network, or it does not take these options, or the factor is none.
        """
        if self.factor not in FACTORS:
            raise InputError(f"factor: must be one of {', '.join(map(str, FACTORS))}, not {self.factor}.")
        if self.network not in NETWORKS:
            raise InputError(f"network {self.network!r}: there is none of this name; use {', '.join(NETWORKS)}.")
        try:
            return NETWORKS[self.network](**self.network_options)
        except TypeError as error:
            raise InputError(f"network {self.network!r}: does not take these options: {error}.") from error


@dataclass(frozen=True)
class Model:
    """A network that is ready to register pairs.

    :param name: for the report.
    :param sha256: of the file it was read from; None for a network without training.
    """

    name: str
    settings: ModelSettings
    network: torch.nn.Module
    sha256: str | None = None

    @classmethod
    def untrained(cls, name: str) -> Model:
        """A system that learns on each pair from scratch; always from the same random weights."""
        settings = ModelSettings(network=name)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return cls(name, settings, settings.build())

    @property
    def is_trained(self) -> bool:
        """Whether the network has learned anything before it meets the pair."""
        return self.sha256 is not None

    @property
    def learns_on_pairs(self) -> bool:
        """Whether the network goes on learning on the pair in all modes but fast."""
        return self.settings.pair_steps > 0

    def refining(self, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        """The levels of direct optimisation that are finer than the network's field; at least the last.

        The coarser ones would lose what the network has found.
        """
        spacing = self.settings.factor * FINEST_SPACING * getattr(self.network, "field_factor", 1)
        return tuple(level for level in levels if level.spacing < spacing) or levels[-1:]

    def segmenter(self) -> SLSFGRNetwork:
        """A copy of the network, for segmenting.

        :raises InputError: it is of a kind that does not segment.
        """
        if getattr(self.network, "segmenter", None) is None:
            raise InputError(f"model {self.name!r}: cannot segment; use one of network sl_sfgr.")
        return copy.deepcopy(self.network)

    def description(self) -> dict:
        """Name, version and checksum, for the report."""
        return {"name": self.name, "version": VERSION, "sha256": self.sha256}

    def field(
        self,
        fixed: PreparedImage,
        moving: PreparedImage,
        matrix: np.ndarray,
        mode: str,
        update: Callable[[float], None],
    ) -> torch.Tensor:
        """The field that, followed by the matrix, brings the moving image to the fixed one.

        :param matrix: 4x4, fixed voxels to moving voxels.
        :param mode: ``fast`` is one pass, and so are the others unless the model :attr:`learns_on_pairs`.
        :returns: (1, 3, d, h, w) in voxels of the network's grid.
        :raises InputError: one pass was asked of a network that has not learned anything.
        """
        if mode == "fast" and not self.is_trained:
            raise InputError(f"model {self.name!r}: is untrained, and fast mode does not train; use standard.")
        factor = self.settings.factor_for(float(fixed.grid.spacing.mean()))
        images = downsample(fixed.tensor, factor)
        warper = AffineWarper(moving.tensor, matrix, fixed.grid.shape, factor)
        aligned = warper(torch.zeros(1, 3, *images.shape[2:], device=images.device))
        network = copy.deepcopy(self.network).to(images.device, memory_format=torch.channels_last_3d)
        shape = images.shape[2:]
        aligned, images = (pad_to_multiple(image, network.size_multiple) for image in (aligned, images))
        if mode == "fast" or not self.learns_on_pairs:
            return _cropped(resize_field(network(aligned, images)[-1], images.shape[2:]), shape)
        settings = PairLearning(
            steps=round(EFFORT[mode] * self.settings.pair_steps),
            learning_rate=self.settings.pair_learning_rate,
        )
        return _cropped(learn_pair(network, aligned, images, self.settings.objective(), settings, update)[0], shape)

    def save(self, path: Path) -> None:
        """Write the settings and the weights to a file."""
        content = {
            "format": FORMAT,
            "name": self.name,
            "version": VERSION,
            "settings": asdict(self.settings),
            "preparation": PREPARATION,
            "structures": structures_of(self.network),
            "weights": self.network.state_dict(),
        }
        torch.save(content, path)


def structures_of(network: torch.nn.Module) -> list[str]:
    """The names of the structures that a network finds, in the order of its channels; none if it finds none."""
    names = [structure.name for structure in read_label_table()]
    return names if getattr(network, "segmenter", None) is not None else []


def _cropped(field: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Undo :func:`SLSFGRLib.spatial.fields.pad_to_multiple` for a field in voxels."""
    depth, height, width = shape
    return field[:, :, :depth, :height, :width]
