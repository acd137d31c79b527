"""Displacement fields on a grid: sampling, composing, integrating, inverting, Jacobians.

Every field is (B, 3, D, H, W), in voxels of its own grid; channel i moves array axis i, and warping pulls back:
``warped(x) = moving(x + u(x))``. Resizing keeps the outer faces of the volume (half-voxel centres,
``align_corners=False``), so coarse and fine grids are concentric.
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
# Steps of a voxel in inverting before their length is adapted, the shortest step afterwards, and by how much a step may
# increase the residual.
FULL_STEPS, SHORTEST_STEP, LARGEST_GROWTH = 2, 0.1, 2.0


def voxel_grid(shape: Sequence[int], device: torch.device | None = None) -> torch.Tensor:
    """Return the index of every voxel, (1, 3, D, H, W)."""
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def sample(image: torch.Tensor, positions: torch.Tensor, padding: str = "border") -> torch.Tensor:
    """Interpolate an image trilinearly.

    :param image: (B, C, D, H, W).
    :param positions: (B, 3, ...) in voxels of ``image``, on a grid of any shape.
    :param padding: values outside the image: ``border`` repeats the edge, ``zeros`` is 0.
    :returns: (B, C, ...), with the shape of the grid of ``positions``.
    """
    sizes = image.shape[2:]
    # grid_sample counts from -1 to 1 between the outer faces, and takes the last array axis first. The coordinates are
    # not interleaved: writing them so takes as long as sampling the image.
    scaled = torch.stack(
        [positions[:, axis] * (2.0 / sizes[axis]) + (1.0 / sizes[axis] - 1.0) for axis in (2, 1, 0)], 1
    )
    options = {"padding_mode": padding, "align_corners": False}
    if image.device.type != "cpu" or len(image) > 1:
        return functional.grid_sample(image, scaled.movedim(1, -1), **options)
    # On a CPU grid_sample uses one core for each image of a batch: split into a batch, a single image uses all cores.
    parts, points = torch.get_num_threads(), scaled[0, 0].numel()
    rows = functional.pad(scaled.view(3, points), (0, -points % parts)) if points % parts else scaled
    rows = rows.view(3, parts, 1, 1, -1).permute(1, 2, 3, 4, 0)
    found = functional.grid_sample(image.expand(parts, -1, -1, -1, -1), rows, **options)
    return found.transpose(0, 1).reshape(1, image.shape[1], -1)[..., :points].reshape(1, -1, *positions.shape[2:])


def warp(image: torch.Tensor, field: torch.Tensor, padding: str = "border") -> torch.Tensor:
    """Pull an image back: ``warped(x) = image(x + u(x))``; (B, C, D, H, W) on the field's grid."""
    return sample(image, voxel_grid(field.shape[2:], field.device) + field, padding)


