"""Random contrasts: how bright each class is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .rng import chance, signed, uniform
from .settings import Synthesis
from .tissue_contrasts import LOOKS, classes

# Part of the jitter that a kind of tissue has in common: grey matter as a whole is brighter or darker.
SHARED_JITTER = 0.7
# The rest of the head varies more: fat is bright or suppressed, vessels flow.
OUTSIDE_JITTER = 3.0
# Air is dark, but in a few images of unusual contrast not the darkest of all.
BRIGHT_AIR_CHANCE = 0.1


@dataclass(frozen=True)
class Contrast:
    """How bright each class is.

    :param name: ``t1``, ``t2``, ``pd``, ``flair``, ``ultrasound`` or ``random``.
    :param brightness: (classes,), 0 or more; bright tissue has about 1.
    :param texture: (classes,), the standard deviation within a class.
    """

    name: str
    brightness: torch.Tensor
    texture: torch.Tensor


def draw_contrast(synthesis: Synthesis, generator: torch.Generator, unlike: str | None = None) -> Contrast:
    """Draw the kind of contrast by its share, then the brightness of each class.

    :param unlike: a kind that it must not be, unless it is the only one that has a share.
    """
    # Ultrasound only where it is wanted: other recipes go on drawing what they drew before there was any.
    kinds = ("t1", "t2", "pd", "flair", "random") + ("ultrasound",) * (synthesis.ultrasound_share > 0)
    shares = torch.tensor([getattr(synthesis, f"{kind}_share") for kind in kinds])
    others = torch.tensor([kind != unlike for kind in kinds])
    shares = shares * others if (shares * others).any() else shares
    kind = kinds[int(torch.multinomial(shares, 1, generator=generator))]
    looks = sorted(LOOKS)
    brightness = _random(generator) if kind == "random" else _like(kind, synthesis.contrast_jitter, generator)
    scale = synthesis.texture * uniform(generator)
    texture = (
        torch.tensor([LOOKS[name].texture for name in looks]) * scale * (1.0 + 0.5 * signed(generator, len(looks)))
    )
    rows = torch.tensor([looks.index(name) for name in classes().names])
    return Contrast(kind, brightness[rows], texture[rows])


def typical_contrast(kind: str) -> Contrast:
    """A contrast without any chance: ``t1``, ``t2``, ``pd``, ``flair`` or ``ultrasound``."""
    looks = [LOOKS[name] for name in classes().names]
    return Contrast(kind, torch.tensor([getattr(look, kind) for look in looks]), torch.zeros(len(looks)))


def _like(kind: str, jitter: float, generator: torch.Generator) -> torch.Tensor:
    """A common contrast with variations: scanners and sequences differ."""
    looks = [LOOKS[name] for name in sorted(LOOKS)]
    values = torch.tensor([getattr(look, kind) for look in looks])
    common = _by_group(torch.randn(len(_groups()), generator=generator))
    own = torch.randn(len(looks), generator=generator)
    width = torch.tensor([OUTSIDE_JITTER if look.group == "outside" else 1.0 for look in looks])
    drawn = values + jitter * width * (SHARED_JITTER * common + (1.0 - SHARED_JITTER**2) ** 0.5 * own)
    return torch.where(values > 0, drawn.clamp(min=0.02), values)


def _random(generator: torch.Generator) -> torch.Tensor:
    """Any brightness for each kind of tissue; its members keep near to it or go their own ways."""
    looks = [LOOKS[name] for name in sorted(LOOKS)]
    own = torch.rand(len(looks), generator=generator)
    common = _by_group(torch.rand(len(_groups()), generator=generator))
    independence = uniform(generator)
    outside = torch.tensor([look.group == "outside" for look in looks])
    values = torch.where(outside, own, common + independence * (own - common))
    air = 0.4 * uniform(generator) if chance(generator, BRIGHT_AIR_CHANCE) else 0.0
    values[sorted(LOOKS).index("background")] = air
    return values


def _groups() -> list[str]:
    return sorted({look.group for look in LOOKS.values()})


def _by_group(values: torch.Tensor) -> torch.Tensor:
    """Spread one value for each group over its members."""
    return values[torch.tensor([_groups().index(LOOKS[name].group) for name in sorted(LOOKS)])]
