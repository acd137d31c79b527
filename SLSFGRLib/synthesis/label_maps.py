"""Label maps from which images are synthesised: read once, kept compact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..io.images import read_labels
from ..io.label_table import unsided_numbers
from ..io.staging import staged_file
from ..spatial.affine_fit import fit_affine
from ..spatial.components import largest_component
from ..spatial.fields import central_differences
from ..spatial.grid import canonical_image
from .poses import Pose
from .tissue_contrasts import INTENSITY_PROFILES, classes

SPACING = 1.0
# Air kept around the head, in voxels, so that points outside the map are air.
MARGIN = 2
WHITE_MATTER = "cerebral white matter"


@dataclass(frozen=True)
class LabelMap:
    """A head as a map of tissue classes at 1 mm, array axes towards superior, posterior and left.

    :param classes: (D, H, W) uint8, indices into :func:`tissue_contrasts.classes`, surrounded by air.
    :param centre: of the brain, in voxels along each axis.
    :param pose: maps points around the centre of the first of several maps to the same anatomy around this one's.
    """

    classes: torch.Tensor
    centre: tuple[float, float, float]
    pose: Pose | None = None

    @classmethod
    def from_image(cls, image: sitk.Image, name: str = "label map") -> LabelMap:
        """Convert an image with FreeSurfer's numbers, and crop it to the head.

        :param name: of the image in an error.
        :raises InputError: there is no cerebral white matter on both sides.
        """
        image = _at_working_spacing(canonical_image(image))
        numbers = sitk.GetArrayFromImage(image)
        table = classes()
        kinds = table.of_number[np.clip(numbers, 0, len(table.of_number) - 1)]
        _assign_sides(kinds, numbers, name)
        # A few maps have specks in the air beside the head.
        kinds[~largest_component(kinds > 0)] = 0
        inside = np.argwhere(kinds > 0)
        lower, upper = inside.min(0), inside.max(0) + 1
        kinds = np.pad(kinds[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))], MARGIN)
        fluid = [index for index, kind in enumerate(table.names) if INTENSITY_PROFILES[kind].group == "fluid"]
        brain = (table.channel[kinds] > 0) & ~np.isin(kinds, fluid)
        return cls(torch.from_numpy(kinds), tuple(np.argwhere(brain).mean(0).tolist()))

    def to(self, device: torch.device) -> LabelMap:
        """Return a copy on another device."""
        return replace(self, classes=self.classes.to(device))

    def sample(self, points: torch.Tensor, flipped: bool = False) -> torch.Tensor:
        """Read the map at eight points of each voxel, a quarter of a voxel from its centre along each axis.

        :param points: (1, 3, D, H, W) in mm from the centre of the brain, in the frame that the maps share (see
            :func:`align_label_maps`).
        :param flipped: left and right are swapped; the classes are still those that the map has there.
        :returns: (8, D, H, W) uint8.
        """
        if flipped:
            points = points * points.new_tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1, 1)
        if self.pose is not None:
            points = self.pose(points)
        # Half a voxel is added so that truncation rounds.
        middle = points.new_tensor(self.centre).view(3, 1, 1, 1) + 0.5
        centre = points[0] / SPACING + middle
        quarters = central_differences(points)[0] / (4.0 * SPACING)
        values = self.classes.flatten()
        out = torch.empty((8, *points.shape[2:]), dtype=torch.uint8, device=values.device)
        for octant, signs in enumerate(product((-1.0, 1.0), repeat=3)):
            # The deformation is smooth: its derivative says where the eighths of a voxel lie.
            place = centre + signs[0] * quarters[:, 0]
            place.add_(quarters[:, 1], alpha=signs[1]).add_(quarters[:, 2], alpha=signs[2])
            index = torch.zeros_like(place[0], dtype=torch.int32)
            for axis, size in enumerate(self.classes.shape):
                # The map ends in air on every side, which continues outside.
                index.mul_(size).add_(place[axis].clamp_(0, size - 1).int())
            torch.index_select(values, 0, index.flatten(), out=out[octant].view(-1))
        return out


def load_label_maps(
    files: list[Path], cache_folder: Path, update: Callable[[float], None] = lambda fraction: None
) -> list[LabelMap]:
    """Read label maps with FreeSurfer's numbers; those read before come from the cache.

    :param files: images, or files of a cache, which can be copied to a machine without the images.
    :param cache_folder: is made if it does not exist; holds about half a megabyte for each map.
    :param update: called with the fraction done.
    :raises InputError: a file cannot be read, is no label map, holds no brain, or is an outdated cache.
    """
    maps = []
    for number, file in enumerate(files):
        update(number / len(files))
        if file.suffix == ".npz":
            maps.append(_read_cached(file))
            continue
        cache_folder.mkdir(parents=True, exist_ok=True)
        cached = cache_folder / f"{file.name.split('.')[0]}_{fingerprint(file)}.npz"
        if not cached.is_file():
            _write_cached(LabelMap.from_image(read_labels(file), str(file)), cached)
        maps.append(_read_cached(cached))
    return maps


def align_label_maps(maps: list[LabelMap]) -> list[LabelMap]:
    """Give every map the pose that aligns it to the first, fitted to the centroids of the structures."""
    centroids = [_centroids(label_map) for label_map in maps]
    posed = []
    for label_map, own in zip(maps, centroids, strict=True):
        both = np.isfinite(centroids[0][:, 0]) & np.isfinite(own[:, 0])
        matrix = torch.from_numpy(fit_affine(centroids[0][both], own[both]).matrix).float()
        posed.append(replace(label_map, pose=Pose(matrix[:3, :3], matrix[:3, 3])))
    return posed


def _centroids(label_map: LabelMap) -> np.ndarray:
    """Return each structure's centroid in mm from the centre of the brain, (structures, 3); NaN if it is absent."""
    channels = classes().channel[label_map.classes.cpu().numpy()]
    count = int(classes().channel.max()) + 1
    volumes = np.bincount(channels.ravel(), minlength=count)
    sums = []
    for axis, size in enumerate(channels.shape):
        index = np.arange(size).reshape([-1 if other == axis else 1 for other in range(3)])
        sums.append(np.bincount(channels.ravel(), np.broadcast_to(index, channels.shape).ravel(), count))
    with np.errstate(invalid="ignore"):
        return ((np.stack(sums, axis=1) / volumes[:, None] - label_map.centre) * SPACING)[1:]