def compose(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """Return the field of ``x -> (id + outer)((id + inner)(x))``, which is ``inner(x) + outer(x + inner(x))``."""
    return warp(outer, inner) + inner


def compose_with_step(field: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Compose a field with an inner step of at most one voxel along each axis, in less than half the time of `compose`.

    The step is taken along one axis after the other. Each part preserves the order of voxels, so it does not fold;
    between voxels the field is interpolated with the neighbour in the direction of the step. The result differs from
    that of :func:`compose` by products of the step and its derivative.
    """
    for axis in (2, 3, 4):
        along = step[:, axis - 2 : axis - 1]
        field = apply_blockwise(partial(_stepped, axis=axis), field, along, across=3 if axis == 2 else 2)
    return field


def _stepped(field: torch.Tensor, along: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the field composed with a step of -1 to 1 along an axis, edges replicated."""
    count = field.shape[axis] - 1
    difference = field.narrow(axis, 1, count) - field.narrow(axis, 0, count)
    found = field.clone()
    found.narrow(axis, 0, count).addcmul_(difference, along.clamp(min=0).narrow(axis, 0, count))
    found.narrow(axis, 1, count).addcmul_(difference, along.clamp(max=0).narrow(axis, 1, count))
    found[:, axis - 2 : axis - 1].add_(along)
    return found


def integrate(velocity: torch.Tensor, steps: int = 7) -> torch.Tensor:
    """Integrate a stationary velocity field over unit time by scaling and squaring (Arsigny et al. 2006).

    :param velocity: (B, 3, D, H, W) in voxels per unit time.
    :returns: a displacement field, diffeomorphic if the velocities are smooth on the grid.
    """
    field = velocity / 2**steps
    for _ in range(steps):
        field = compose(field, field)
    return field


def invert(field: torch.Tensor, iterations: int = 12, tolerance: float = 0.02) -> tuple[torch.Tensor, torch.Tensor]:
    """Invert a field from coarse to fine by the fixed-point iteration ``v(y) = -u(y + v(y))`` (Chen et al. 2008).

    Where the field stretches space more than twofold, the iteration itself does not converge; there the length of the
    steps follows from the residuals.

    :param field: (1, 3, D, H, W).
    :param iterations: maximum at each resolution.
    :param tolerance: a voxel has converged if its residual, ``|v + u(id + v)|``, is at most this, in voxels.
    :returns: the inverse field, and the residual of each voxel, (1, D, H, W), in voxels.
    """
    inverse = _inverse_on_coarser_grid(field, iterations, tolerance)
    # While most voxels have not converged, a step of the whole volume takes half the time of one of a list of voxels.
    inverse -= compose(field, inverse)
    misfit = compose(field, inverse)
    residual = vector_norms(misfit)
    _converge_voxels(field, inverse, misfit, residual, iterations - 1, tolerance)
    return inverse, residual


def _inverse_on_coarser_grid(field: torch.Tensor, iterations: int, tolerance: float) -> torch.Tensor:
    """Return the inverse found with half as many voxels along each axis, resampled; zeros for small fields."""
    shape = field.shape[2:]
    if min(shape) <= COARSEST_INVERSION:
        return torch.zeros_like(field)
    coarse, _ = invert(resize_field(field, [size // 2 for size in shape]), iterations, tolerance)
    return resize_field(coarse, shape)


def _converge_voxels(
    field: torch.Tensor,
    inverse: torch.Tensor,
    misfit: torch.Tensor,
    residual: torch.Tensor,
    iterations: int,
    tolerance: float,
) -> None:
    """Iterate the voxels of an inverse that have not converged, and write them back.

    :param inverse: (1, 3, D, H, W), changed in place.
    :param misfit: ``v + u(id + v)`` of it.
    :param residual: (1, D, H, W), the length of the misfit, changed in place.
    """
    inverse, residual = inverse[0].flatten(1), residual[0].flatten()
    voxels = torch.nonzero(residual > tolerance).flatten()
    positions = voxel_grid(field.shape[2:], field.device)[0].flatten(1)[:, voxels]
    vectors, misfit = inverse[:, voxels], misfit[0].flatten(1)[:, voxels]
    step = torch.ones_like(misfit[:1])
    for iteration in range(iterations):
        if len(voxels) == 0:
            break
        moved = vectors - step * misfit
        misfit_there = moved + sample(field, (positions + moved).view(1, 3, -1, 1, 1)).view(3, -1)
        if iteration + 1 >= FULL_STEPS:
            step = _secant_step(step, misfit, misfit_there)
        # A voxel that went much too far goes back, and takes the secant's step from there.
        is_too_far = vector_norms(misfit_there[None])[0] > LARGEST_GROWTH * residual[voxels]
        vectors, misfit = torch.where(is_too_far, vectors, moved), torch.where(is_too_far, misfit, misfit_there)
        length = vector_norms(misfit[None])[0]
        inverse[:, voxels], residual[voxels] = vectors, length
        kept = torch.nonzero(length > tolerance).flatten()
        voxels = voxels[kept]
        positions, vectors, misfit, step = (part[:, kept] for part in (positions, vectors, misfit, step))


def _secant_step(step: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the next step of each voxel, (1, N), from the misfits before and after its last (Barzilai & Borwein 1988).

    Steps of one half for all voxels do not converge where the field stretches space more than fourfold.

    :param before: (3, N).
    :param after: likewise.
    """
    change = before - after
    product = (before * change).sum(dim=0, keepdim=True)
    return (step * product / change.square().sum(dim=0, keepdim=True).clamp(min=1e-12)).clamp(SHORTEST_STEP, 1.0)


def resize_image(image: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Resample (B, C, D, H, W) to another number of voxels in the same box."""
    if tuple(image.shape[2:]) == tuple(shape):
        return image
    return functional.interpolate(image, size=tuple(shape), mode="trilinear", align_corners=False)


def resize_field(field: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Resample a field to another grid over the same box, in voxels of that grid."""
    if tuple(field.shape[2:]) == tuple(shape):
        return field
    ratios = [new / old for new, old in zip(shape, field.shape[2:], strict=True)]
    return resize_image(field, shape) * field.new_tensor(ratios).view(1, 3, 1, 1, 1)


def downsample(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Average blocks of ``factor`` voxels along each axis; incomplete blocks at the far ends are dropped."""
    return functional.avg_pool3d(image, factor) if factor > 1 else image


def pad_to_multiple(volume: torch.Tensor, multiple: int, mode: str = "replicate") -> torch.Tensor:
    """Pad (B, C, D, H, W) at the far ends, to sizes that are multiples of a number.

    :param mode: ``replicate`` to repeat the edges, ``constant`` for zeros.
    """
    widths = [width for size in reversed(volume.shape[2:]) for width in (0, -size % multiple)]
    return functional.pad(volume, widths, mode=mode) if any(widths) else volume


def block_means(volume: torch.Tensor, factor: int, sigma: float) -> torch.Tensor:
    """Average over blocks of ``factor`` voxels along each axis and smooth by a Gaussian of ``sigma`` blocks.

    Incomplete blocks are filled with zeros.
    """
    return smooth(downsample(pad_to_multiple(volume, factor, mode="constant"), factor), sigma)


def resize_blocks(blocks: torch.Tensor, shape: Sequence[int], factor: int) -> torch.Tensor:
    """Interpolate from blocks of ``factor`` voxels along each axis to the voxels."""
    whole = resize_image(blocks, [factor * size for size in blocks.shape[2:]])
    return whole[..., : shape[0], : shape[1], : shape[2]]


def moving_average(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Average the block of ``factor`` voxels along each axis that begins at each voxel of (B, C, D, H, W).

    Sampled at ``x - (factor - 1) / 2`` it is the average around ``x``: equal to :func:`downsample` at the centres of
    its blocks, but defined between them too, without the blur of interpolating coarse voxels.
    """
    for axis in (2, 3, 4):
        image = running_sum(image, axis, factor)
    return image / factor**3


def running_sum(image: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    """Sum ``count`` neighbours along an axis, from each voxel on, by halves: eight take three additions."""
    if count == 1:
        return image
    half = running_sum(image, axis, count // 2)
    size = image.shape[axis] - count + 1
    total = half.narrow(axis, 0, size) + half.narrow(axis, count // 2, size)
    return total + image.narrow(axis, count - 1, size) if count % 2 else total


def smooth(volume: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur (B, C, D, H, W) by a Gaussian of ``sigma`` voxels, truncated at three sigma, edges replicated.

    Summing shifted copies is several times as fast here as a convolution along one axis.
    """
    if sigma <= 0:
        return volume
    radius = max(1, math.ceil(3 * sigma - 0.5))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = (weights / weights.sum()).tolist()
    return apply_along_each_axis(partial(_filtered, weights=weights), volume)


def _filtered(volume: torch.Tensor, axis: int, weights: list[float]) -> torch.Tensor:
    """Return the weighted sum of copies shifted along an axis, edges replicated."""
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
    """Return the length of each vector, (B, 3, ...) to (B, ...); PyTorch's norm takes ten times as long here."""
    return vectors.square().sum(dim=1).sqrt_()


def central_differences(volume: torch.Tensor) -> torch.Tensor:
    """Return the derivative along each array axis per voxel, one-sided at the edges: (B, C, ...) to (B, C, 3, ...)."""
    return torch.stack(torch.gradient(volume, dim=(2, 3, 4)), dim=2)


def jacobian_determinant(field: torch.Tensor) -> torch.Tensor:
    """Return the Jacobian determinant of ``x + u(x)``: (B, 3, D, H, W) to (B, D, H, W).

    It is computed in voxels of one grid; direction and spacing cancel, so it is also the determinant in millimetres.
    """
    matrix = central_differences(field) + torch.eye(3, device=field.device).view(1, 3, 3, 1, 1, 1)
    return determinant(*matrix.unbind(dim=2))


def determinant(first: torch.Tensor, second: torch.Tensor, third: torch.Tensor) -> torch.Tensor:
    """Return the determinant of 3x3 matrices given by their columns, each (B, 3, ...), as (B, ...).

    ``torch.linalg.det`` takes twenty times as long for a matrix in every voxel.
    """
    a, b, c = first.unbind(1)
    d, e, f = second.unbind(1)
    g, h, i = third.unbind(1)
    return a * (e * i - f * h) - d * (b * i - c * h) + g * (b * f - c * e)


def border_ramp(shape: Sequence[int], width: float = 4.0) -> torch.Tensor:
    """Return 0 on the outermost voxels, rising to 1 over ``width`` voxels: (1, 1, D, H, W)."""
    ramps = []
    for size in shape:
        index = torch.arange(size, dtype=torch.float32)
        ramps.append((torch.minimum(index, size - 1 - index) / width).clamp(max=1.0))
    return (ramps[0][:, None, None] * ramps[1][:, None] * ramps[2])[None, None]


def average_on_grid(volume: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Average (B, C, D, H, W) over the voxels of a coarser grid over the same box."""
    return functional.adaptive_avg_pool3d(volume, tuple(shape))
