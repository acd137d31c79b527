"""Pictures by which a registration can be judged by eye.

Each shows three planes through the middle of the head as radiologists look at them: the patient's right is on
the left, front or top is up. A pixel is as high as it is wide in millimetres, whatever the voxels are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..spatial.grid import Grid, grid_of_image, mapped_points, nearest_axes
from .canvas import between_colours, blend, grey, png_bytes, resized, text_width, write_text

WIDTH = 960
GAP = 12
# Above each row of panels, for its title.
BAND = 28
LETTERS = 9
TITLE_TOP = 10
SIDE_SHADE = 130
# Shown around the head, in mm.
MARGIN = 8.0
# How far down from its top a head is of interest, in mm: the brain, not the neck.
HEIGHT = 150.0
SQUARE = 20.0
GRID_LINES = 8.0
OUTLINE = (255, 170, 0)
GRID_COLOUR = (120, 230, 255)
FOLDED = (255, 255, 0)
# From half the volume over the same to double; blue and red, which the colour-blind tell apart.
VOLUME_COLOURS = [(30, 100, 255), (130, 180, 255), (235, 235, 235), (255, 150, 110), (235, 40, 30)]

# One for each of the three planes.
Panels = list[np.ndarray]


@dataclass(frozen=True)
class _Plane:
    """One of the three planes through an array whose axes run towards superior, posterior and left.

    :param axis: the array axis that it cuts.
    :param upside_down: the last row of the array is shown on top.
    :param sides: letters for the left and the right edge of the picture.
    """

    axis: int
    upside_down: bool
    sides: tuple[str, str]


PLANES = (_Plane(0, False, ("R", "L")), _Plane(1, True, ("R", "L")), _Plane(2, True, ("A", "P")))


@dataclass(frozen=True)
class _Layout:
    """What part of the fixed image is shown, where it is cut, and how large.

    :param start: first voxel shown along each array axis.
    :param stop: first voxel no longer shown.
    :param cut: along each array axis, the voxel through which the plane across this axis goes.
    :param scale: pixels for each mm.
    """

    grid: Grid
    start: tuple[int, ...]
    stop: tuple[int, ...]
    cut: tuple[int, ...]
    scale: float

    def shape(self, plane: _Plane) -> tuple[int, int]:
        """Rows and columns of the picture of a plane."""
        lengths = (np.array(self.stop) - self.start) * self.grid.spacing * self.scale
        rows, columns = np.maximum(np.floor(np.delete(lengths, plane.axis)), 1).astype(int)
        return int(rows), int(columns)

    def panel(self, plane: _Plane, array: np.ndarray) -> np.ndarray:
        """Cut a plane out of an array on the fixed grid, as it is shown."""
        box = [slice(first, last) for first, last in zip(self.start, self.stop, strict=True)]
        box[plane.axis] = self.cut[plane.axis]
        return self.shown(plane, array[tuple(box)])

    def shown(self, plane: _Plane, values: np.ndarray) -> np.ndarray:
        """Turn upright and enlarge the values of the voxels of a plane."""
        return resized(values[::-1] if plane.upside_down else values, self.shape(plane))


def overview(
    fixed: sitk.Image, moving_before: sitk.Image, warped: sitk.Image, transform: sitk.Transform
) -> dict[str, bytes]:
    """Paint the pictures of a report.

    :param fixed: the fixed image.
    :param moving_before: the moving image on the fixed grid, as it lay before registration.
    :param warped: the moving image on the fixed grid, after registration.
    :param transform: takes points of the fixed image to points of the moving image.
    :returns: PNG files by name, in the order in which to look at them: ``before_after``, ``outline``,
        ``checkerboard``, ``deformation``.
    """
    (fixed_array, grid), (before_array, _), (after_array, _) = map(_canonical, (fixed, moving_before, warped))
    head = fixed_array > _head_threshold(fixed_array)
    layout = _layout(grid, head)
    # Before registration the moving head may lie partly outside: how bright it is shows only afterwards.
    moving_window = _window(after_array)
    fixed_panels = _panels(layout, fixed_array, _window(fixed_array))
    before = _panels(layout, before_array, moving_window)
    after = _panels(layout, after_array, moving_window)
    pictures = {
        "before_after": _before_after(layout, fixed_panels, before, after),
        "outline": _outline(layout, fixed_panels, before, after),
        "checkerboard": _checkerboard(layout, fixed_panels, before, after),
        "deformation": _deformation(layout, fixed_panels, head, transform),
    }
    with ThreadPoolExecutor() as pool:
        return dict(zip(pictures, pool.map(png_bytes, pictures.values()), strict=True))


def _canonical(image: sitk.Image) -> tuple[np.ndarray, Grid]:
    """Do as ``canonical_image`` does, without moving a voxel: that takes longer than all the painting."""
    grid = grid_of_image(image)
    # Array axes towards superior, posterior, left.
    order = nearest_axes(grid.matrix[:3, :3] / grid.spacing)[::-1]
    array = _finite(sitk.GetArrayViewFromImage(image)).transpose(order)
    matrix = grid.matrix[:, [*order, 3]]
    for axis, space_axis in enumerate((2, 1, 0)):
        if matrix[space_axis, axis] < 0:
            array = np.flip(array, axis)
            matrix[:, 3] += matrix[:, axis] * (array.shape[axis] - 1)
            matrix[:, axis] *= -1
    return array, Grid(array.shape, matrix)


def _finite(array: np.ndarray) -> np.ndarray:
    """Take the smallest value, background in brain MRI, where a voxel is not a number."""
    if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=float)):
        return array
    finite = np.isfinite(array)
    return np.where(finite, array, array[finite].min() if finite.any() else 0)


def _head_threshold(array: np.ndarray) -> float:
    """A value between background and head: well below Otsu's, to keep dark grey matter and fluid."""
    some = np.ascontiguousarray(array[::2, ::2, ::2])
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(some))
    background = float(np.percentile(some, 1))
    return background + 0.5 * (otsu.GetThreshold() - background)


