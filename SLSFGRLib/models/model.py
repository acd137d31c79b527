"""A trained network with the settings that are needed to use it."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import torch

from ..errors import InputError
from ..io.label_table import read_label_table
from ..losses.multiresolution import MultiResolutionObjective
from ..networks import (
    BrainExtractionNetwork,
    CompositeNetwork,
    GlobalNetwork,
    LiFanNetwork,
    LocalNetwork,
    SLSFGRNetwork,
)
from ..preprocessing import FINEST_SPACING, PREPARATION
from ..version import VERSION

FORMAT = 1
NETWORKS = {
    "li_fan": LiFanNetwork,
    "sl_sfgr": SLSFGRNetwork,
    "hu": CompositeNetwork,
    "hu_local": LocalNetwork,
    "hu_global": GlobalNetwork,
    "brain_extraction": BrainExtractionNetwork,
}
# The system that needs no training: it uses instance optimisation.
UNTRAINED_SYSTEM = "li_fan"
# Chosen on two pairs of brains that are not in the benchmark (docs/develop/experiments.md).
UNTRAINED_SETTINGS = {
    "network_options": {"channels": [8, 16, 32], "diffeomorphic": True, "forces": True},
    "pyramid": (8, 4, 2, 1),
    "rounds": 8,
    "pair_steps": 3,
}
# The sizes of prepared images are multiples of each of these.
FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True)
class ModelSettings:
    """All of a model but its weights.

    :param network: a name in :data:`NETWORKS`.
    :param network_options: its constructor's arguments.
    :param factor: spacing of the network's images in units of the finest working spacing, which is 1 mm.
    :param pyramid: such factors, from coarse to fine, at which the network is applied in turn, each time to what its
        fields have warped so far; those finer than ``factor`` take no part in training and in ``fast``. With none it is
        applied at ``factor``.
    :param rounds: how often it is applied at each.
    :param similarity: the measure, a name in :data:`SLSFGRLib.losses.MEASURES`.
    :param penalty: a name in :data:`SLSFGRLib.losses.regularisation.PENALTIES`.
    :param roughness: the regularisation weight.
    :param level_weights: of the resolutions, coarse to fine.
    :param pair_steps: steps of instance optimisation in standard mode, in each round; with 0 the field is refined
        instead.
    :param pair_learning_rate: their learning rate.
    :param refine_from_mm: the levels of direct optimisation with a smaller spacing refine the network's field.
    """

    network: str = UNTRAINED_SYSTEM
    network_options: dict = field(default_factory=lambda: {"channels": [16, 32, 64], "diffeomorphic": True})
    factor: int = 2
    pyramid: tuple[int, ...] = ()
    rounds: int = 1
    similarity: str = "lncc"
    penalty: str = "gradient"
    roughness: float = 0.1
    level_weights: tuple[float, ...] = (0.3, 0.6, 1.0)
    pair_steps: int = 100
    pair_learning_rate: float = 1e-3
    refine_from_mm: float = 2.0

    def objective(self) -> MultiResolutionObjective:
        """Return the objective that the model minimises."""
        return MultiResolutionObjective.from_names(self.similarity, self.penalty, self.roughness, self.level_weights)

    def factors_for(self, spacing: float, finest: int | None = None) -> tuple[int, ...]:
        """Return the downsampling factors from an image prepared at a spacing in mm to the network's images.

        :param finest: leave out what is finer than this, in units of the finest working spacing.
        :returns: from coarse to fine, without repetitions.
        """
        used = [factor for factor in self.pyramid if factor >= (finest or 0)] or [self.factor]
        nearest = (
            min(FACTORS, key=lambda factor: abs(math.log(factor * spacing / (wanted * FINEST_SPACING))))
            for wanted in used
        )
        return tuple(dict.fromkeys(nearest))

    def build(self) -> torch.nn.Module:
        """Return a network with fresh weights.

        :raises InputError: there is no such network, or its options or the factor are invalid.
        """
        if self.factor not in FACTORS:
            raise InputError(f"factor: must be one of {', '.join(map(str, FACTORS))}, not {self.factor}.")
        is_falling = all(coarse > fine for coarse, fine in pairwise(self.pyramid))
        if not set(self.pyramid) <= set(FACTORS) or not is_falling:
            raise InputError(f"pyramid: must be falling numbers out of {', '.join(map(str, FACTORS))}.")
        if self.network not in NETWORKS:
            raise InputError(f"network {self.network!r}: there is none of this name; use {', '.join(NETWORKS)}.")
        try:
            return NETWORKS[self.network](**self.network_options)
        except (TypeError, ValueError) as error:
            reason = str(error).rstrip(".")
            raise InputError(f"network {self.network!r}: does not take these options: {reason}.") from error


@dataclass(frozen=True)
class SegmentationNetworks:
    """The networks that segment images of any contrast, on one device.

    :param t1: for T1 images, and for other images that were mapped to T1 intensities.
    :param others: for images in other contrasts as they are; the same unless the model has weights of its own for them.
    """

    t1: SLSFGRNetwork
    others: SLSFGRNetwork


@dataclass(frozen=True)
class Model:
    """A network with its settings.

    :param name: for the report.
    :param sha256: of the file it was read from; None for an untrained network.
    :param version: of SLSFGR when the model was saved.
    :param other_contrasts: a network of the same form that segments images in other contrasts than T1; None if the
        first one does.
    """

    name: str
    settings: ModelSettings
    network: torch.nn.Module
    sha256: str | None = None
    version: str = VERSION
    other_contrasts: torch.nn.Module | None = None

    @classmethod
    def untrained(cls) -> Model:
        """Return the untrained system for instance optimisation, always with the same random weights."""
        settings = ModelSettings(**UNTRAINED_SETTINGS)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return cls(UNTRAINED_SYSTEM, settings, settings.build())

    @property
    def is_trained(self) -> bool:
        """Whether the network was trained before it meets the pair."""
        return self.sha256 is not None

    @property
    def uses_instance_optimisation(self) -> bool:
        """Whether the network is trained further on the pair itself, in all modes but fast."""
        return self.settings.pair_steps > 0

    @property
    def can_segment(self) -> bool:
        """Whether the network segments, too."""
        return self.network.segmenter is not None

    @property
    def describes_brains(self) -> bool:
        """Whether the network segments and describes each brain alone, then registers two descriptions."""
        return isinstance(self.network, SLSFGRNetwork) and self.can_segment

    def segmenter(self, device: torch.device) -> SegmentationNetworks:
        """Return copies of the networks for segmentation.

        :raises InputError: the network cannot segment.
        """
        if not self.can_segment:
            raise InputError(f"model {self.name!r}: cannot segment; use one of network sl_sfgr.")
        t1 = self.copy_of_network(device)
        return SegmentationNetworks(t1, t1 if self.other_contrasts is None else _copied(self.other_contrasts, device))

    def copy_of_network(self, device: torch.device) -> torch.nn.Module:
        """Return a copy of the network on a device, in the memory format in which it is fastest."""
        return _copied(self.network, device)

    def description(self, role: str) -> dict:
        """Return role, name, version and checksum for a report."""
        return {"role": role, "name": self.name, "version": self.version, "sha256": self.sha256}

    def save(self, path: Path) -> None:
        """Write the settings and the weights to a file."""
        content = {
            "format": FORMAT,
            "name": self.name,
            "version": VERSION,
            "settings": asdict(self.settings),
            "preparation": PREPARATION,
            "structures": structures_of(self),
            "weights": self.network.state_dict(),
        }
        if self.other_contrasts is not None:
            # Half of the bytes; on five rendered heads the Dice stayed the same within 0.001.
            content["other_contrasts"] = {name: part.half() for name, part in self.other_contrasts.state_dict().items()}
        torch.save(content, path)


def _copied(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    return copy.deepcopy(network).to(device, memory_format=torch.channels_last_3d)


def structures_of(model: Model) -> list[str]:
    """Return the names of the structures that a model segments, in the order of its channels; none if it does not."""
    return [structure.name for structure in read_label_table()] if model.can_segment else []
