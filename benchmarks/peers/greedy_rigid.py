"""Greedy's rigid registration: ``python greedy_rigid.py FIXED MOVING OUTPUT METRIC``.

From the images' centres, with the iterations of greedy's quick start.
"""

import os
import sys

from picsl_greedy import Greedy3D

if __name__ == "__main__":
    fixed, moving, output, metric = sys.argv[1:]
    Greedy3D().execute(
        f"-threads {os.environ.get('OMP_NUM_THREADS', 2)} -a -dof 6 -i {fixed} {moving} -m {metric}"
        f" -ia-image-centers -n 100x50x10 -o {output}/affine.mat"
    )
