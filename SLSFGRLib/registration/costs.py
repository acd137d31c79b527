"""How long a registration takes and how much memory: estimates before it runs. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..modes import AFFINE, AUTO, DEFORMABLE, RIGID

# Peaks of memory, rounded up so that no 1 mm pair of docs/benchmarks.md took more: of Python with its libraries, for
# each voxel of the prepared fixed image, for each voxel of the finest field, and there for each tissue map.
BASE_BYTES = 400_000_000
IMAGE_BYTES = 192
FIELD_BYTES, TISSUE_BYTES = 200, 20
# The finest field of each mode: its voxels' size in mm, and how many tissue maps it compares; as in schedules.py.
FINEST = {"fast": (2.0, 0), "standard": (1.0, 0), "accurate": (1.0, 1)}
# Of a voxel as it was given, in both images: read, resampled and written, at most 8 bytes each.
GIVEN_BYTES = 24
# The prepared image is a box around the brain at about 1 mm, however large the field of view is: 180 x 220 x 190 mm.
BRAIN_BOX_MM3 = 7.5e6
# Seconds for brains of OASIS at 1 mm, 5.3e6 voxels, on two cores (docs/benchmarks.md); rigid: patient_t1 to patient_t2.
REFERENCE_VOXELS = 5.3e6
RIGID_SECONDS = 3.2
DEFORMABLE_SECONDS = {"fast": 6.1, "standard": 17.2, "accurate": 22.9}
# Seconds for each voxel as it was given: reading and writing, as above.
GIVEN_SECONDS = 3e-8


@dataclass(frozen=True)
class Costs:
    """What a registration is expected to take.

    :param seconds: on two cores of a slow server; the fewest and the most, which differ where the images decide.
    :param memory: bytes at the peak.
    """

    seconds: tuple[float, float]
    memory: int


def peak_bytes(voxels: int, field_factor: int, tissue_maps: int) -> int:
    """Return the bytes that a registration takes at its peak.

    :param voxels: of the prepared fixed image.
    :param field_factor: how many of these are along a side of a voxel of the finest field.
    :param tissue_maps: that are compared there.
    """
    return BASE_BYTES + voxels * IMAGE_BYTES + voxels * (FIELD_BYTES + TISSUE_BYTES * tissue_maps) // field_factor**3


def expected_costs(images: Sequence[tuple[Sequence[int], Sequence[float]]], transform: str, mode: str) -> Costs:
    """Return what the registration of two images is expected to take.

    :param images: sizes in voxels and spacings in mm of the fixed and the moving image.
    """
    given = sum(_product(size) for size, _spacing in images)
    fixed_size, fixed_spacing = images[0]
    voxels = min(BRAIN_BOX_MM3, _product(fixed_size) * _product(fixed_spacing))
    finest, tissue_maps = FINEST[mode]
    scale = voxels / REFERENCE_VOXELS
    linear = RIGID_SECONDS * scale + GIVEN_SECONDS * given
    deformable = DEFORMABLE_SECONDS[mode] * scale + GIVEN_SECONDS * given
    seconds = {
        RIGID: (linear, linear),
        AFFINE: (linear, linear),
        DEFORMABLE: (deformable, deformable),
        AUTO: (min(linear, deformable), max(linear, deformable)),
    }[transform]
    if transform in (RIGID, AFFINE):
        memory = BASE_BYTES + round(voxels) * IMAGE_BYTES
    else:
        memory = peak_bytes(round(voxels), round(finest), tissue_maps)
    return Costs(seconds, memory + given * GIVEN_BYTES)


def _product(values: Sequence[float]) -> float:
    product = 1.0
    for value in values:
        product *= value
    return product