def _layout(grid: Grid, head: np.ndarray) -> _Layout:
    """Show the box around the upper part of the head, and cut through its centre of mass."""
    levels = _used(np.count_nonzero(head, axis=(1, 2)))
    lowest = max(levels[-1] - int(HEIGHT / grid.spacing[0]), levels[0])
    start, stop, cut = [], [], []
    for axis in range(3):
        profile = np.count_nonzero(head[lowest:], axis=tuple({0, 1, 2} - {axis}))
        used = _used(profile)
        weights = profile[used] if profile.any() else None
        shift = lowest if axis == 0 else 0
        margin = int(np.ceil(MARGIN / grid.spacing[axis]))
        start.append(max(int(used[0]) + shift - margin, 0))
        stop.append(min(int(used[-1]) + shift + 1 + margin, grid.shape[axis]))
        cut.append(round(float(np.average(used, weights=weights))) + shift)
    _, rows, columns = (np.array(stop) - start) * grid.spacing
    # Axial and coronal are as wide as the head, sagittal as it is long.
    scale = (WIDTH - 4 * GAP) / (2 * columns + rows)
    return _Layout(grid, tuple(start), tuple(stop), tuple(cut), scale)


def _used(profile: np.ndarray) -> np.ndarray:
    """Where along an axis there is head: a few bright specks far from it do not count."""
    return np.flatnonzero(profile >= 0.005 * profile.max())


def _window(array: np.ndarray) -> tuple[float, float]:
    """The values to show as black and as white."""
    some = array[::2, ::2, ::2]
    low = float(np.percentile(some, 1))
    above = some[some > low]
    return low, float(np.percentile(above, 99.5)) if above.size else low + 1.0


def _panels(layout: _Layout, array: np.ndarray, window: tuple[float, float]) -> Panels:
    """Cut the three planes, values from 0 to 1 within a window."""
    low, high = window
    return [np.clip((layout.panel(plane, array) - low) / (high - low), 0, 1) for plane in PLANES]