def fingerprint(file: Path) -> str:
    """Return a text that changes with the file and with the table of classes.

    :raises InputError: there is no such file.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; check the name.")
    state = file.stat()
    return _digest(f"{file.resolve()} {state.st_size} {state.st_mtime_ns} {_classes_digest()}")


def _classes_digest() -> str:
    """Return a text that changes if the numbers in a class map change their meaning."""
    table = classes()
    return _digest(f"{table.names} {table.channel.tolist()} {table.of_number.tolist()}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_cached(label_map: LabelMap, path: Path) -> None:
    """Write a map to the cache at once; several trainings may fill one cache at the same time."""
    content = {"classes": label_map.classes.numpy(), "centre": label_map.centre, "meaning": _classes_digest()}
    with staged_file(path) as staged:
        np.savez_compressed(staged, **content)


def _read_cached(path: Path) -> LabelMap:
    """Read a map from the cache."""
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


def _assign_sides(kinds: np.ndarray, numbers: np.ndarray, name: str) -> None:
    """Assign each voxel whose number has no side to the side whose white matter is nearer, in place."""
    table = classes()
    left, right = (index for index in range(int(table.channel.max()) + 1) if table.names[index] == WHITE_MATTER)
    if not (kinds == left).any() or not (kinds == right).any():
        raise InputError(f"{name}: holds no white matter on both sides (2 and 41); FreeSurfer's numbers are needed.")
    unsided = {number: pair for number, pair in unsided_numbers().items() if (numbers == number).any()}
    if not unsided:
        return
    # Where both sides meet, only voxels with a side say which is which.
    sided = ~np.isin(numbers, list(unsided))
    to_left, to_right = (_distance((kinds == side) & sided) for side in (left, right))
    for number, pair in unsided.items():
        here = numbers == number
        kinds[here] = np.where(to_left[here] <= to_right[here], *pair)


def _distance(mask: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=True))
