"""ConvexAdam with MIND features: ``python convex_adam.py FIXED MOVING OUTPUT [--affine M]``.

It expects images that are aligned and on one grid, so greedy's affine stage comes first.
"""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from conversion import greedy_affine
from convexAdam.convex_adam_MIND import convex_adam_pt
from greedy_ncc import align
from picsl_greedy import Greedy3D


def main() -> None:
    """Run both stages and write the displacements in voxels."""
    fixed, moving, output, *options = sys.argv[1:]
    matrix = Path(output) / "affine.mat"
    align(Greedy3D(), fixed, moving, str(matrix), options[1] if options else "WNCC 2x2x2")
    images = [sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving)]
    aligned = sitk.Resample(images[1], images[0], greedy_affine(matrix), sitk.sitkLinear)
    displacements = convex_adam_pt(images[0], aligned, dtype=torch.float32)
    np.save(Path(output) / "displacements.npy", displacements)


if __name__ == "__main__":
    main()