def _before_after(layout: _Layout, fixed: Panels, before: Panels, after: Panels) -> np.ndarray:
    rows = {"FIXED": fixed, "MOVING BEFORE": before, "MOVING AFTER": after}
    return _composed(layout, {title: [grey(panel) for panel in panels] for title, panels in rows.items()})


def _outline(layout: _Layout, fixed: Panels, before: Panels, after: Panels) -> np.ndarray:
    lines = [_edges(panel) for panel in fixed]

    def drawn(panels: Panels) -> Panels:
        return [blend(grey(0.9 * panel), OUTLINE, line) for panel, line in zip(panels, lines, strict=True)]

    return _composed(layout, {"MOVING BEFORE": drawn(before), "MOVING AFTER": drawn(after)})


def _edges(panel: np.ndarray) -> np.ndarray:
    """Lines along the borders between tissues, from 0 to 1."""
    image = sitk.GetImageFromArray(panel.astype(np.float32))
    edges = sitk.CannyEdgeDetection(image, 0.02, 0.05, [5.0, 5.0])
    # One pixel is too thin to see on a large screen.
    soft = sitk.SmoothingRecursiveGaussian(edges, 0.6)
    return np.clip(2.2 * sitk.GetArrayFromImage(soft), 0, 1)


def _checkerboard(layout: _Layout, fixed: Panels, before: Panels, after: Panels) -> np.ndarray:
    squares = [_squares(panel.shape, layout.scale) for panel in fixed]

    def drawn(panels: Panels) -> Panels:
        return [grey(np.where(*parts)) for parts in zip(squares, fixed, panels, strict=True)]

    return _composed(layout, {"FIXED AND MOVING BEFORE": drawn(before), "FIXED AND MOVING AFTER": drawn(after)})


