"""Make the pairs in two contrasts that ``multimodal.py`` registers; runs in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from SLSFGRLib import resample_image, warp_labels
from SLSFGRLib.io.images import read_image, read_labels
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.io.resources import resource_path
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.composite import affine_then_field
from SLSFGRLib.spatial.fields import integrate, resize_image
from SLSFGRLib.spatial.grid import Grid, grid_of_image, image_from_array
from SLSFGRLib.synthesis import Synthesiser, align_label_maps, load_label_maps
from SLSFGRLib.training import read_recipe

from .data import BRAINS, DATA
from .image_variants import write
from .label_protocols import NEUROMORPHOMETRICS, merged, sri24_structures

SRI24 = DATA / "sri24"
# Of brain_labels: no training has used them.
HELD_OUT = ("17", "18", "19", "20")
SHAPE = (176, 208, 176)
MAXIMUM_VELOCITY_MM = 10.0
KNOTS = 5
MALC_BRAINS = ("1000", "1002", "1007", "1009", "1011", "1013")

Labelled = tuple[sitk.Image, sitk.Image]


def make(name: str, folder: Path) -> None:
    """Make the pairs of one set.

    :param name: ``heldout``, two anatomies that no training has seen in two synthetic contrasts, with all structures
        of the label table; ``sri24``, one brain's T1, warped by a known diffeomorphism, to its T2 and to its proton
        density; ``malc``, T1 brains to SRI24's T2, with the structures that both protocols have.
    :param folder: for a folder of each pair with fixed, moving, fixed_labels, moving_labels (.nii.gz) and, where the
        correct transform is known, truth.h5.
    """
    SETS[name](folder)


def _heldout(folder: Path) -> None:
    """Make four pairs of T1 and T2, four of T1 and ultrasound."""
    files = [DATA / "brain_labels" / f"training_seg_{number}.nii.gz" for number in HELD_OUT]
    maps = align_label_maps(load_label_maps(files, folder / "label_maps"))
    recipe = read_recipe(resource_path("Recipes", "weakly_supervised.toml"))
    settings = replace(
        recipe.synthesis, t1_share=0.5, t2_share=0.0, pd_share=0.0, ultrasound_share=0.0, same_anatomy_chance=0.0
    )
    for seed, (contrast, first) in enumerate((c, n) for c in ("t2", "ultrasound") for n in range(len(maps))):
        generator = torch.Generator().manual_seed(1000 + seed)
        two, drawn = [maps[first], maps[(first + 1) % len(maps)]], replace(settings, **{f"{contrast}_share": 0.5})
        pair = Synthesiser(drawn, SHAPE, spacing=1.0).pair(two, generator)
        _write(folder / contrast / str(first), _images(pair.fixed), _images(pair.moving))


def _images(sample: object) -> Labelled:
    matrix = np.eye(4)
    # Array axes point to superior, posterior and left.
    matrix[:3, :3] = np.eye(3)[::-1]
    grid = Grid(SHAPE, matrix)
    numbers = np.array([0] + [structure.number for structure in read_label_table()], dtype=np.uint16)
    # The most frequent label of the eight octants of each voxel.
    channels = torch.mode(sample.anatomy, dim=0).values.numpy()
    return image_from_array(sample.image[0, 0].numpy(), grid), image_from_array(numbers[channels], grid)


def _sri24(folder: Path) -> None:
    """Make two deformations of the T1, each with the T2 and with the proton density."""
    t1, labels = read_image(SRI24 / "spgr.nii.gz"), read_labels(SRI24 / "lpba40.nii.gz")
    for seed in (0, 1):
        deformation, inverse = known_deformation(t1, seed)
        moving = resample_image(t1, t1, deformation), warp_labels(labels, deformation, t1)
        for contrast, file in (("t2", "late"), ("pd", "erly")):
            fixed = read_image(SRI24 / f"{file}.nii.gz"), labels
            _write(folder / contrast / str(seed), fixed, moving)
            sitk.WriteTransform(inverse, str(folder / contrast / str(seed) / "truth.h5"))


def known_deformation(image: sitk.Image, seed: int) -> tuple[sitk.Transform, sitk.Transform]:
    """Return a smooth diffeomorphism with a maximum velocity of 10 mm, and its inverse."""
    grid = grid_of_image(image)
    coarse = grid.resized([max(8, size // 4) for size in grid.shape])
    knots = torch.randn(1, 3, *[KNOTS] * 3, generator=torch.Generator().manual_seed(seed))
    velocity = resize_image(knots, coarse.shape)
    lengths = (velocity * torch.as_tensor(coarse.spacing).view(1, 3, 1, 1, 1)).norm(dim=1)
    velocity = (velocity * (MAXIMUM_VELOCITY_MM / float(lengths.max()))).float()
    return tuple(affine_then_field(Affine.identity(), integrate(sign * velocity), coarse) for sign in (1.0, -1.0))


def _malc(folder: Path) -> None:
    """Make T1 brains to be registered to SRI24's T2."""
    fixed = read_image(SRI24 / "late.nii.gz"), sri24_structures(SRI24)
    for name in MALC_BRAINS:
        labels = merged(read_labels(BRAINS / f"{name}_labels.nii.gz"), NEUROMORPHOMETRICS)
        _write(folder / name, fixed, (read_image(BRAINS / f"{name}_t1.nii.gz"), labels))


def _write(folder: Path, fixed: Labelled, moving: Labelled) -> None:
    for role, images in (("fixed", fixed), ("moving", moving)):
        for ending, image in zip(("", "_labels"), images, strict=True):
            write(image, folder / f"{role}{ending}.nii.gz")


SETS = {"heldout": _heldout, "sri24": _sri24, "malc": _malc}
