"""Pictures for judging a registration by eye."""

from __future__ import annotations

import io

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageDraw, ImageFont

from ..io.label_table import NUMBERS, read_label_table
from ..spatial.composite import affine_volume_ratio
from ..spatial.grid import Grid, canonical_array, image_from_array, mapped_points
from ..spatial.resampling import resample_image
from .planes import GAP, PLANES, WIDTH, Layout, Plane, finite, head_mask, intensity_window

# Height of the band above each row of panels that holds its title; position and size of the letters in it.
BAND = 28
TITLE_TOP = 8
FONT_SIZE = 15
TITLE_COLOUR = (190, 190, 190)
SIDE_COLOUR = (130, 130, 130)
SIDE_MARGIN = 6
# Side of a square of the checkerboard and distance between the lines of the grid, in mm.
SQUARE = 20.0
GRID_LINES = 8.0
OUTLINE = (255, 170, 0)
GRID_COLOUR = (120, 230, 255)
FOLDED = (255, 255, 0)
# From half the volume to double; blue and red, which colour-blind readers can tell apart.
VOLUME_COLOURS = ((30, 100, 255), (130, 180, 255), (235, 235, 235), (255, 150, 110), (235, 40, 30))
VOLUME_BAR = (160, 9)
# The volume is averaged over a Gaussian of this standard deviation, in mm. Voxel by voxel two people's brains differ by
# half or double nearly everywhere, since sulci differ; chosen by looking at it.
VOLUME_SIGMA = 3.0
LARGEST_RATIO = 8.0
# A smaller change of the whole head's volume is not worth a word.
LEAST_CHANGE = 0.005
# Files are 1 % larger than at the default level, and take 0.18 instead of 0.30 s.
PNG_COMPRESSION = 3

# At most, in pixels; and of the structures on it.
THUMBNAIL_SIZE = (480, 200)
LABEL_OPACITY = 0.6
# Of labels that are not in the label table, in turn.
OTHER_COLOURS = ((255, 170, 0), (120, 230, 255), (170, 255, 120), (255, 120, 160), (190, 150, 255), (255, 255, 120))

# One array of values from 0 to 1 for each of the three planes.
Panels = list[np.ndarray]
# One picture for each of the three planes.
Row = list[Image.Image]


def overview(
    fixed: sitk.Image, moving: sitk.Image, warped: sitk.Image, transform: sitk.Transform | None
) -> dict[str, bytes]:
    """Draw the pictures of a report.

    :param fixed: the fixed image.
    :param moving: the moving image, on any grid.
    :param warped: the moving image on the fixed grid, after registration.
    :param transform: maps points of the fixed image to points of the moving image; None if nothing is deformed.
    :returns: PNG files by name, in the order in which to look at them: ``before_after``, ``outline``,
        ``checkerboard``, ``deformation``.
    """
    fixed_array, after_array = (finite(canonical_array(image)[0]) for image in (fixed, warped))
    grid = canonical_array(fixed)[1]
    head = head_mask(fixed_array)
    layout = Layout.around(head, grid)
    # Before registration the moving head may lie partly outside the fixed grid: its window is known only afterwards.
    moving_window = intensity_window(after_array)
    fixed_panels = _panels(layout, fixed_array, intensity_window(fixed_array))
    before = [_scaled(_as_stored(layout, plane, moving), moving_window) for plane in PLANES]
    after = _panels(layout, after_array, moving_window)
    pictures = {
        "before_after": _before_after(layout, fixed_panels, before, after),
        "outline": _outline(layout, fixed_panels, before, after),
        "checkerboard": _checkerboard(layout, fixed_panels, before, after),
    }
    if transform is not None:
        pictures["deformation"] = _deformation(layout, fixed_panels, head, transform)
    return {name: _png(picture) for name, picture in pictures.items()}


def outline_thumbnail(fixed: sitk.Image, warped: sitk.Image) -> bytes:
    """Draw the outlines of the fixed image on the warped one in a small JPEG picture."""
    fixed_array, after_array = (finite(canonical_array(image)[0]) for image in (fixed, warped))
    layout = Layout.around(head_mask(fixed_array), canonical_array(fixed)[1])
    lines = [_edges(panel) for panel in _panels(layout, fixed_array, intensity_window(fixed_array))]
    after = _panels(layout, after_array, intensity_window(after_array))
    return _thumbnail([_covered(_grey(panel), OUTLINE, line) for panel, line in zip(after, lines, strict=True)])


