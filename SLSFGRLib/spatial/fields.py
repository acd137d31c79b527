"""Displacement fields on a grid: sampling, composing, integrating, inverting, Jacobians.

Every field is (B, 3, D, H, W), in voxels of its own grid; channel i moves array axis i, and warping pulls
back: ``warped(x) = moving(x + u(x))``. Resizing keeps the faces of the volume where they are
(half-voxel centres, ``align_corners=False``), so coarse and fine grids stay concentric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch.nn import functional

from .blockwise import apply_along_each_axis, apply_blockwise

# Fields whose shortest side is longer than this are inverted on a coarser grid first, in voxels.
COARSEST_INVERSION = 24
# Of the steps in inverting, those of full length, and those of all voxels.
WHOLE_STEPS, VOLUME_STEPS = 3, 1


def voxel_grid(shape: Sequence[int], device: torch.device | None = None) -> torch.Tensor:
    """The index of every voxel, (1, 3, D, H, W)."""
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def sample(
    image: torch.Tensor, positions: torch.Tensor, mode: str = "bilinear", padding: str = "border"
) -> torch.Tensor:
    """Read an image between its voxels.

    :param image: (B, C, D, H, W).
    :param positions: (B, 3, ...) in voxels of ``image``, on a grid of any shape.
    :param mode: ``bilinear`` (trilinear in three dimensions) or ``nearest``.
    :param padding: what lies outside: ``border`` continues the edge, ``zeros`` is nothing.
    :returns: (B, C, ...), the shape of the grid of ``positions``.
    """
    sizes = image.shape[2:]
    # grid_sample counts from -1 to 1 between the outer faces, and names the last array axis first. One coordinate after
    # the other, not interleaved: to write them so takes as long as reading the image.
    scaled = torch.stack(
        [positions[:, axis] * (2.0 / sizes[axis]) + (1.0 / sizes[axis] - 1.0) for axis in (2, 1, 0)], 1
    )
    options = {"mode": mode, "padding_mode": padding, "align_corners": False}
    if image.device.type != "cpu" or len(image) > 1:
        return functional.grid_sample(image, scaled.movedim(1, -1), **options)
    # On a CPU each image of a batch is read with one core; cut into a batch, a single one is read with all.
    parts, points = torch.get_num_threads(), scaled[0, 0].numel()
    rows = functional.pad(scaled.view(3, points), (0, -points % parts)) if points % parts else scaled
    rows = rows.view(3, parts, 1, 1, -1).permute(1, 2, 3, 4, 0)
    found = functional.grid_sample(image.expand(parts, -1, -1, -1, -1), rows, **options)
    return found.transpose(0, 1).reshape(1, image.shape[1], -1)[..., :points].reshape(1, -1, *positions.shape[2:])


def warp(image: torch.Tensor, field: torch.Tensor, mode: str = "bilinear", padding: str = "border") -> torch.Tensor:
    """Pull an image back: ``warped(x) = image(x + u(x))``; (B, C, D, H, W) on the field's grid."""
    return sample(image, voxel_grid(field.shape[2:], field.device) + field, mode, padding)


