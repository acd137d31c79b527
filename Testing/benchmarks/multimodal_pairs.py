"""Make the pairs of unlike contrasts that ``multimodal.py`` registers: ``python multimodal_pairs.py SET DATA OUTPUT``.

- ``heldout``: two of the anatomies that no training has seen, in two unlike contrasts, with all structures of the
  label table.
- ``sri24``: one brain's T1, deformed by a known diffeomorphism of 10 mm, to its T2 and to its proton density.
- ``malc``: T1 brains to SRI24's T2, with the structures that both protocols have.

Each pair is a folder with fixed, moving, fixed_labels, moving_labels (.nii.gz) and, where the right answer is known,
truth.h5: points of the fixed image to points of the moving image.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.io.resources import resource_path
from SLSFGRLib.spatial.fields import integrate, resize_image
from SLSFGRLib.spatial.grid import Grid, affine_then_field, grid_of_image, image_from_array
from SLSFGRLib.spatial.label_resampling import warp_labels
from SLSFGRLib.spatial.resampling import resample_image
from SLSFGRLib.synthesis import draw_pair, in_one_frame, load_label_maps
from SLSFGRLib.training import read_recipe

HELD_OUT = ("17", "18", "19", "20")
RENDERED_SHAPE = (176, 208, 176)
PEAK_MM = 10.0
KNOTS = 5
MALC_BRAINS = ("1000", "1002", "1007", "1009", "1011", "1013")
# Structure: numbers of the LPBA40 protocol, and of the Neuromorphometrics protocol (odd ones are left).
COMMON = {
    1: ((161,), (37,)),  # left caudate
    2: ((162,), (36,)),  # right caudate
    3: ((163,), (58,)),  # left putamen
    4: ((164,), (57,)),  # right putamen
    5: ((165,), (48,)),  # left hippocampus
    6: ((166,), (47,)),  # right hippocampus
}
VENTRICLES, MALC_VENTRICLES = 7, (4, 49, 50, 51, 52)
FLUID = 1
# Fluid so deep in SRI24's brain, where LPBA40 has no label, is ventricle: 20 mL.
VENTRICLE_DEPTH_MM = 34.0


def main() -> None:
    """Make the pairs of one set that are not there yet, and print their folders."""
    name, data, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for folder in SETS[name](data, output / name):
        print(folder)


def heldout(data: Path, output: Path) -> list[Path]:
    """Eight pairs of held-out anatomies: four of T1 and T2, four of T1 and ultrasound."""
    folders = [output / f"{other}-{number}" for other in ("t2", "ultrasound") for number in range(len(HELD_OUT))]
    if all((folder / "moving_labels.nii.gz").is_file() for folder in folders):
        return folders
    files = [data / "brain_labels" / f"training_seg_{name}.nii.gz" for name in HELD_OUT]
    maps = in_one_frame(load_label_maps(files, output / "label_maps"))
    settings = read_recipe(resource_path("Recipes", "weakly_supervised.toml")).synthesis
    settings = replace(
        settings, t1_share=0.5, t2_share=0.0, pd_share=0.0, ultrasound_share=0.0, same_anatomy_chance=0.0
    )
    for number, folder in enumerate(folders):
        other, first = folder.name.split("-")[0], number % len(maps)
        two = [maps[first], maps[(first + 1) % len(maps)]]
        generator = torch.Generator().manual_seed(1000 + number)
        pair = draw_pair(two, RENDERED_SHAPE, replace(settings, **{f"{other}_share": 0.5}), generator, spacing=1.0)
        _write(folder, *(_rendered_images(sample) for sample in (pair.fixed, pair.moving)))
    return folders


def _rendered_images(sample: object) -> tuple[sitk.Image, sitk.Image]:
    matrix = np.eye(4)
    # Array axes towards superior, posterior and left.
    matrix[:3, :3] = np.eye(3)[::-1]
    grid = Grid(RENDERED_SHAPE, matrix)
    numbers = np.array([0] + [structure.number for structure in read_label_table()], dtype=np.uint16)
    # Most of the eighths of each voxel.
    channels = torch.mode(sample.anatomy, dim=0).values.numpy()
    return image_from_array(sample.image[0, 0].numpy(), grid), image_from_array(numbers[channels], grid)


def sri24(data: Path, output: Path) -> list[Path]:
    """Two deformations of the T1, each to be registered to T2 and to proton density."""
    folders = []
    t1, labels = read_image(data / "sri24" / "spgr.nii.gz"), read_labels(data / "sri24" / "lpba40.nii.gz")
    for seed in (0, 1):
        there, back = known_deformation(t1, seed)
        moving = resample_image(t1, t1, there), warp_labels(labels, there, t1)
        for contrast in ("late", "erly"):
            folders.append(output / f"{contrast}-{seed}")
            fixed = read_image(data / "sri24" / f"{contrast}.nii.gz")
            _write(folders[-1], (fixed, labels), moving)
            sitk.WriteTransform(back, str(folders[-1] / "truth.h5"))
    return folders


def known_deformation(image: sitk.Image, seed: int) -> tuple[sitk.Transform, sitk.Transform]:
    """A smooth diffeomorphism with a largest velocity of 10 mm, and its inverse."""
    grid = grid_of_image(image)
    coarse = grid.resized([max(8, size // 4) for size in grid.shape])
    knots = torch.randn(1, 3, *[KNOTS] * 3, generator=torch.Generator().manual_seed(seed))
    velocity = resize_image(knots, coarse.shape)
    lengths = (velocity * torch.as_tensor(coarse.spacing).view(1, 3, 1, 1, 1)).norm(dim=1)
    velocity = (velocity * (PEAK_MM / float(lengths.max()))).float()
    return tuple(affine_then_field(np.eye(4), integrate(sign * velocity), coarse) for sign in (1.0, -1.0))


def malc(data: Path, output: Path) -> list[Path]:
    """T1 brains to SRI24's T2."""
    folders = []
    fixed = read_image(data / "sri24" / "late.nii.gz"), sri24_structures(data / "sri24")
    for name in MALC_BRAINS:
        moving = read_image(data / "malc" / f"{name}_t1.nii.gz")
        found = sitk.GetArrayFromImage(read_labels(data / "malc" / f"{name}_labels.nii.gz"))
        numbers = {number: both[1] for number, both in COMMON.items()} | {VENTRICLES: MALC_VENTRICLES}
        folders.append(output / name)
        _write(folders[-1], fixed, (moving, image_from_array(_merged(found, numbers), grid_of_image(moving))))
    return folders


