"""Label maps to make images from: read once, kept compact."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..io.images import read_labels
from ..io.label_table import unsided_numbers
from ..spatial.affine_fit import fit_affine
from ..spatial.grid import canonical_image
from .poses import Pose
from .tissue_contrasts import LOOKS, classes

SPACING = 1.0
# Kept about the head, in voxels, so that what lies outside the map reads as air.
MARGIN = 2
WHITE_MATTER = "cerebral white matter"


@dataclass(frozen=True)
class LabelMap:
    """A head as kinds of tissue, 1 mm, array axes towards superior, posterior and left.

    :param classes: (D, H, W) uint8, indices into :func:`tissues.classes`; air all around.
    :param centre: the middle of the brain, in voxels along each axis.
    :param pose: takes places about the middle of the first of several maps to the same anatomy about this one's.
    """

    classes: torch.Tensor
    centre: tuple[float, float, float]
    pose: Pose | None = None

    def to(self, device: torch.device) -> LabelMap:
        """The same on another device."""
        return replace(self, classes=self.classes.to(device))


def load_label_maps(
    files: list[Path], cache_folder: Path, update: Callable[[float], None] = lambda fraction: None
) -> list[LabelMap]:
    """Read label maps with FreeSurfer's numbers; what was read before comes from the cache.

    :param files: images, or files of a cache, which may thus be taken to a machine without the images.
    :param cache_folder: is made where it does not exist; holds about half a megabyte for each map.
    :param update: called with the fraction done.
    :raises InputError: a file cannot be read, is no label map, holds no brain, or is an outdated cache.
    """
    maps = []
    for number, file in enumerate(files):
        update(number / len(files))
        if file.suffix == ".npz":
            maps.append(_kept(file))
            continue
        cache_folder.mkdir(parents=True, exist_ok=True)
        cached = cache_folder / f"{file.name.split('.')[0]}_{fingerprint(file)}.npz"
        if not cached.is_file():
            _keep(label_map(read_labels(file), str(file)), cached)
        maps.append(_kept(cached))
    return maps


def in_one_frame(maps: list[LabelMap]) -> list[LabelMap]:
    """Give every map the pose that aligns it to the first, fitted to the centroids of the structures."""
    centroids = [_centroids(heads) for heads in maps]
    posed = []
    for heads, own in zip(maps, centroids, strict=True):
        both = np.isfinite(centroids[0][:, 0]) & np.isfinite(own[:, 0])
        matrix = torch.from_numpy(fit_affine(centroids[0][both], own[both])).float()
        posed.append(replace(heads, pose=Pose(matrix[:3, :3], matrix[:3, 3])))
    return posed


def _centroids(heads: LabelMap) -> np.ndarray:
    """Of each structure, in mm from the middle of the brain: (structures, 3); NaN where there is none."""
    channels = classes().channel[heads.classes.cpu().numpy()]
    count = int(classes().channel.max()) + 1
    volumes = np.bincount(channels.ravel(), minlength=count)
    sums = []
    for axis, size in enumerate(channels.shape):
        index = np.arange(size).reshape([-1 if other == axis else 1 for other in range(3)])
        sums.append(np.bincount(channels.ravel(), np.broadcast_to(index, channels.shape).ravel(), count))
    with np.errstate(invalid="ignore"):
        return ((np.stack(sums, axis=1) / volumes[:, None] - heads.centre) * SPACING)[1:]


def label_map(image: sitk.Image, name: str = "label map") -> LabelMap:
    """Turn an image with FreeSurfer's numbers into a map of classes about the head.

    :param name: what to call the image in an error.
    :raises InputError: there is no cerebral white matter on both sides.
    """
    image = _at_working_spacing(canonical_image(image))
    numbers = sitk.GetArrayFromImage(image)
    table = classes()
    kinds = table.of_number[np.clip(numbers, 0, len(table.of_number) - 1)]
    _give_sides(kinds, numbers, name)
    kinds = _without_islands(kinds)
    inside = np.argwhere(kinds > 0)
    lower, upper = inside.min(0), inside.max(0) + 1
    kinds = np.pad(kinds[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))], MARGIN)
    fluid = [index for index, kind in enumerate(table.names) if LOOKS[kind].group == "fluid"]
    brain = (table.channel[kinds] > 0) & ~np.isin(kinds, fluid)
    return LabelMap(torch.from_numpy(kinds), tuple(np.argwhere(brain).mean(0).tolist()))


def fingerprint(file: Path) -> str:
    """Changes with the file and with the classes."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; check the name.")
    state = file.stat()
    return _digest(f"{file.resolve()} {state.st_size} {state.st_mtime_ns} {_classes_digest()}")


def _classes_digest() -> str:
    """Changes when the number in a class map would mean something else."""
    table = classes()
    return _digest(f"{table.names} {table.channel.tolist()} {table.of_number.tolist()}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _keep(heads: LabelMap, path: Path) -> None:
    """Write to the cache; a run that is stopped leaves nothing half-written under the final name.

    Several trainings may fill one cache at the same time.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, classes=heads.classes.numpy(), centre=heads.centre, meaning=_classes_digest())
    unfinished.replace(path)


def _kept(path: Path) -> LabelMap:
    """Undo :func:`_keep`."""
    try:
        with np.load(path, allow_pickle=False) as content:
            kinds, centre, meaning = content["classes"], content["centre"], str(content["meaning"])
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as a cached label map; make it again from the image.") from error
    if meaning != _classes_digest():
        raise InputError(f"{path}: was made for another label table; make it again from the image.")
    return LabelMap(torch.from_numpy(kinds), tuple(centre.tolist()))


def _at_working_spacing(image: sitk.Image) -> sitk.Image:
    old = np.asarray(image.GetSpacing())
    if np.allclose(old, SPACING, atol=0.01):
        return image
    size = np.ceil(np.asarray(image.GetSize()) * old / SPACING).astype(int).tolist()
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkNearestNeighbor,
        image.GetOrigin(), [SPACING] * 3, image.GetDirection(), 0,
    )  # fmt: skip


def _give_sides(kinds: np.ndarray, numbers: np.ndarray, name: str) -> None:
    """Give each voxel whose number has no side to the side whose white matter is nearer, in place."""
    table = classes()
    left, right = (index for index in range(int(table.channel.max()) + 1) if table.names[index] == WHITE_MATTER)
    if not (kinds == left).any() or not (kinds == right).any():
        raise InputError(f"{name}: holds no white matter on both sides (2 and 41); FreeSurfer's numbers are needed.")
    unsided = {number: pair for number, pair in unsided_numbers().items() if (numbers == number).any()}
    if not unsided:
        return
    # Where both sides meet, sided voxels alone say which is which.
    sided = ~np.isin(numbers, list(unsided))
    to_left, to_right = (_distance((kinds == side) & sided) for side in (left, right))
    for number, pair in unsided.items():
        here = numbers == number
        kinds[here] = np.where(to_left[here] <= to_right[here], *pair)


def _distance(mask: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=True))


def _without_islands(kinds: np.ndarray) -> np.ndarray:
    """Keep the head alone: a few maps have specks in the air beside it."""
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray((kinds > 0).astype(np.uint8))))
    return np.where(sitk.GetArrayViewFromImage(parts) == 1, kinds, 0).astype(np.uint8)