def template_picture(template: sitk.Image, affine_average: sitk.Image, labels: sitk.Image | None) -> bytes:
    """Draw a group template, with the borders of its labels and beside the average after affine registration alone.

    :param labels: on the template's grid; None for none.
    :returns: a PNG file.
    """
    (array, grid), (before, _) = canonical_array(template), canonical_array(affine_average)
    layout, window = Layout.around(head_mask(array), grid), intensity_window(array)
    panels = _panels(layout, array, window)
    rows = {"Template": [_grey(panel) for panel in panels]}
    if labels is not None:
        numbers = canonical_array(labels)[0]
        rows["Labels"] = [
            _with_borders(layout, plane, panel, numbers) for plane, panel in zip(PLANES, panels, strict=True)
        ]
    rows["Average after affine registration alone"] = [_grey(panel) for panel in _panels(layout, before, window)]
    return _png(_composed(layout, rows))


def _with_borders(layout: Layout, plane: Plane, panel: np.ndarray, numbers: np.ndarray) -> Image.Image:
    """Draw a line around each label of a plane.

    :param numbers: the label map, (D, H, W).
    """
    # As bright as they can be: a dark line does not show.
    colours = {item.number: tuple(255 * part // max(item.color) for part in item.color) for item in read_label_table()}
    picture = _grey(panel)
    box = np.take(numbers, layout.cut[plane.axis], plane.axis)
    for number in np.unique(box[box > 0]).tolist():
        inside = layout.panel(plane, (numbers == number).astype(np.float32))
        # Half a pixel to both sides of where the interpolated label is one half.
        slope = np.hypot(*np.gradient(inside))
        line = np.clip(1.5 - np.abs(inside - 0.5) / np.maximum(slope, 1e-3), 0.0, 1.0)
        picture = _covered(picture, colours.get(number, OTHER_COLOURS[number % len(OTHER_COLOURS)]), line)
    return picture


def labels_thumbnail(image: sitk.Image, labels: sitk.Image) -> bytes:
    """Draw the structures of a label map on its image in a small JPEG picture."""
    array, grid = canonical_array(image)
    array, numbers = finite(array), canonical_array(labels)[0]
    layout = Layout.around(head_mask(array), grid)
    colours = np.zeros((NUMBERS, 3), np.uint8)
    for item in read_label_table():
        colours[item.number] = item.color
    # Interpolated as colours: a number between those of two structures has no meaning.
    coloured, found = colours[numbers], (numbers > 0).astype(np.float32)
    row = []
    for plane, panel in zip(PLANES, _panels(layout, array, intensity_window(array)), strict=True):
        colour = Image.fromarray(np.rint(layout.panel(plane, coloured)).astype(np.uint8))
        row.append(Image.composite(colour, _grey(panel), _mask(LABEL_OPACITY * layout.panel(plane, found))))
    return _thumbnail(row)


def _thumbnail(row: Row) -> bytes:
    """Place three panels side by side, small."""
    picture = Image.new("RGB", (sum(panel.width for panel in row), max(panel.height for panel in row)))
    left = 0
    for panel in row:
        picture.paste(panel, (left, (picture.height - panel.height) // 2))
        left += panel.width
    picture.thumbnail(THUMBNAIL_SIZE)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _panels(layout: Layout, array: np.ndarray, window: tuple[float, float]) -> Panels:
    """Cut the three planes and scale their intensities from 0 to 1 within a window."""
    return [_scaled(layout.panel(plane, array), window) for plane in PLANES]


def _scaled(panel: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Scale intensities from 0 to 1 within a window."""
    low, high = window
    return np.clip((panel - low) / (high - low), 0, 1)


def _as_stored(layout: Layout, plane: Plane, moving: sitk.Image) -> np.ndarray:
    """Return a plane of the moving image as it lies in space before registration.

    Only the voxels of the plane are interpolated: all of them would take a third of a second.
    """
    grid = layout.voxels(plane)
    reference = image_from_array(np.zeros(grid.shape, np.uint8), grid)
    slab = resample_image(moving, reference, sitk.Transform(3, sitk.sitkIdentity))
    return layout.shown(plane, finite(sitk.GetArrayFromImage(slab)).squeeze(plane.axis))


def _before_after(layout: Layout, fixed: Panels, before: Panels, after: Panels) -> Image.Image:
    rows = {"Fixed": fixed, "Moving, before": before, "Moving, after": after}
    return _composed(layout, {title: [_grey(panel) for panel in panels] for title, panels in rows.items()})


def _outline(layout: Layout, fixed: Panels, before: Panels, after: Panels) -> Image.Image:
    lines = [_edges(panel) for panel in fixed]

    def drawn(panels: Panels) -> Row:
        return [_covered(_grey(0.9 * panel), OUTLINE, line) for panel, line in zip(panels, lines, strict=True)]

    return _composed(layout, {"Moving, before": drawn(before), "Moving, after": drawn(after)})


def _edges(panel: np.ndarray) -> np.ndarray:
    """Return lines along the borders between tissues, from 0 to 1."""
    edges = sitk.CannyEdgeDetection(sitk.GetImageFromArray(panel.astype(np.float32)), 0.02, 0.05, [5.0, 5.0])
    # A line one pixel wide is too thin to see on a large screen.
    wider = sitk.SmoothingRecursiveGaussian(edges, 0.6)
    return np.clip(2.2 * sitk.GetArrayFromImage(wider), 0, 1)


def _checkerboard(layout: Layout, fixed: Panels, before: Panels, after: Panels) -> Image.Image:
    squares = [_squares(panel.shape, layout.scale) for panel in fixed]

    def drawn(panels: Panels) -> Row:
        return [_grey(np.where(*parts)) for parts in zip(squares, fixed, panels, strict=True)]

    return _composed(layout, {"Fixed and moving, before": drawn(before), "Fixed and moving, after": drawn(after)})


def _squares(shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Return every other square of a checkerboard; four squares meet in the middle."""
    rows, columns = (np.floor((np.arange(size) + 0.5 - size / 2) / (SQUARE * scale)).astype(int) for size in shape)
    return (rows[:, None] + columns) % 2 == 0


def _deformation(layout: Layout, fixed: Panels, head: np.ndarray, transform: sitk.Transform) -> Image.Image:
    volumes, grids = [], []
    # Two heads of different size: what the affine transform changes everywhere would hide what changes here and there.
    overall = affine_volume_ratio(transform)
    for plane, panel in zip(PLANES, fixed, strict=True):
        inside = _filled(layout.panel(plane, head))
        block = layout.voxels(plane, margin=1)
        points = mapped_points(transform, block)
        ratio = _volume_ratio(points, block, plane) / overall
        average = layout.shown(plane, _averaged(ratio, np.delete(block.spacing, plane.axis)))
        lines = _grid_lines(layout.shown(plane, _positions_in_plane(points, block, plane)))
        coloured = _with_volume(_grey(0.75 * panel), average, inside)
        volumes.append(_covered(coloured, FOLDED, inside * (layout.shown(plane, ratio) <= 0)))
        grids.append(_covered(_grey(0.45 * panel), GRID_COLOUR, 0.9 * inside * lines))
    title = "Local volume" if abs(overall - 1.0) < LEAST_CHANGE else f"Local volume (whole head: {overall:.2f} times)"
    picture = _composed(layout, {title: volumes, "Grid": grids})
    _draw_volume_bar(picture)
    return picture


def _filled(inside: np.ndarray) -> np.ndarray:
    """Close the gaps and holes of a region: CSF is dark, and belongs to the head."""
    mask = sitk.GetImageFromArray((inside > 0.5).astype(np.uint8))
    mask = sitk.BinaryFillhole(sitk.BinaryMorphologicalClosing(mask, [3, 3]))
    return sitk.GetArrayFromImage(mask).astype(float)


def _volume_ratio(points: np.ndarray, block: Grid, plane: Plane) -> np.ndarray:
    """Return the Jacobian determinant: how many times larger the moving brain is, at each voxel of a plane.

    :param points: the positions of the block's voxels in the moving image, LPS mm.
    """
    derivatives = np.stack(np.gradient(points, axis=(0, 1, 2)), axis=-1)[1:-1, 1:-1, 1:-1]
    ratio = np.linalg.det(derivatives) / np.linalg.det(block.matrix[:3, :3])
    return ratio.squeeze(plane.axis)


def _averaged(ratio: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the geometric mean of a ratio of volumes around each voxel of a plane.

    :param ratio: (rows, columns).
    :param spacing: of the rows and of the columns, in mm.
    """
    logarithm = np.log2(np.clip(ratio, 1.0 / LARGEST_RATIO, LARGEST_RATIO))
    image = sitk.GetImageFromArray(logarithm)
    image.SetSpacing([float(step) for step in spacing[::-1]])
    return np.exp2(sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, VOLUME_SIGMA)))


def _positions_in_plane(points: np.ndarray, block: Grid, plane: Plane) -> np.ndarray:
    """Return where the voxels of a plane come from within the plane, without the affine part of the transform.

    The affine part would only tilt the grid: the best linear fit is removed.

    :param points: the positions of the block's voxels in the moving image, LPS mm.
    :returns: (rows, columns, 2) in mm.
    """
    points = points[1:-1, 1:-1, 1:-1].squeeze(plane.axis)
    spacing = np.delete(block.spacing, plane.axis)
    positions = np.stack(np.indices(points.shape[:2]), axis=-1) * spacing
    homogeneous = np.concatenate([positions, np.ones_like(positions[..., :1])], axis=-1)
    fit = np.linalg.lstsq(homogeneous.reshape(-1, 3), points.reshape(-1, 3), rcond=None)[0]
    return (points - fit[2]) @ np.linalg.pinv(fit[:2])


def _grid_lines(positions: np.ndarray) -> np.ndarray:
    """Return lines, from 0 to 1, where a position is a multiple of the distance between grid lines."""
    opacity = np.zeros(positions.shape[:2])
    for value in np.moveaxis(positions, -1, 0):
        slope = np.hypot(*np.gradient(value))
        pixels = np.abs(value - GRID_LINES * np.round(value / GRID_LINES)) / np.maximum(slope, 1e-6)
        opacity = np.maximum(opacity, np.clip(1.2 - pixels, 0, 1))
    return opacity


def _with_volume(picture: Image.Image, ratio: np.ndarray, inside: np.ndarray) -> Image.Image:
    """Colour a picture where the moving brain is larger or smaller; leave it grey where both are the same."""
    level = np.clip(np.log2(np.maximum(ratio, 1e-3)), -1, 1)
    stops = np.linspace(-1, 1, len(VOLUME_COLOURS))
    channels = [np.interp(level, stops, values) for values in zip(*VOLUME_COLOURS, strict=True)]
    colours = Image.fromarray(np.round(np.stack(channels, axis=-1)).astype(np.uint8))
    return Image.composite(colours, picture, _mask(0.85 * inside * np.abs(level)))


def _draw_volume_bar(picture: Image.Image) -> None:
    """Draw the colour scale beside the first title, in place."""
    columns, rows = VOLUME_BAR
    ratio = np.tile(np.exp2(np.linspace(-1, 1, columns)), (rows, 1))
    bar = _with_volume(_grey(np.full(ratio.shape, 0.4)), ratio, np.ones(ratio.shape))
    right = WIDTH - GAP - round(_font().getlength("double")) - 8
    picture.paste(bar, (right - columns, TITLE_TOP + 1))
    _write(picture, (WIDTH - GAP, TITLE_TOP), "double", TITLE_COLOUR, "rt")
    _write(picture, (right - columns - 8, TITLE_TOP), "half", TITLE_COLOUR, "rt")


def _composed(layout: Layout, rows: dict[str, Row]) -> Image.Image:
    """Place rows of three panels on black, each row below its title."""
    height = BAND + max(layout.shape(plane)[0] for plane in PLANES)
    picture = Image.new("RGB", (WIDTH, len(rows) * height + GAP))
    for number, (title, panels) in enumerate(rows.items()):
        _write(picture, (GAP, number * height + TITLE_TOP), title, TITLE_COLOUR, "lt")
        left = GAP
        for plane, panel in zip(PLANES, panels, strict=True):
            top = number * height + BAND + (height - BAND - panel.height) // 2
            picture.paste(panel, (left, top))
            right = left + panel.width - SIDE_MARGIN
            _write(picture, (left + SIDE_MARGIN, top + SIDE_MARGIN), plane.sides[0], SIDE_COLOUR, "lt")
            _write(picture, (right, top + SIDE_MARGIN), plane.sides[1], SIDE_COLOUR, "rt")
            left += panel.width + GAP
    return picture


def _write(picture: Image.Image, corner: tuple[int, int], text: str, colour: tuple[int, int, int], anchor: str) -> None:
    """Write a text in place.

    :param corner: column and row of the corner that the anchor names: ``lt`` left top, ``rt`` right top.
    """
    ImageDraw.Draw(picture).text(corner, text, colour, _font(), anchor)


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(FONT_SIZE)


def _grey(values: np.ndarray) -> Image.Image:
    """Return a grey picture of values from 0, black, to 1, white."""
    return _mask(values).convert("RGB")


def _covered(picture: Image.Image, colour: tuple[int, int, int], opacity: np.ndarray) -> Image.Image:
    """Return a picture with a colour over it.

    :param opacity: (rows, columns) from 0, transparent, to 1, opaque.
    """
    return Image.composite(Image.new("RGB", picture.size, colour), picture, _mask(opacity))


def _mask(values: np.ndarray) -> Image.Image:
    """Return a picture of 8-bit values from values between 0 and 1."""
    return Image.fromarray(np.round(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8))


def _png(picture: Image.Image) -> bytes:
    """Encode a picture as a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=PNG_COMPRESSION)
    return stream.getvalue()