def sri24_structures(folder: Path) -> sitk.Image:
    """The common structures of the LPBA40 labels, and the ventricles from the map of tissues."""
    labels, tissues = read_labels(folder / "lpba40.nii.gz"), read_labels(folder / "tissues.nii.gz")
    merged = _merged(sitk.GetArrayFromImage(labels), {number: both[0] for number, both in COMMON.items()})
    depth = -sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(tissues > 0, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    )
    unlabelled = sitk.GetArrayFromImage(labels) == 0
    deep = (sitk.GetArrayFromImage(tissues) == FLUID) & (depth > VENTRICLE_DEPTH_MM) & unlabelled
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(deep.astype(np.uint8))))
    merged[sitk.GetArrayFromImage(parts) == 1] = VENTRICLES
    return image_from_array(merged, grid_of_image(labels))


def _merged(labels: np.ndarray, numbers: dict[int, tuple[int, ...]]) -> np.ndarray:
    merged = np.zeros(labels.shape, np.uint8)
    for number, members in numbers.items():
        merged[np.isin(labels, members)] = number
    return merged


def _write(folder: Path, fixed: tuple[sitk.Image, sitk.Image], moving: tuple[sitk.Image, sitk.Image]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for role, images in (("fixed", fixed), ("moving", moving)):
        for ending, image in zip(("", "_labels"), images, strict=True):
            sitk.WriteImage(image, str(folder / f"{role}{ending}.nii.gz"))


SETS = {"heldout": heldout, "sri24": sri24, "malc": malc}

if __name__ == "__main__":
    main()
