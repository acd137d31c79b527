"""LapIRN with its authors' weights: ``python lapirn.py FIXED MOVING OUTPUT disp|diff``.

Its code and weights are read from a checkout of https://github.com/cwmok/LapIRN, the folder that the environment
variable LAPIRN names. It expects brains without skull that are affinely aligned, on one grid of 160 x 192 x 144 voxels
of 1 mm, so greedy's affine stage comes first. Everything runs on the CPU.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from conversion import greedy_affine
from greedy_ncc import align
from picsl_greedy import Greedy3D

# What its authors' Test_LapIRN_*.py set.
SHAPE, CHANNELS, RANGE = (160, 192, 144), 7, 0.4
# The parts of the classes' names: stationary velocities, or displacements.
NAMES = {"diff": "", "disp": "disp_"}
# The directions (LPS) in which the three axes of the network's arrays run: right, anterior, superior. They are not
# documented; of the plausible ones these gave the highest Dice on pairs that are not in the benchmark.
AXES = np.diag([-1.0, -1.0, 1.0])
# Fraction of the highest intensity above which a voxel is brain.
BACKGROUND = 0.02


def main() -> None:
    """Run both stages and write the displacements in voxels, and the fixed image on the grid that they belong to."""
    fixed, moving, output, kind = sys.argv[1:]
    network = load_network(checkout(), kind)
    matrix = Path(output) / "affine.mat"
    align(Greedy3D(), fixed, moving, str(matrix), "WNCC 2x2x2")
    images = [sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving)]
    grid = grid_around(images[0])
    identity = sitk.Transform(3, sitk.sitkIdentity)
    on_grid = [
        sitk.Resample(image, grid, transform, sitk.sitkLinear)
        for image, transform in zip(images, (identity, greedy_affine(matrix)), strict=True)
    ]
    np.save(Path(output) / "displacements.npy", displacements(network, *on_grid))
    sitk.WriteImage(on_grid[0], str(Path(output) / "fixed.nii.gz"))


def checkout() -> Path:
    """Return the folder of LapIRN's repository.

    :raises SystemExit: LAPIRN does not name it.
    """
    folder = Path(os.environ.get("LAPIRN", ""))
    if not (folder / "Code" / "miccai2020_model_stage.py").is_file():
        raise SystemExit("error: set LAPIRN to the folder of a checkout of https://github.com/cwmok/LapIRN.")
    return folder


def load_network(folder: Path, kind: str) -> torch.nn.Module:
    """Return the network of three levels with its weights, on the CPU.

    :param kind: a key of :data:`NAMES`.
    """
    # Its modules move themselves to a GPU when they are made.
    torch.nn.Module.cuda = torch.Tensor.cuda = lambda self, *_: self
    sys.path.insert(0, str(folder / "Code"))
    models = import_module("miccai2020_model_stage")
    network = None
    for level in (1, 2, 3):
        make = getattr(models, f"Miccai2020_LDR_laplacian_unit_{NAMES[kind]}add_lvl{level}")
        shape = tuple(size // 2 ** (3 - level) for size in SHAPE)
        coarser = {f"model_lvl{level - 1}": network} if network else {}
        network = make(2, 3, CHANNELS, is_train=level < 3, imgshape=shape, range_flow=RANGE, **coarser)
    weights = torch.load(folder / "Model" / f"LapIRN_{kind}_fea{CHANNELS}.pth", map_location="cpu")
    network.load_state_dict(weights)
    return network.eval()


def grid_around(image: sitk.Image) -> sitk.Image:
    """Return an empty image on the network's grid, upright in space, its middle in the middle of the brain."""
    values = sitk.GetArrayViewFromImage(image)
    brain = np.argwhere(values > BACKGROUND * values.max())
    middle = image.TransformContinuousIndexToPhysicalPoint(((brain.min(0) + brain.max(0)) / 2.0)[::-1].tolist())
    grid = sitk.Image(SHAPE[::-1], sitk.sitkFloat32)
    # ITK's axes are the array's in reverse; the axes of space are the columns of its direction.
    grid.SetDirection(AXES[::-1].T.flatten().tolist())
    half = (np.array(SHAPE) - 1.0) / 2.0
    grid.SetOrigin((np.array(middle) - half @ AXES).tolist())
    return grid


@torch.no_grad()
def displacements(network: torch.nn.Module, fixed: sitk.Image, moving: sitk.Image) -> np.ndarray:
    """Return displacements in voxels along the array axes, (160, 192, 144, 3), from fixed to moving."""
    images = [torch.from_numpy(scaled(sitk.GetArrayFromImage(image)))[None, None] for image in (moving, fixed)]
    field = network(*images)[0].permute(1, 2, 3, 0).numpy()
    # The network's range of -1 to 1 spans each axis, and its components are in the order of the last axis first.
    return field[..., ::-1] * ((np.array(SHAPE) - 1.0) / 2.0)


def scaled(values: np.ndarray) -> np.ndarray:
    """Scale intensities to 0 to 1."""
    return (values - values.min()) / (values.max() - values.min())


if __name__ == "__main__":
    main()