def _squares(shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Every other square of a checkerboard; four squares meet in the middle."""
    rows, columns = (np.floor((np.arange(size) + 0.5 - size / 2) / (SQUARE * scale)).astype(int) for size in shape)
    return (rows[:, None] + columns) % 2 == 0


def _deformation(layout: _Layout, fixed: Panels, head: np.ndarray, transform: sitk.Transform) -> np.ndarray:
    volumes, grids = [], []
    for plane, panel in zip(PLANES, fixed, strict=True):
        inside = _filled(layout.panel(plane, head))
        block = _block(layout, plane)
        points = mapped_points(transform, block)
        ratio = layout.shown(plane, _volume_ratio(points, block, plane))
        lines = _grid_lines(layout.shown(plane, _bent_places(points, block, plane)))
        volumes.append(_with_volume(grey(0.75 * panel), ratio, inside))
        grids.append(blend(grey(0.45 * panel), GRID_COLOUR, 0.9 * inside * lines))
    picture = _composed(layout, {"LOCAL VOLUME": volumes, "GRID": grids})
    _write_volume_scale(picture)
    return picture


def _filled(inside: np.ndarray) -> np.ndarray:
    """Close the gaps and holes of a region: fluid is dark, and is part of the head."""
    mask = sitk.GetImageFromArray((inside > 0.5).astype(np.uint8))
    mask = sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(mask, [3, 3]))
    return sitk.GetArrayFromImage(mask).astype(float)


def _block(layout: _Layout, plane: _Plane) -> Grid:
    """The voxels shown of a plane and one more all round, so that differences can be taken."""
    start, stop = np.array(layout.start), np.array(layout.stop)
    start[plane.axis] = layout.cut[plane.axis]
    stop[plane.axis] = layout.cut[plane.axis] + 1
    return layout.grid.cropped(start - 1, stop - start + 2)


def _volume_ratio(points: np.ndarray, block: Grid, plane: _Plane) -> np.ndarray:
    """How many times larger the moving brain is than the fixed one, at each voxel of a plane.

    :param points: where the voxels of the block come from in the moving image, LPS mm.
    """
    derivatives = np.stack(np.gradient(points, axis=(0, 1, 2)), axis=-1)[1:-1, 1:-1, 1:-1]
    ratio = np.linalg.det(derivatives) / np.linalg.det(block.matrix[:3, :3])
    return ratio.squeeze(plane.axis)


def _bent_places(points: np.ndarray, block: Grid, plane: _Plane) -> np.ndarray:
    """Where the voxels of a plane come from within the plane, as far as they do not move as one.

    Whole heads are turned and scaled, which would only tilt the grid: the best linear fit is taken out.

    :param points: where the voxels of the block come from in the moving image, LPS mm.
    :returns: (rows, columns, 2) in mm.
    """
    points = points[1:-1, 1:-1, 1:-1].squeeze(plane.axis)
    spacing = np.delete(block.spacing, plane.axis)
    places = np.stack(np.indices(points.shape[:2]), axis=-1) * spacing
    known = np.concatenate([places, np.ones_like(places[..., :1])], axis=-1)
    fit = np.linalg.lstsq(known.reshape(-1, 3), points.reshape(-1, 3), rcond=None)[0]
    return (points - fit[2]) @ np.linalg.pinv(fit[:2])


def _grid_lines(places: np.ndarray) -> np.ndarray:
    """Lines where a place is a multiple of the distance between lines, from 0 to 1."""
    opacity = np.zeros(places.shape[:2])
    for value in np.moveaxis(places, -1, 0):
        slope = np.hypot(*np.gradient(value))
        pixels = np.abs(value - GRID_LINES * np.round(value / GRID_LINES)) / np.maximum(slope, 1e-6)
        opacity = np.maximum(opacity, np.clip(1.2 - pixels, 0, 1))
    return opacity


def _with_volume(picture: np.ndarray, ratio: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Colour a picture where the moving brain is larger or smaller; grey shows through where it is not."""
    level = np.clip(np.log2(np.maximum(ratio, 1e-3)), -1, 1)
    picture = blend(picture, between_colours(level / 2 + 0.5, VOLUME_COLOURS), 0.85 * inside * np.abs(level))
    return blend(picture, FOLDED, inside * (ratio <= 0))


def _write_volume_scale(picture: np.ndarray) -> None:
    """Set the scale of colours beside the first title, in place."""
    ratio = np.tile(np.exp2(np.linspace(-1, 1, 160)), (LETTERS, 1))
    right = WIDTH - GAP - text_width("DOUBLE", LETTERS)
    left = right - 8 - ratio.shape[1]
    bar = _with_volume(grey(np.full(ratio.shape, 0.4)), ratio, np.ones(ratio.shape))
    picture[TITLE_TOP : TITLE_TOP + LETTERS, left : left + ratio.shape[1]] = bar
    write_text(picture, "HALF", TITLE_TOP, left - 8 - text_width("HALF", LETTERS), LETTERS)
    write_text(picture, "DOUBLE", TITLE_TOP, right, LETTERS)


def _composed(layout: _Layout, rows: dict[str, Panels]) -> np.ndarray:
    """Set rows of three panels on black, each row under its title."""
    height = BAND + max(layout.shape(plane)[0] for plane in PLANES)
    picture = np.zeros((len(rows) * height + GAP, WIDTH, 3), dtype=np.uint8)
    for number, (title, panels) in enumerate(rows.items()):
        row = picture[number * height : (number + 1) * height]
        write_text(row, title, TITLE_TOP, GAP, LETTERS)
        left = GAP
        for plane, panel in zip(PLANES, panels, strict=True):
            top = BAND + (height - BAND - panel.shape[0]) // 2
            place = row[top : top + panel.shape[0], left : left + panel.shape[1]]
            place[...] = panel
            write_text(place, plane.sides[0], 6, 6, LETTERS, SIDE_SHADE)
            write_text(place, plane.sides[1], 6, panel.shape[1] - 6 - text_width("R", LETTERS), LETTERS, SIDE_SHADE)
            left += panel.shape[1] + GAP
    return picture
