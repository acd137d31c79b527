"""Show what the frequency block of the bundled SL-SFGR does: ``python -m benchmarks.frequency_block``.

For each resolution: how strong the block is, and how it changes the energy of the features in bands of frequency. And
the Dice of two brains' manual labels by the field that is regressed at 4 mm, with the block and without it.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from functools import partial

import torch
from torch import nn

import SLSFGRLib
from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.models.loading import default_model
from SLSFGRLib.models.model import SegmentationNetworks
from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.networks.dual_domain import BANDS, radial_bands
from SLSFGRLib.registration.align import align
from SLSFGRLib.registration.network import field_between
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.composite import affine_then_field

from .data import Pair, pair_of_brains

# Not among the ten pairs.
PAIRS = "1009-1017,1013-1036"
# Of the features, coarse to fine.
SPACINGS_MM = (16, 8, 4)
AXES = (2, 3, 4)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default=PAIRS, help=f"of brains, separated by commas (default: {PAIRS})")
    names = parser.parse_args().pairs.split(",")
    network = default_model().copy_of_network(torch.device("cpu"))
    # The explicit steps find most of what a field may lack.
    network.explicit = nn.ModuleList()
    energies = [torch.zeros(2, BANDS) for _ in SPACINGS_MM]
    for spacing, adapter, energy in zip(SPACINGS_MM, network.adapters, energies, strict=True):
        adapter.enhance.register_forward_hook(partial(count, energy))
        strength = adapter.enhance.strength.abs()
        print(f"{spacing} mm: strength of the channels {strength.mean():.3f} on average, {strength.max():.3f} at most")
    print("\n| pair | with the block | without |\n|---|---|---|")
    for name in names:
        print(f"| {name} | {dice(network, name):.4f} | {dice(without_block(network), name):.4f} |", flush=True)
    print(f"\n| energy after / before | {' | '.join(f'band {band + 1}' for band in range(BANDS))} |")
    print("|---" * (BANDS + 1) + "|")
    for spacing, (before, after) in zip(SPACINGS_MM, energies, strict=True):
        print(f"| {spacing} mm | {' | '.join(f'{ratio:.3f}' for ratio in (after / before).tolist())} |")


def count(energy: torch.Tensor, _block: nn.Module, before: tuple[torch.Tensor], after: torch.Tensor) -> None:
    """Add the energies of features before and after a block to (2, bands)."""
    energy += torch.stack([bands(before[0]), bands(after)])


def bands(features: torch.Tensor) -> torch.Tensor:
    """Return the energy of (B, C, D, H, W) features in bands of frequency, low to high."""
    spectrum = torch.fft.rfftn(features.float(), dim=AXES, norm="ortho").abs().square().sum(dim=(0, 1))
    return torch.einsum("dhw,kdhw->k", spectrum, radial_bands(features.shape[2:], BANDS))


def without_block(network: SLSFGRNetwork) -> SLSFGRNetwork:
    """Return the same network without its frequency blocks."""
    bare = deepcopy(network)
    for adapter in bare.adapters:
        adapter.enhance = nn.Identity()
    return bare


@torch.no_grad()
def dice(network: SLSFGRNetwork, name: str) -> float:
    """Return the mean Dice of a pair's manual labels after the network's field at 4 mm."""
    pair = pair_of_brains(name)
    fixed, moving = subjects(network, pair)
    affine = align(fixed, moving)
    field = field_between(network, fixed, moving, affine)
    transform = affine_then_field(affine, field, fixed.grid.resized(field.shape[2:]))
    labels = (read_labels(path) for path in (pair.fixed_labels, pair.moving_labels))
    return SLSFGRLib.evaluate(*labels, transform).mean_dice


def subjects(network: SLSFGRNetwork, pair: Pair) -> list[Subject]:
    """Return both brains, segmented and described by a network."""
    networks = SegmentationNetworks(network, network)
    prepared = (SLSFGRLib.load_subject(read_image(path)) for path in (pair.fixed, pair.moving))
    return [subject.segmented(networks, describe=True) for subject in prepared]


if __name__ == "__main__":
    main()
