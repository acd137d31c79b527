"""Measure one pass of the bundled network: ``python -m benchmarks.forward_pass``.

The pass segments both images of a pair and finds their field, on the grid for which the figures of the reference
implementation are known (docs/methods/sl_sfgr.md).
"""

from __future__ import annotations

import argparse
import resource

import torch
from torch.utils.benchmark import Timer

from SLSFGRLib.models.loading import default_model

SHAPE = (96, 112, 96)


def main() -> None:
    """Run the network a few times and print what that takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="passes that are timed (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="of the processor (default: 2)")
    given = parser.parse_args()
    network = default_model().network.eval().to(memory_format=torch.channels_last_3d)
    print(f"{sum(weights.numel() for weights in network.parameters()) / 1e6:.2f} million parameters")
    before = _peak_gib()
    images = torch.rand(2, 1, 1, *SHAPE)
    timer = Timer("network(*images)", globals={"network": network, "images": images}, num_threads=given.threads)
    with torch.inference_mode():
        # Each is preceded by passes that are not timed.
        seconds = [timer.timeit(1).mean for _ in range(given.repeats)]
    print(f"seconds: {min(seconds):.2f} to {max(seconds):.2f}")
    print(f"peak memory: {_peak_gib():.2f} GiB, of which {before:.2f} before the first pass")


def _peak_gib() -> float:
    """Return the peak resident memory of this process; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
