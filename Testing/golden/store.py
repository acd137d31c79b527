"""Store the arrays of the golden tests again, after a decision that results change: ``python -m golden.store``."""

from pathlib import Path

import numpy as np

from golden.measures import block_means, brain_points, brighter_on_the_left, mapped
from SLSFGRLib import register
from SLSFGRLib.cli.demo_pair import make_pair
from SLSFGRLib.preprocessing import prepare

STORED = Path(__file__).with_name("stored")


def stored(name):
    """Read a stored array."""
    return np.load(STORED / f"{name}.npy")


def main():
    """Compute and write all arrays."""
    pair = make_pair()
    prepared = prepare(brighter_on_the_left(pair.fixed))
    np.save(STORED / "prepared.npy", block_means(prepared.tensor[0, 0].numpy()).astype(np.float32))
    transform = register(pair.fixed, pair.moving, transform="deformable").transform
    np.save(STORED / "registered.npy", mapped(transform, brain_points(pair.fixed_labels)).astype(np.float32))


if __name__ == "__main__":
    main()
