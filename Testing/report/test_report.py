import base64
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image, ImageDraw, ImageFont

from SLSFGRLib.registration.result import RegistrationResult
from SLSFGRLib.report.html import html_report
from SLSFGRLib.report.pictures import BAND, FOLDED, FONT_SIZE, GRID_LINES, OUTLINE, SIDE_COLOUR, SIDE_MARGIN, overview
from SLSFGRLib.report.planes import GAP, WIDTH
from SLSFGRLib.report.results import NO_PICTURES, write_results
from SLSFGRLib.spatial.grid import grid_of_image, image_from_array
from SLSFGRLib.spatial.resampling import resample_image

# The phantoms are spheres, so that all panels have the same size.
RADIUS = 40.0
MARGIN = 8.0
PANEL = (WIDTH - 4 * GAP) / 3
SCALE = PANEL / (2 * RADIUS + 2 * MARGIN + 1)


def decoded(png, folder):
    path = folder / "picture.png"
    path.write_bytes(png)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(int)


def sphere(spacing=(1.0, 1.0, 1.0), value=100.0, spots=()):
    """A sphere around the origin on a grid along left, posterior, superior; spots are (centre, value)."""
    size = [2 * round(60 / step) + 1 for step in spacing]
    origin = [-(count - 1) / 2 * step for count, step in zip(size, spacing, strict=True)]
    axes = [first + step * np.arange(count) for first, step, count in zip(origin, spacing, size, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    array = np.where(x**2 + y**2 + z**2 <= RADIUS**2, value, 0.0)
    for centre, intensity in spots:
        near = [np.abs(c - middle) <= 6 for c, middle in zip((x, y, z), centre, strict=True)]
        array[np.logical_and.reduce(near)] = intensity
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


def test_the_pictures_and_their_order():
    pictures = overview(sphere(), sphere(), sphere(), identity())
    assert list(pictures) == ["before_after", "outline", "checkerboard", "deformation"]


def test_left_front_and_top_are_where_radiologists_expect_them(tmp_path):
    fixed = sphere(spots=[((25, 0, 0), 200.0)])
    before = sphere(spots=[((0, -25, 0), 200.0)])
    after = sphere(spots=[((0, 0, 25), 200.0)])
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
def test_a_sphere_is_round_whatever_the_voxels(tmp_path, spacing):
    image = sphere(spacing)
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
    fixed = sphere((1.0, 1.0, 2.0), spots=[((25, 10, -10), 150.0)])
    moving = sphere((1.0, 1.0, 2.0), spots=[((20, -10, 10), 150.0)])
    transform = scaled((1.1, 0.9, 1.0))
    expected = overview(fixed, moving, fixed, transform)
    for order, flips in (((0, 1, 2), (True, True, False)), ((2, 0, 1), (False, True, True))):
        stored = [sitk.PermuteAxes(sitk.Flip(image, flips), order) for image in (fixed, moving)]
        assert overview(stored[0], stored[1], stored[0], transform) == expected


def test_the_moving_image_is_shown_before_as_it_lies_in_space(tmp_path):
    fixed = sphere()
    moving = sphere((1.5, 1.0, 2.0), spots=[((20, 12, -16), 200.0)])
    moving.SetOrigin([part + 10.0 for part in moving.GetOrigin()])
    on_grid = resample_image(moving, fixed, identity())
    found, expected = (
        decoded(overview(fixed, each, fixed, None)["before_after"], tmp_path) for each in (moving, on_grid)
    )
    np.testing.assert_allclose(found, expected, atol=1)
    before, after = (panels(found, row, 3)[0] for row in (1, 2))
    assert np.abs(before - after).max() > 100


def test_the_neck_is_left_out(tmp_path):
    image = sphere()
    array = np.pad(sitk.GetArrayFromImage(image), ((200, 0), (0, 0), (0, 0)))
    array[:260, 50:70, 50:70] = 100.0
    tall = sitk.GetImageFromArray(array)
    picture = decoded(overview(tall, tall, tall, identity())["before_after"], tmp_path)
    # The axial panel shows the sphere and not only the neck, which would be a quarter as wide.
    height = (picture.shape[0] - GAP) // 3
    axial = picture[BAND + (height - BAND) // 2, : WIDTH // 4, 0] > 180
    assert axial.sum() * 1.5 > WIDTH / 4


def test_sides_are_named(tmp_path):
    picture = decoded(overview(sphere(), sphere(), sphere(), identity())["before_after"], tmp_path)
    height = (picture.shape[0] - GAP) // 3
    top = BAND + (height - BAND - int(PANEL)) // 2
    for number, (left, right) in enumerate((("R", "L"), ("R", "L"), ("A", "P"))):
        first = round(GAP + number * (PANEL + GAP))
        for letter, column, anchor in ((left, SIDE_MARGIN, "lt"), (right, int(PANEL) - SIDE_MARGIN, "rt")):
            expected = Image.new("RGB", (int(PANEL), 24))
            font = ImageFont.load_default(FONT_SIZE)
            ImageDraw.Draw(expected).text((column, SIDE_MARGIN), letter, SIDE_COLOUR, font, anchor)
            near = slice(0, 40) if anchor == "lt" else slice(int(PANEL) - 40, int(PANEL))
            shown = picture[top : top + 24, first : first + int(PANEL)]
            assert np.any(expected)
            np.testing.assert_array_equal(shown[:, near], np.asarray(expected)[:, near])


def test_checkerboard_takes_squares_in_turn(tmp_path):
    # The windows make both spheres white; spots of lesser value tell them apart.
    fixed, moving = sphere(spots=[((0, 0, 0), 40.0)]), sphere()
    picture = decoded(overview(fixed, moving, moving, identity())["checkerboard"], tmp_path)
    for row in range(2):
        for part in panels(picture, row, 2):
            middle, step = part.shape[0] // 2, round(3 * SCALE)
            corners = part[middle - step :: 2 * step, middle - step :: 2 * step, 0][:2, :2]
            np.testing.assert_array_equal(corners > 180, [[False, True], [True, False]])


def test_outline_follows_the_fixed_image(tmp_path):
    picture = decoded(overview(sphere(), sphere(value=0.0), sphere(), identity())["outline"], tmp_path)
    for row in range(2):
        for part in panels(picture, row, 2):
            drawn = np.argwhere(np.all(np.abs(part - OUTLINE) < 60, axis=-1))
            distance = np.linalg.norm(drawn - (np.array(part.shape[:2]) - 1) / 2, axis=1)
            assert len(drawn) > 2 * np.pi * RADIUS * SCALE * 0.8
            assert np.abs(distance / SCALE - RADIUS).max() < 1.5


@pytest.mark.parametrize(
    ("factor", "colour"), [(2.0, (235, 40, 30)), (0.5, (30, 100, 255)), (16.0, (235, 40, 30)), (1.0, None)]
)
def test_local_volume_has_its_colour(tmp_path, factor, colour):
    transform = scaled([factor ** (1 / 3)] * 3)
    picture = decoded(overview(sphere(), sphere(), sphere(), transform)["deformation"], tmp_path)
    under = 0.75 * 255
    expected = [under] * 3 if colour is None else 0.15 * under + 0.85 * np.array(colour)
    for part in panels(picture, 0, 2):
        middle = part.shape[0] // 2
        np.testing.assert_allclose(part[middle - 20 : middle + 20, middle - 20 : middle + 20] - expected, 0, atol=2)


def test_the_size_of_the_whole_head_is_not_in_the_colours(tmp_path):
    doubled = sitk.CompositeTransform([scaled([2.0 ** (1 / 3)] * 3), _bump()])
    alone = decoded(overview(sphere(), sphere(), sphere(), _bump())["deformation"], tmp_path)
    both = decoded(overview(sphere(), sphere(), sphere(), doubled)["deformation"], tmp_path)
    for part, same in zip(panels(alone, 0, 2), panels(both, 0, 2), strict=True):
        np.testing.assert_allclose(part, same, atol=4)


def test_folded_tissue_is_marked(tmp_path):
    picture = decoded(overview(sphere(), sphere(), sphere(), scaled((-1, 1, 1)))["deformation"], tmp_path)
    for part in panels(picture, 0, 2):
        np.testing.assert_array_equal(part[part.shape[0] // 2, part.shape[1] // 2], FOLDED)


def test_grid_is_straight_for_an_affine_transform_and_bends_with_the_deformation(tmp_path):
    straight = decoded(overview(sphere(), sphere(), sphere(), identity())["deformation"], tmp_path)
    turned = sitk.CompositeTransform([sitk.Euler3DTransform((0, 0, 0), 0.2, 0.1, 0.3, (9, 8, 7)), scaled((1.1, 1, 1))])
    alike = decoded(overview(sphere(), sphere(), sphere(), turned)["deformation"], tmp_path)
    bent = decoded(overview(sphere(), sphere(), sphere(), _bump())["deformation"], tmp_path)
    for part, same, other in zip(*(panels(picture, 1, 2) for picture in (straight, alike, bent)), strict=True):
        np.testing.assert_allclose(part, same, atol=2)
        assert np.count_nonzero(part != other) > 2000
        # Columns of pixels with lines along them are brighter; a line between two columns is in both.
        profile = part[..., 2].mean(axis=0)
        peaks = np.flatnonzero((profile[1:-1] > profile[:-2]) & (profile[1:-1] >= profile[2:]) & (profile[1:-1] > 150))
        np.testing.assert_allclose(np.diff(peaks), GRID_LINES * SCALE, atol=1.5)
        assert len(peaks) >= 7


def _bump():
    """A displacement of 10 mm along all axes in the middle, decreasing with distance."""
    image = sphere()
    grid = grid_of_image(image)
    squared = sum((np.indices(grid.shape)[axis] - 60.0) ** 2 for axis in range(3))
    array = np.repeat(10.0 * np.exp(-squared / (2 * 12.0**2))[..., None], 3, axis=-1)
    return sitk.DisplacementFieldTransform(image_from_array(array, grid, is_vector=True))


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_empty_images_can_be_drawn(tmp_path, value):
    empty = sphere() * 0 + value
    for fixed in (sphere(), empty):
        picture = decoded(overview(fixed, empty, empty, identity())["before_after"], tmp_path)
        assert picture.shape[1:] == (WIDTH, 3)


def test_voxels_that_are_not_a_number_are_black(tmp_path):
    image = sphere(spots=[((0, 0, 0), np.nan)])
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
        "similarity_before": 0.21,
        "similarity_after": 0.55,
        "folding_percent": 0.0,
        "displacement_mm": {"mean": 2.345, "max": 14.2},
        "inverse_residual_mm": 0.00001,
        "models": [
            {"role": "segmentation", "name": "sl_sfgr", "version": "1.2.3", "sha256": "ab" * 32},
            {"role": "template", "name": "template", "version": None, "sha256": "cd" * 32},
        ],
        "versions": {"torch": "2.13", "SimpleITK": "2.5.7"},
        "notes": ["The field of view is small."],
    }


def test_page_shows_all_measurements():
    text = Page(html_report(whole_report(), {})).text
    for words in (
        "Fixed|first.nii.gz|Moving|second.nii.gz",
        "Overlap of structures (Dice)|0.553 \u2192 0.781",
        "Folding|0\u00a0%",
        "Mean displacement|2.35\u00a0mm",
        "Largest displacement|14.2\u00a0mm",
        "|0.210 \u2192 0.550|",
        "|< 0.0001\u00a0mm|",
        "Time|3\u00a0min 0\u00a0s",
        "Deforming|30\u00a0s",
        "Role|Name|Version|Checksum (SHA-256)|segmentation|sl_sfgr|1.2.3|" + "ab" * 32,
        "template|template|\u2013|" + "cd" * 32,
        "torch|2.13|SimpleITK|2.5.7",
        "The field of view is small.",
        "not for diagnosis",
    ):
        assert words in text


def test_page_leaves_out_what_is_not_known():
    report = {"fixed": "a", "moving": "b", "dice_before": None, "dice_after": None, "models": []}
    text = Page(html_report(report, {})).text
    for words in ("Dice", "Model", "Result", "None", "Run"):
        assert words not in text
    assert "Similarity (LNCC)|0.550" in Page(html_report({"similarity_after": 0.55}, {})).text


def test_page_escapes_every_value():
    nasty = "<script>alert('x')</script>&\"http"
    report = whole_report() | {
        "fixed": nasty,
        "moving": nasty,
        "mode": nasty,
        "device": nasty,
        "notes": [nasty],
        "versions": {nasty: nasty},
        "models": [{"role": nasty, "name": nasty, "version": nasty, "sha256": nasty}],
        "seconds": {"total": 1.0, "stages": {nasty: 1.0}},
    }
    page = html_report(report, {nasty: b"png"})
    assert "<script" not in page
    assert not any(tag == "script" for tag, _ in Page(page).tags)
    assert Page(page).text.count(nasty) >= 9


def test_page_holds_its_pictures_and_loads_nothing():
    pictures = {"before_after": b"\x89PNG one", "something_else": b"\x89PNG other"}
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


def small_result():
    """The result of a registration that changed nothing."""
    composite = sitk.CompositeTransform([identity()])
    labels = sitk.Cast(sphere() > 50, sitk.sitkInt32)
    return RegistrationResult(sphere(), composite, composite, labels, None, {"mode": "fast", "notes": ["Mind this."]})


def test_results_are_written_with_their_names_and_a_report(tmp_path):
    report = write_results(
        small_result(), sphere(), sphere(), tmp_path, fixed_name="one.nii.gz", moving_name="two.nii.gz"
    )
    expected = {"warped.nii.gz", "fixed_labels.nii.gz", "transform.h5", "inverse_transform.h5"}
    assert {path.name for path in tmp_path.iterdir()} == expected | {"report.json", "report.html"}
    assert report == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report == {"fixed": "one.nii.gz", "moving": "two.nii.gz", "mode": "fast", "notes": ["Mind this."]}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # A linear transform has no picture of its field.
    assert page.count("<img ") == 3
    assert "Moving|two.nii.gz" in Page(page).text
    assert sitk.ReadImage(str(tmp_path / "fixed_labels.nii.gz")).GetPixelID() == sitk.sitkUInt8


def test_without_pillow_the_report_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for name in ("pictures", "planes"):
        monkeypatch.delitem(sys.modules, f"SLSFGRLib.report.{name}")
    result = small_result()
    report = write_results(result, sphere(), sphere(), tmp_path)
    assert report["notes"] == ["Mind this.", NO_PICTURES]
    assert result.report["notes"] == ["Mind this."]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "pip install pillow" in Page(page).text
    assert "<img" not in page
