"""Greedy, affine then deformable: ``python greedy_ncc.py FIXED MOVING OUTPUT [--affine M] OPTIONS...``.

The affine stage is the one of greedy's quick start. OPTIONS go to the deformable stage as they are.
"""

import os
import sys

from picsl_greedy import Greedy3D

ITERATIONS = "100x50x10"


def align(greedy: Greedy3D, fixed: str, moving: str, matrix: str, metric: str) -> None:
    """Write the affine matrix, sought from the images' centres, which lie in different places in space."""
    greedy.execute(
        f"-threads {os.environ.get('OMP_NUM_THREADS', 2)} -a -i {fixed} {moving} -m {metric}"
        f" -ia-image-centers -n {ITERATIONS} -o {matrix}"
    )


def main() -> None:
    """Run both stages."""
    fixed, moving, output, *options = sys.argv[1:]
    metric = "WNCC 2x2x2"
    if options[0] == "--affine":
        metric, options = options[1], options[2:]
    greedy = Greedy3D()
    align(greedy, fixed, moving, f"{output}/affine.mat", metric)
    # -wp 0 stores the warp without rounding it to a tenth of a voxel.
    greedy.execute(
        f"-threads {os.environ.get('OMP_NUM_THREADS', 2)} -i {fixed} {moving} -it {output}/affine.mat"
        f" -n {ITERATIONS} {' '.join(options)} -wp 0 -o {output}/warp.nii.gz"
    )


if __name__ == "__main__":
    main()
