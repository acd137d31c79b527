"""Random contrasts: the intensity of each tissue class."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .rng import chance, signed, uniform
from .settings import Synthesis
from .tissue_contrasts import INTENSITY_PROFILES, classes

# These three are chosen, not measured. Share of the jitter that tissues of a group have in common.
SHARED_JITTER = 0.7
# The rest of the head varies more: fat is bright or suppressed, blood flows.
OUTSIDE_JITTER = 3.0
# What echo, repetition and inversion time add to the intensity of fluid: from a dark PD to one like T2, from a FLAIR
# that suppresses all fluid to one that suppresses half.
FLUID_RANGE = {"t1": (-0.1, 0.15), "t2": (-0.25, 0.25), "pd": (-0.45, 0.1), "flair": (-0.05, 0.3)}
# In a few images of random contrast air is not the darkest class.
BRIGHT_AIR_CHANCE = 0.1


@dataclass(frozen=True)
class Contrast:
    """The intensity of each class.

    :param name: ``t1``, ``t2``, ``pd``, ``flair``, ``ultrasound``, ``ct``, ``random`` or ``object``.
    :param intensity: (classes,), 0 or more; bright tissue has about 1.
    :param texture: (classes,), the standard deviation within a class.
    """

    name: str
    intensity: torch.Tensor
    texture: torch.Tensor


def draw_contrast(synthesis: Synthesis, generator: torch.Generator, unlike: str | None = None) -> Contrast:
    """Draw the kind of contrast by its share, then the intensity of each class.

    :param unlike: a kind that is excluded, unless no other has a share.
    """
    # These two are left out without a share, so that their introduction did not change what other recipes draw.
    late = tuple(kind for kind in ("ultrasound", "ct") if getattr(synthesis, f"{kind}_share") > 0)
    kinds = ("t1", "t2", "pd", "flair", "random", *late)
    shares = torch.tensor([getattr(synthesis, f"{kind}_share") for kind in kinds])
    others = torch.tensor([kind != unlike for kind in kinds])
    shares = shares * others if (shares * others).any() else shares
    kind = kinds[int(torch.multinomial(shares, 1, generator=generator))]
    names = sorted(INTENSITY_PROFILES)
    intensity = _random(generator) if kind == "random" else _jittered(kind, synthesis.contrast_jitter, generator)
    if synthesis.fluid_spread > 0 and kind in FLUID_RANGE:
        change = synthesis.fluid_spread * uniform(generator, *FLUID_RANGE[kind])
        fluid = torch.tensor([INTENSITY_PROFILES[name].group == "fluid" for name in names])
        intensity = torch.where(fluid, (intensity + change).clamp(min=0.02), intensity)
    scale = synthesis.texture * uniform(generator)
    typical = torch.tensor([INTENSITY_PROFILES[name].texture for name in names])
    texture = typical * scale * (1.0 + 0.5 * signed(generator, len(names)))
    rows = torch.tensor([names.index(name) for name in classes().names])
    return Contrast(kind, intensity[rows], texture[rows])


def typical_contrast(kind: str) -> Contrast:
    """Return ``t1``, ``t2``, ``pd``, ``flair``, ``ultrasound`` or ``ct`` without variations and texture."""
    profiles = [INTENSITY_PROFILES[name] for name in classes().names]
    return Contrast(kind, torch.tensor([getattr(profile, kind) for profile in profiles]), torch.zeros(len(profiles)))


def _jittered(kind: str, jitter: float, generator: torch.Generator) -> torch.Tensor:
    """Draw variations of a common contrast: scanners and sequences differ."""
    profiles = [INTENSITY_PROFILES[name] for name in sorted(INTENSITY_PROFILES)]
    values = torch.tensor([getattr(profile, kind) for profile in profiles])
    common = _by_group(torch.randn(len(_groups()), generator=generator))
    own = torch.randn(len(profiles), generator=generator)
    width = torch.tensor([OUTSIDE_JITTER if profile.group == "outside" else 1.0 for profile in profiles])
    drawn = values + jitter * width * (SHARED_JITTER * common + (1.0 - SHARED_JITTER**2) ** 0.5 * own)
    return torch.where(values > 0, drawn.clamp(min=0.02), values)


def _random(generator: torch.Generator) -> torch.Tensor:
    """Draw any intensity for each group of tissues; its members are similar to it, or independent."""
    profiles = [INTENSITY_PROFILES[name] for name in sorted(INTENSITY_PROFILES)]
    own = torch.rand(len(profiles), generator=generator)
    common = _by_group(torch.rand(len(_groups()), generator=generator))
    independence = uniform(generator)
    outside = torch.tensor([profile.group == "outside" for profile in profiles])
    values = torch.where(outside, own, common + independence * (own - common))
    air = 0.4 * uniform(generator) if chance(generator, BRIGHT_AIR_CHANCE) else 0.0
    values[sorted(INTENSITY_PROFILES).index("background")] = air
    return values


def _groups() -> list[str]:
    return sorted({profile.group for profile in INTENSITY_PROFILES.values()})


def _by_group(values: torch.Tensor) -> torch.Tensor:
    """Give each class the value of its group."""
    return values[
        torch.tensor([_groups().index(INTENSITY_PROFILES[name].group) for name in sorted(INTENSITY_PROFILES)])
    ]
