import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk

from SLSFGRLib.report import html_report, overview
from SLSFGRLib.report.canvas import between_colours, blend, grey, png_bytes, resized, text_width, write_text
from SLSFGRLib.report.pictures import BAND, FOLDED, GAP, GRID_LINES, LETTERS, OUTLINE, SIDE_SHADE, WIDTH, _canonical
from SLSFGRLib.spatial.grid import canonical_image, grid_of_image, image_from_array

# The heads here are balls that fill the same box from every side, so that all panels are alike.
RADIUS = 40.0
MARGIN = 8.0
PANEL = (WIDTH - 4 * GAP) / 3
SCALE = PANEL / (2 * RADIUS + 2 * MARGIN + 1)


def decoded(png, folder):
    path = folder / "picture.png"
    path.write_bytes(png)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(int)


def ball(spacing=(1.0, 1.0, 1.0), value=100.0, spots=()):
    """A ball about the origin on a grid along left, posterior, superior; spots are (centre, value)."""
    size = [2 * round(60 / step) + 1 for step in spacing]
    origin = [-(count - 1) / 2 * step for count, step in zip(size, spacing, strict=True)]
    axes = [first + step * np.arange(count) for first, step, count in zip(origin, spacing, size, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    array = np.where(x**2 + y**2 + z**2 <= RADIUS**2, value, 0.0)
    for centre, brightness in spots:
        near = [np.abs(c - middle) <= 6 for c, middle in zip((x, y, z), centre, strict=True)]
        array[np.logical_and.reduce(near)] = brightness
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def panels(picture, row, rows):
    """The three panels of a row as squares around their middles."""
    height = (picture.shape[0] - GAP) // rows
    size = round(SCALE * 2 * (RADIUS + 2))
    middle = row * height + BAND + (height - BAND) // 2
    found = []
    for number in range(3):
        column = round(GAP + PANEL / 2 + number * (PANEL + GAP))
        part = picture[middle - size // 2 :, column - size // 2 :][:size, :size]
        found.append(part)
    return found


def identity():
    return sitk.Transform(3, sitk.sitkIdentity)


def scaled(factors):
    transform = sitk.AffineTransform(3)
    transform.Scale(factors)
    return transform


def centre_of(mask):
    return np.argwhere(mask).mean(axis=0) / mask.shape[0]


def test_resized_interpolates_between_the_middles_of_pixels():
    np.testing.assert_allclose(resized(np.array([[0.0, 4.0]]), (1, 4)), [[0, 1, 3, 4]])
    values = np.random.default_rng(0).random((5, 7, 3))
    np.testing.assert_allclose(resized(values, (5, 7)), values)
    np.testing.assert_allclose(resized(values[:1, :1], (3, 2)), np.broadcast_to(values[:1, :1], (3, 2, 3)))


def test_colours():
    np.testing.assert_array_equal(grey(np.array([[-1.0, 0.5, 2.0]]))[0], [[0] * 3, [128] * 3, [255] * 3])
    stops = [(0, 0, 0), (100, 0, 0), (100, 200, 0)]
    np.testing.assert_array_equal(
        between_colours(np.array([0, 0.25, 0.75, 1]), stops), [[0, 0, 0], [50, 0, 0], [100, 100, 0], [100, 200, 0]]
    )
    picture = np.full((1, 3, 3), 100, dtype=np.uint8)
    covered = blend(picture, (200, 100, 0), np.array([[0.0, 0.5, 1.0]]))
    np.testing.assert_array_equal(covered[0], [[100, 100, 100], [150, 100, 50], [200, 100, 0]])


def test_letters_stay_within_their_line():
    picture = np.zeros((40, 120, 3), dtype=np.uint8)
    write_text(picture, "HALF", 15, 20, height=10, shade=200)
    rows, columns = np.nonzero(picture[..., 0])
    assert (rows.min(), rows.max()) == (14, 26)
    assert columns.min() == 19
    assert columns.max() == 20 + text_width("HALF", 10)
    assert picture.max() == 200
    # The first letter: two uprights and a bar.
    assert picture[20, 20, 0] == picture[20, 24, 0] == 200
    assert picture[16, 24, 0] == 0


def test_letters_may_run_over_the_edge():
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    write_text(picture, "R", 4, 4, height=10)
    assert picture[7, 4, 0] > 100


def test_png_keeps_every_pixel(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    png = png_bytes(picture)
    assert png.startswith(b"\x89PNG")
    np.testing.assert_array_equal(decoded(png, tmp_path), picture)


def test_the_pictures_and_their_order():
    pictures = overview(ball(), ball(), ball(), identity())
    assert list(pictures) == ["before_after", "outline", "checkerboard", "deformation"]


def test_left_front_and_top_are_where_radiologists_expect_them(tmp_path):
    fixed = ball(spots=[((25, 0, 0), 200.0)])
    before = ball(spots=[((0, -25, 0), 200.0)])
    after = ball(spots=[((0, 0, 25), 200.0)])
    picture = decoded(overview(fixed, before, after, identity())["before_after"], tmp_path)
    bright = 240
    left, front, top = ([part[..., 0] > bright for part in panels(picture, row, 3)] for row in range(3))
    right_side, left_side, upper, middle = 0.5 + 25 / 84, 0.5 - 25 / 84, 0.5 - 25 / 84, 0.5
    for plane, place in ((left[0], (middle, right_side)), (left[1], (middle, right_side))):
        np.testing.assert_allclose(centre_of(plane), place, atol=0.02)
    assert not left[2].any()
    np.testing.assert_allclose(centre_of(front[0]), (upper, middle), atol=0.02)
    np.testing.assert_allclose(centre_of(front[2]), (middle, left_side), atol=0.02)
    assert not front[1].any()
    np.testing.assert_allclose(centre_of(top[1]), (upper, middle), atol=0.02)
    np.testing.assert_allclose(centre_of(top[2]), (upper, middle), atol=0.02)
    assert not top[0].any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0), (3.0, 1.0, 1.0)])
def test_a_ball_is_round_whatever_the_voxels(tmp_path, spacing):
    image = ball(spacing)
    picture = decoded(overview(image, image, image, identity())["before_after"], tmp_path)
    rows, columns, _ = np.nonzero(picture[BAND + GAP : picture.shape[0] // 3] > 180)
    gaps = np.flatnonzero(np.diff(np.unique(columns)) > 5) + 1
    groups = np.split(np.unique(columns), gaps)
    assert len(groups) == 3
    for group in groups:
        inside = rows[np.isin(columns, group)]
        height, width = np.ptp(inside) + 1, np.ptp(group) + 1
        assert height == pytest.approx(width, rel=0.06)


def test_how_an_image_is_stored_changes_nothing():
    fixed = ball((1.0, 1.0, 2.0), spots=[((25, 10, -10), 150.0)])
    moving = ball((1.0, 1.0, 2.0), spots=[((20, -10, 10), 150.0)])
    transform = scaled((1.1, 0.9, 1.0))
    expected = overview(fixed, moving, fixed, transform)
    for order, flips in (((0, 1, 2), (True, True, False)), ((2, 0, 1), (False, True, True))):
        stored = [sitk.PermuteAxes(sitk.Flip(image, flips), order) for image in (fixed, moving)]
        assert overview(stored[0], stored[1], stored[0], transform) == expected


def test_the_canonical_array_is_that_of_the_library():
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((4, 5, 6)))
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((5.0, -6.0, 7.0))
    image.SetDirection(sitk.VersorTransform((1.0, 2.0, -1.0), 2.5).GetMatrix())
    image = sitk.Flip(image, (True, False, False))
    array, grid = _canonical(image)
    canonical = canonical_image(image)
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(canonical))
    np.testing.assert_allclose(grid.matrix, grid_of_image(canonical).matrix, atol=1e-12)


def test_the_neck_is_left_out(tmp_path):
    image = ball()
    array = np.pad(sitk.GetArrayFromImage(image), ((200, 0), (0, 0), (0, 0)))
    array[:260, 50:70, 50:70] = 100.0
    tall = sitk.GetImageFromArray(array)
    picture = decoded(overview(tall, tall, tall, identity())["before_after"], tmp_path)
    # The axial panel shows the ball and not only the neck, which would be a quarter as wide.
    height = (picture.shape[0] - GAP) // 3
    axial = picture[BAND + (height - BAND) // 2, : WIDTH // 4, 0] > 180
    assert axial.sum() * 1.5 > WIDTH / 4


def test_sides_are_named(tmp_path):
    picture = decoded(overview(ball(), ball(), ball(), identity())["before_after"], tmp_path)
    height = (picture.shape[0] - GAP) // 3
    for number, (left, right) in enumerate((("R", "L"), ("R", "L"), ("A", "P"))):
        first = round(GAP + number * (PANEL + GAP))
        for letter, column in ((left, 6), (right, int(PANEL) - 6 - text_width("R", LETTERS))):
            expected = np.zeros((20, 20, 3), dtype=np.uint8)
            write_text(expected, letter, 6, 6, LETTERS, SIDE_SHADE)
            top = BAND + (height - BAND - int(PANEL)) // 2
            found = picture[top : top + 20, first + column - 6 :][:, :16]
            np.testing.assert_array_equal(found, expected[:, :16])


def test_checkerboard_takes_squares_in_turn(tmp_path):
    # The windows make both balls white; spots of lesser value tell them apart.
    fixed, moving = ball(spots=[((0, 0, 0), 40.0)]), ball()
    picture = decoded(overview(fixed, moving, moving, identity())["checkerboard"], tmp_path)
    for row in range(2):
        for part in panels(picture, row, 2):
            middle, step = part.shape[0] // 2, round(3 * SCALE)
            corners = part[middle - step :: 2 * step, middle - step :: 2 * step, 0][:2, :2]
            np.testing.assert_array_equal(corners > 180, [[False, True], [True, False]])


def test_outline_follows_the_fixed_image(tmp_path):
    picture = decoded(overview(ball(), ball(value=0.0), ball(), identity())["outline"], tmp_path)
    for row in range(2):
        for part in panels(picture, row, 2):
            drawn = np.argwhere(np.all(np.abs(part - OUTLINE) < 60, axis=-1))
            distance = np.linalg.norm(drawn - (np.array(part.shape[:2]) - 1) / 2, axis=1)
            assert len(drawn) > 2 * np.pi * RADIUS * SCALE * 0.8
            assert np.abs(distance / SCALE - RADIUS).max() < 1.5


@pytest.mark.parametrize(
    ("factor", "colour"), [(2.0, (235, 40, 30)), (0.5, (30, 100, 255)), (16.0, (235, 40, 30)), (1.0, None)]
)
def test_volume_is_coloured_by_how_large_the_moving_brain_is(tmp_path, factor, colour):
    transform = scaled([factor ** (1 / 3)] * 3)
    picture = decoded(overview(ball(), ball(), ball(), transform)["deformation"], tmp_path)
    under = 0.75 * 255
    expected = [under] * 3 if colour is None else 0.15 * under + 0.85 * np.array(colour)
    for part in panels(picture, 0, 2):
        middle = part.shape[0] // 2
        np.testing.assert_allclose(part[middle - 20 : middle + 20, middle - 20 : middle + 20] - expected, 0, atol=2)


def test_folded_tissue_is_marked(tmp_path):
    picture = decoded(overview(ball(), ball(), ball(), scaled((-1, 1, 1)))["deformation"], tmp_path)
    for part in panels(picture, 0, 2):
        np.testing.assert_array_equal(part[part.shape[0] // 2, part.shape[1] // 2], FOLDED)


def test_scale_of_colours_runs_from_half_to_double(tmp_path):
    picture = decoded(overview(ball(), ball(), ball(), identity())["deformation"], tmp_path)
    bar = picture[14, WIDTH // 2 :]
    blue, red = (np.flatnonzero((bar[:, one] - bar[:, other]) > 150) for one, other in ((2, 0), (0, 2)))
    assert blue.max() < red.min()
    assert np.ptp(np.r_[blue, red]) == 159


def test_grid_is_straight_for_whole_heads_and_bends_with_the_tissue(tmp_path):
    straight = decoded(overview(ball(), ball(), ball(), identity())["deformation"], tmp_path)
    turned = sitk.CompositeTransform([sitk.Euler3DTransform((0, 0, 0), 0.2, 0.1, 0.3, (9, 8, 7)), scaled((1.1, 1, 1))])
    alike = decoded(overview(ball(), ball(), ball(), turned)["deformation"], tmp_path)
    bent = decoded(overview(ball(), ball(), ball(), _bump())["deformation"], tmp_path)
    for part, same, other in zip(*(panels(picture, 1, 2) for picture in (straight, alike, bent)), strict=True):
        np.testing.assert_allclose(part, same, atol=2)
        assert np.count_nonzero(part != other) > 2000
        # Columns of pixels with lines along them are brighter; a line between two columns is in both.
        profile = part[..., 2].mean(axis=0)
        peaks = np.flatnonzero((profile[1:-1] > profile[:-2]) & (profile[1:-1] >= profile[2:]) & (profile[1:-1] > 150))
        np.testing.assert_allclose(np.diff(peaks), GRID_LINES * SCALE, atol=1.5)
        assert len(peaks) >= 7


def _bump():
    """A displacement of 10 mm along all axes in the middle, dying away with distance."""
    image = ball()
    grid = grid_of_image(image)
    squared = sum((np.indices(grid.shape)[axis] - 60.0) ** 2 for axis in range(3))
    array = np.repeat(10.0 * np.exp(-squared / (2 * 12.0**2))[..., None], 3, axis=-1)
    return sitk.DisplacementFieldTransform(image_from_array(array, grid, is_vector=True))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_images_of_nothing_can_be_painted(tmp_path, value):
    nothing = ball() * 0 + value
    for fixed in (ball(), nothing):
        picture = decoded(overview(fixed, nothing, nothing, identity())["before_after"], tmp_path)
        assert picture.shape[1:] == (WIDTH, 3)


def test_voxels_that_are_no_numbers_are_black(tmp_path):
    image = ball(spots=[((0, 0, 0), np.nan)])
    picture = decoded(overview(image, image, image, identity())["before_after"], tmp_path)
    for part in panels(picture, 0, 3):
        middle = part.shape[0] // 2
        np.testing.assert_array_equal(part[middle, middle], [0, 0, 0])
        np.testing.assert_array_equal(part[middle + 60, middle], [255, 255, 255])


class Page(HTMLParser):
    """Checks that tags match, and gathers text and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return "|".join(word.strip() for word in self.words if word.strip())


def whole_report():
    return {
        "fixed": "first.nii.gz",
        "moving": "second.nii.gz",
        "mode": "standard",
        "device": "cpu",
        "seconds": {"total": 179.7, "stages": {"Deforming": 30.04}},
        "dice_before": 0.5531,
        "dice_after": 0.7812,
        "dice_by_label": {"Left hippocampus": {"before": 0.51, "after": 0.79}, "Pons": {"before": None, "after": 1}},
        "similarity_before": 0.21,
        "similarity_after": 0.55,
        "folding_percent": 0.0,
        "displacement_mm": {"mean": 2.345, "max": 14.2},
        "inverse_residual_mm": 0.00001,
        "model": {"name": "SL-SFGR", "version": "1.2.3", "sha256": "ab" * 32},
        "versions": {"torch": "2.13", "SimpleITK": "2.5.7"},
        "notes": ["The field of view is small."],
    }


def test_page_shows_all_figures():
    text = Page(html_report(whole_report(), {})).text
    for words in (
        "Fixed|first.nii.gz|Moving|second.nii.gz",
        "Overlap of structures (Dice)|0.553 \u2192 0.781",
        "Folded tissue|0\u00a0%",
        "Mean displacement|2.35\u00a0mm",
        "Largest displacement|14.2\u00a0mm",
        "|0.210 \u2192 0.550|",
        "|< 0.0001\u00a0mm|",
        "Time|3\u00a0min 0\u00a0s",
        "Deforming|30\u00a0s",
        "Left hippocampus|0.510|0.790",
        "Pons|\u2013|1.000",
        "Model|SL-SFGR|Version|1.2.3|SHA-256|" + "ab" * 32,
        "torch|2.13|SimpleITK|2.5.7",
        "The field of view is small.",
        "not for diagnosis",
    ):
        assert words in text


def test_page_leaves_out_what_is_not_known():
    report = {"fixed": "a", "moving": "b", "dice_before": None, "dice_after": None, "model": None}
    text = Page(html_report(report, {})).text
    for words in ("Dice", "Model", "Result", "None", "How it was made"):
        assert words not in text
    assert "Likeness of the images|0.550" in Page(html_report({"similarity_after": 0.55}, {})).text


def test_page_is_safe_from_what_names_contain():
    nasty = "<script>alert('x')</script>&\"http"
    report = whole_report() | {
        "fixed": nasty,
        "moving": nasty,
        "mode": nasty,
        "device": nasty,
        "notes": [nasty],
        "dice_by_label": {nasty: {"before": 0.1, "after": 0.2}},
        "versions": {nasty: nasty},
        "model": {"name": nasty, "version": nasty, "sha256": nasty},
        "seconds": {"total": 1.0, "stages": {nasty: 1.0}},
    }
    page = html_report(report, {nasty: b"png"})
    assert "<script" not in page
    assert not any(tag == "script" for tag, _ in Page(page).tags)
    assert Page(page).text.count(nasty) >= 9


def test_page_holds_its_pictures_and_loads_nothing():
    pictures = {"before_after": png_bytes(np.zeros((4, 4, 3))), "something_else": b"\x89PNG other"}
    page = html_report(whole_report(), pictures)
    tags = Page(page).tags
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert [image["alt"] for image in images] == ["Before and after", "Something else"]
    for image, png in zip(images, pictures.values(), strict=True):
        assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,"), validate=True) == png
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r'src="data:[^"]*"', "", page))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    assert any("default-src 'none'" in attributes.get("content", "") for _, attributes in tags)
    assert "prefers-color-scheme: dark" in page
