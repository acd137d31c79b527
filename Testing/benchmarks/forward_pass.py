"""What one pass of the network that ships costs: ``python Testing/benchmarks/forward_pass.py``.

Both images of a pair are segmented and their field is found, on the grid for which the reference implementation's
figures are known (docs/methods/sl_sfgr.md).
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from SLSFGRLib.models.loading import default_model

SHAPE = (96, 112, 96)
BYTES_OF_GIB = 2**30


def main() -> None:
    """Run the network a few times and print what that takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="passes that are timed (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="of the processor (default: 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network = default_model().network.eval().to(memory_format=torch.channels_last_3d)
    print(f"{sum(weights.numel() for weights in network.parameters()) / 1e6:.2f} million parameters")
    before = _peak_gib()
    seconds = timed_passes(network, SHAPE, arguments.repeats)
    print(f"seconds: {min(seconds):.2f} to {max(seconds):.2f}")
    print(f"peak memory: {_peak_gib():.2f} GiB, of which {before:.2f} before the first pass")


def timed_passes(network: torch.nn.Module, shape: tuple[int, int, int], repeats: int) -> list[float]:
    """The seconds of each of some passes, after one that is not timed."""
    images = torch.rand(2, 1, 1, *shape)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            begin = time.perf_counter()
            network(*images)
            seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def _peak_gib() -> float:
    """Of this process's resident memory; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / BYTES_OF_GIB


if __name__ == "__main__":
    main()