def compose(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """The field of ``x -> (id + outer)((id + inner)(x))``: ``inner(x) + outer(x + inner(x))``."""
    return warp(outer, inner) + inner


def compose_with_step(field: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """:func:`compose` with a step of at most one voxel along each axis, in less than half the time.

    The step is taken along one axis after the other, each a map that keeps the order of voxels, so that it folds
    nothing; between voxels the field is interpolated with the neighbour to which the step points. That differs from
    the step taken at once by products of the step and of its own change from voxel to voxel.
    """
    for axis in (2, 3, 4):
        along = step[:, axis - 2 : axis - 1]
        field = apply_blockwise(partial(_stepped, axis=axis), field, along, across=3 if axis == 2 else 2)
    return field


def _stepped(field: torch.Tensor, along: torch.Tensor, axis: int) -> torch.Tensor:
    """The field composed with a step of -1 to 1 along an axis, edges continued."""
    count = field.shape[axis] - 1
    difference = field.narrow(axis, 1, count) - field.narrow(axis, 0, count)
    found = field.clone()
    found.narrow(axis, 0, count).addcmul_(difference, along.clamp(min=0).narrow(axis, 0, count))
    found.narrow(axis, 1, count).addcmul_(difference, along.clamp(max=0).narrow(axis, 1, count))
    found[:, axis - 2 : axis - 1].add_(along)
    return found


def integrate(velocity: torch.Tensor, steps: int = 7) -> torch.Tensor:
    """Follow a stationary velocity field for unit time, by scaling and squaring (Arsigny et al. 2006).

    :param velocity: (B, 3, D, H, W) in voxels for each unit of time.
    :returns: a displacement field; a diffeomorphism for velocities that are smooth on the grid.
    """
    field = velocity / 2**steps
    for _ in range(steps):
        field = compose(field, field)
    return field


def invert(field: torch.Tensor, iterations: int = 12, tolerance: float = 0.02) -> tuple[torch.Tensor, float]:
    """Invert by fixed point: ``v(y) = -u(y + v(y))`` (Chen et al. 2008), from coarse to fine.

    After a few whole steps half-way ones are taken, which converge also where the field stretches space more than
    twofold; only voxels that have not settled are visited again.

    :param field: (1, 3, D, H, W).
    :param iterations: at most, at each resolution.
    :param tolerance: the residual in voxels with which a voxel has settled.
    :returns: the inverse field, and its residual: the mean of ``|v + u(id + v)|`` in voxels.
    """
    shape = field.shape[2:]
    if min(shape) > COARSEST_INVERSION:
        coarse, _ = invert(resize_field(field, [size // 2 for size in shape]), iterations, tolerance)
        inverse = resize_field(coarse, shape)
    else:
        inverse = torch.zeros_like(field)
    miss = compose(field, inverse)
    for _ in range(VOLUME_STEPS):
        # While most voxels are open, all are visited: in a list each takes twice as long.
        inverse -= miss
        miss = compose(field, inverse)
    inverse, residual = inverse[0].flatten(1), vector_norms(miss)[0].flatten()
    open_voxels = torch.nonzero(residual > tolerance).flatten()
    places, found, miss = (
        volume.flatten(1)[:, open_voxels] for volume in (voxel_grid(shape, field.device)[0], inverse, miss[0])
    )
    for iteration in range(VOLUME_STEPS, iterations):
        if len(open_voxels) == 0:
            break
        found = found - (1.0 if iteration < WHOLE_STEPS else 0.5) * miss
        inverse[:, open_voxels] = found
        miss = found + sample(field, (places + found).view(1, 3, -1, 1, 1)).view(3, -1)
        length = vector_norms(miss[None])[0]
        residual[open_voxels] = length
        kept = torch.nonzero(length > tolerance).flatten()
        open_voxels, places, found, miss = open_voxels[kept], places[:, kept], found[:, kept], miss[:, kept]
    return inverse.view_as(field), float(residual.mean())


def resize_image(image: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Resample (B, C, D, H, W) to another number of voxels in the same box."""
    if tuple(image.shape[2:]) == tuple(shape):
        return image
    return functional.interpolate(image, size=tuple(shape), mode="trilinear", align_corners=False)


def resize_field(field: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Resample a field to another grid over the same box; its numbers become voxels of that grid."""
    if tuple(field.shape[2:]) == tuple(shape):
        return field
    ratios = [new / old for new, old in zip(shape, field.shape[2:], strict=True)]
    return resize_image(field, shape) * field.new_tensor(ratios).view(1, 3, 1, 1, 1)


def downsample(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Average blocks of ``factor`` voxels a side; what is left over at the far ends is dropped."""
    return functional.avg_pool3d(image, factor) if factor > 1 else image


def pad_to_multiple(volume: torch.Tensor, multiple: int, mode: str = "replicate") -> torch.Tensor:
    """(B, C, D, H, W) with something beyond its far ends, to sizes that are multiples of a number.

    :param mode: ``replicate`` to continue the edges, ``constant`` for zeros.
    """
    widths = [width for size in reversed(volume.shape[2:]) for width in (0, -size % multiple)]
    return functional.pad(volume, widths, mode=mode) if any(widths) else volume


def moving_average(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Average the block of ``factor`` voxels a side that begins at each voxel of (B, C, D, H, W).

    Read at ``x - (factor - 1) / 2`` it is the average about ``x``: just what :func:`downsample` gives at the
    middles of its blocks, but anywhere between them too, without the blur of interpolating coarse voxels.
    """
    for axis in (2, 3, 4):
        image = running_sum(image, axis, factor)
    return image / factor**3


def running_sum(image: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    """Sum ``count`` neighbours along an axis, from each voxel on: from halves, so that eight take three additions."""
    if count == 1:
        return image
    half = running_sum(image, axis, count // 2)
    size = image.shape[axis] - count + 1
    total = half.narrow(axis, 0, size) + half.narrow(axis, count // 2, size)
    return total + image.narrow(axis, count - 1, size) if count % 2 else total


def smooth(volume: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur (B, C, D, H, W) by a Gaussian of ``sigma`` voxels, cut at three sigma, edges continued.

    Summing shifted copies is several times faster here than a convolution along one axis.
    """
    if sigma <= 0:
        return volume
    radius = max(1, math.ceil(3 * sigma - 0.5))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = (weights / weights.sum()).tolist()
    return apply_along_each_axis(partial(_filtered, weights=weights), volume)


def _filtered(volume: torch.Tensor, axis: int, weights: list[float]) -> torch.Tensor:
    """The sum of copies shifted along an axis, edges continued."""
    padded = pad_axis(volume, axis, len(weights) // 2, "replicate")
    size = volume.shape[axis]
    found = weights[0] * padded.narrow(axis, 0, size)
    for shift in range(1, len(weights)):
        found = found.add_(padded.narrow(axis, shift, size), alpha=weights[shift])
    return found


def pad_axis(volume: torch.Tensor, axis: int, amount: int, mode: str = "constant") -> torch.Tensor:
    """Pad one of the last three axes of (B, C, D, H, W) at both ends."""
    widths = [0, 0, 0, 0, 0, 0]
    widths[2 * (4 - axis)] = widths[2 * (4 - axis) + 1] = amount
    return functional.pad(volume, widths, mode=mode)


def vector_norms(vectors: torch.Tensor) -> torch.Tensor:
    """The length of each vector, (B, 3, ...) to (B, ...); PyTorch's norm along this axis takes ten times as long."""
    return vectors.square().sum(dim=1).sqrt_()


def central_differences(volume: torch.Tensor) -> torch.Tensor:
    """Derivative along each array axis per voxel, one-sided at the edges: (B, C, ...) to (B, C, 3, ...)."""
    return torch.stack(torch.gradient(volume, dim=(2, 3, 4)), dim=2)


def jacobian_determinant(field: torch.Tensor) -> torch.Tensor:
    """Determinant of the Jacobian of ``x + u(x)``: (B, 3, D, H, W) to (B, D, H, W).

    In voxel coordinates of one grid: the grid's direction and spacing cancel, so that this also is the
    determinant in millimetres.
    """
    matrix = central_differences(field) + torch.eye(3, device=field.device).view(1, 3, 3, 1, 1, 1)
    return determinant(*matrix.unbind(dim=2))


def determinant(first: torch.Tensor, second: torch.Tensor, third: torch.Tensor) -> torch.Tensor:
    """Determinant of 3x3 matrices given by their columns, each (B, 3, ...), to (B, ...).

    Written out: ``torch.linalg.det`` takes twenty times as long for a matrix in every voxel.
    """
    a, b, c = first.unbind(1)
    d, e, f = second.unbind(1)
    g, h, i = third.unbind(1)
    return a * (e * i - f * h) - d * (b * i - c * h) + g * (b * f - c * e)


def border_ramp(shape: Sequence[int], width: float = 4.0) -> torch.Tensor:
    """0 on the outermost voxels, rising to 1 over ``width`` more: (1, 1, D, H, W)."""
    ramps = []
    for size in shape:
        index = torch.arange(size, dtype=torch.float32)
        ramps.append((torch.minimum(index, size - 1 - index) / width).clamp(max=1.0))
    return (ramps[0][:, None, None] * ramps[1][:, None] * ramps[2])[None, None]


def average_on_grid(volume: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Averages of (B, C, D, H, W) over the voxels of a coarser grid over the same box."""
    return functional.adaptive_avg_pool3d(volume, tuple(shape))
