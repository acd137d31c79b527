"""Add explicit steps to a trained SL-SFGR network: ``python -m tools.add_explicit_steps MODEL OUTPUT``.

Their length and damping are two numbers, which need no training (docs/develop/experiments.md, "SL-SFGR").
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch

from SLSFGRLib.models.loading import load_model
from SLSFGRLib.models.model import Model, ModelSettings
from SLSFGRLib.networks.lucas_kanade import DAMPING, SCALE

# At 4 and at 2 mm; length and damping of each step. Chosen on three pairs that are not in the benchmark.
STEPS, LENGTH, STEP_DAMPING = (3, 4), 1.2, (0.05, 0.1)
# Their field has 2 mm, but they compare intensities alone: a level of 2 mm with tissue probability maps adds to it.
REFINE_FROM_MM = 4.0


def main() -> None:
    """Read, add, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model file of slsfgr train, or sl_sfgr")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with_explicit_steps(load_model(arguments.model)).save(arguments.output)


def with_explicit_steps(model: Model) -> Model:
    """Return the model with explicit steps; its other weights stay."""
    options = model.settings.network_options | {"explicit_steps": list(STEPS)}
    settings = replace(model.settings, network_options=options, refine_from_mm=REFINE_FROM_MM)
    others = model.other_contrasts and _with_steps(model.other_contrasts, settings)
    return Model(model.name, settings, _with_steps(model.network, settings), sha256=None, other_contrasts=others)


def _with_steps(network: torch.nn.Module, settings: ModelSettings) -> torch.nn.Module:
    extended = settings.build()
    extended.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad():
        for refinement, damping in zip(extended.explicit, STEP_DAMPING, strict=True):
            refinement.step.trust.fill_(LENGTH / SCALE)
            refinement.step.caution.fill_(math.log(damping / DAMPING) / SCALE)
    return extended


if __name__ == "__main__":
    main()
