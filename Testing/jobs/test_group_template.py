"""Group templates of phantoms whose mean is known."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import empty_image, filled, head_at, positions, smooth_field, stored, transformed

from benchmarks.group_template import linear_part
from SLSFGRLib.cli import main
from SLSFGRLib.errors import Cancelled, InputError
from SLSFGRLib.io.transforms import read_transform
from SLSFGRLib.jobs import group_steps, group_template
from SLSFGRLib.jobs.case_work import do_case
from SLSFGRLib.jobs.cases import TEMPLATE, cases_of_table
from SLSFGRLib.jobs.group_means import most_frequent_labels, sharpness
from SLSFGRLib.jobs.group_template import build_group_template
from SLSFGRLib.report import results
from SLSFGRLib.spatial.fields import invert, resize_field, warp
from SLSFGRLib.spatial.mean_transform import mean_log_stretch

SIZE = (48, 56, 52)  # along x, y and z, 1 mm
# Small heads, so that a registration takes a second.
SHRINKING = 3.8
LONGEST_MM = 5.0
# Of the templates of one round.
THREE = ["head_0.nii.gz", "head_1.nii.gz", "head_2.nii.gz"]


def anatomy():
    """A small head and its labels, which all images are deformed from."""
    image = empty_image(SIZE, (1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0))
    intensity, labels = head_at(SHRINKING * positions(image))
    # Smooth, since images are interpolated twice.
    return sitk.SmoothingRecursiveGaussian(filled(image, intensity.astype(np.float32)), 1.0), filled(image, labels)


def deformation(seed):
    """A smooth field in mm on the anatomy's grid."""
    coarse = smooth_field(LONGEST_MM / 2.0, [size // 2 for size in SIZE[::-1]], seed=seed)
    return resize_field(coarse, SIZE[::-1])


def deformed(image, field):
    """An image in which the anatomy's point x lies at x + u(x)."""
    inverse, _ = invert(field)
    values = torch.from_numpy(sitk.GetArrayFromImage(image).astype(np.float32))[None, None]
    return filled(image, warp(values, inverse)[0, 0].numpy())


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A folder with two pairs of heads, deformed by fields that add up to zero, a corrupt file, and a table."""
    folder = tmp_path_factory.mktemp("group")
    image, labels = anatomy()
    sitk.WriteImage(image, str(folder / "anatomy.nii.gz"))
    lines = []
    for number in range(4):
        field = deformation(number // 2) * (-1.0) ** number
        sitk.WriteImage(deformed(image, field), str(folder / f"head_{number}.nii.gz"))
        parts = [deformed(sitk.Cast(labels == value, sitk.sitkFloat32), field) for value in range(7)]
        moved = np.argmax([sitk.GetArrayFromImage(part) for part in parts], axis=0).astype(np.uint8)
        sitk.WriteImage(filled(image, moved), str(folder / f"labels_{number}.nii.gz"))
        lines.append(f"head_{number}.nii.gz,labels_{number}.nii.gz\n")
    whole = (folder / "head_0.nii.gz").read_bytes()
    (folder / "corrupt.nii.gz").write_bytes(whole[: len(whole) // 2])
    lines.insert(1, "corrupt.nii.gz,labels_0.nii.gz\n")
    (folder / "group.csv").write_text("image,labels\n" + "".join(lines))
    return folder


def use_phantoms(patch, group):
    """Phantoms are no brains: nothing is segmented, and the anatomy takes the place of the standard brain."""
    for module in (group_steps, group_template):
        patch.setattr(module, "can_segment", lambda: False)
        patch.setattr(module, "standard_brain_path", lambda: group / "anatomy.nii.gz")
    patch.setattr(group_steps, "brain_network", lambda device: None)


@pytest.fixture
def phantoms_only(monkeypatch, group):
    use_phantoms(monkeypatch, group)


@pytest.fixture(scope="module")
def built(group, tmp_path_factory):
    """The folder that the command has written."""
    output = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        use_phantoms(patch, group)
        code = main(["template", str(group / "group.csv"), "--output", str(output), "--quiet", "--device", "cpu"])
    assert code == 2  # one image failed
    return output


def array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def on_grid_of(path, image):
    """An image file on the grid of another image, by position in space."""
    return sitk.GetArrayFromImage(sitk.Resample(sitk.ReadImage(str(path)), image))


def test_the_template_is_the_anatomy_that_all_images_were_deformed_from(built):
    image, labels = anatomy()
    truth, inside = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(image) > 20

    def error(name):
        values = on_grid_of(built / name, image)
        slope, offset = np.polyfit(values[inside], truth[inside], 1)
        return float(np.sqrt(np.mean((slope * values + offset - truth)[inside] ** 2)))

    # Of what is left, nearly all is in each image: they were interpolated twice. Measured: 1.11 times as much, and
    # less than 1.1 times on another processor.
    single = np.mean([error(f"cases/head_{number}/warped.nii.gz") for number in range(4)])
    assert single < error("template.nii.gz") < 1.15 * single
    assert error("template.nii.gz") < 0.65 * error("affine_average.nii.gz")
    found, expected = on_grid_of(built / "template_labels.nii.gz", labels), sitk.GetArrayFromImage(labels)
    for number, least in ((1, 0.93), (2, 0.93), (3, 0.85), (4, 0.85), (5, 0.92)):
        one, other = found == number, expected == number
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > least


def test_the_mean_of_all_transforms_is_the_identity(built):
    transforms = [read_transform(path) for path in sorted(built.glob("cases/*/transform.h5"))]
    affines = [linear_part(transform) for transform in transforms]
    assert len(affines) == 4
    np.testing.assert_allclose(mean_log_stretch(affines), 0.0, atol=1e-5)
    points = positions(anatomy()[0])[10:-10:6, 10:-10:6, 10:-10:6].reshape(-1, 3)
    moved = [
        affine.inverse().apply(transformed(transform, points)) - points
        for affine, transform in zip(affines, transforms, strict=True)
    ]
    assert np.abs(moved).max() > 2.0
    assert np.linalg.norm(np.mean(moved, axis=0), axis=-1).max() < 0.05


def test_the_report_shows_the_failed_image_first_and_how_the_template_came_about(built):
    report = json.loads((built / "report.json").read_text())
    assert (report["images"], report["used"], report["cases"][0]["name"]) == (5, 4, "corrupt")
    assert "is incomplete or damaged" in report["cases"][0]["problem"]
    assert [of_round["mode"] for of_round in report["rounds"]] == ["affine", "fast", "standard", "standard"]
    sharp = [of_round["sharpness"] for of_round in report["rounds"]]
    assert sharp[0] < sharp[1] < report["sharpness"] < 1.02 * report["sharpness_of_one_image"]
    page = (built / "report.html").read_text(encoding="utf-8")
    assert page.index(">corrupt</h2>") < min(page.index(f">head_{number}</h2>") for number in range(4))
    assert 'src="cases/head_0/thumbnail.jpg"' in page
    assert "data:image/png;base64," in page
    # Nothing else is left.
    assert sorted(path.name for path in built.iterdir()) == [
        "affine_average.nii.gz", "cases", "report.html", "report.json", "template.nii.gz", "template_labels.nii.gz",
    ]  # fmt: skip
    assert sorted(path.name for path in (built / "cases" / "head_1").iterdir()) == [
        "inverse_transform.h5", "thumbnail.jpg", "transform.h5", "warped.nii.gz", "warped_labels.nii.gz",
    ]  # fmt: skip


def test_the_warped_images_lie_on_the_template_and_the_inverse_takes_points_back(built):
    template = array(built / "template.nii.gz")
    for number in range(4):
        folder = built / "cases" / f"head_{number}"
        assert np.corrcoef(array(folder / "warped.nii.gz").ravel(), template.ravel())[0, 1] > 0.99
        there, back = (read_transform(folder / f"{name}.h5") for name in ("transform", "inverse_transform"))
        for point in ([5.0, -8.0, 3.0], [-12.0, 4.0, -9.0]):
            np.testing.assert_allclose(back.TransformPoint(there.TransformPoint(point)), point, atol=0.1)


def test_a_template_that_is_done_is_kept(built, group, phantoms_only, capsys):
    before = (built / "template.nii.gz").stat().st_mtime_ns
    assert main(["template", str(group / "group.csv"), "--output", str(built), "--device", "cpu"]) == 2
    assert "The template is done already and is kept." in capsys.readouterr().err
    assert (built / "template.nii.gz").stat().st_mtime_ns == before


def use_one_round(patch, group):
    """One round, and no pictures, which take longer to draw than these images take to be deformed."""
    use_phantoms(patch, group)
    patch.setattr(group_template, "ROUNDS", ("fast",))
    patch.setattr(results, "pictures_module", lambda: None)


@pytest.fixture
def one_round(monkeypatch, group):
    use_one_round(monkeypatch, group)


def table(group, folder, names):
    path = folder / "table.csv"
    path.write_text("image\n" + "".join(f"{group / name}\n" for name in names))
    return cases_of_table(path, TEMPLATE, {"mode": "fast", "device": "cpu"})


def steps_until(last, begun, output):
    """Return what does the steps of a template in this process, and is stopped before it begins one more than so many.

    :param begun: gets the name of each step.
    """

    def run(waiting):
        for case in waiting:
            if len(begun) == last:
                raise Cancelled
            begun.append(case.name)
            yield case, do_case(case, output)

    return run


@pytest.fixture(scope="module")
def continued(group, tmp_path_factory):
    """The template of three images after three stops: its folder, its steps, and what lay there after each stop."""
    folder, begun, left = tmp_path_factory.mktemp("continued"), [], []
    cases, output = table(group, folder, THREE), folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        use_one_round(patch, group)
        for last in (2, 8, 10):
            with pytest.raises(Cancelled):
                build_group_template(cases, output, steps_until(last, begun, output))
            left.append({path.name for path in output.iterdir()})
        build_group_template(cases, output, steps_until(None, begun, output))
    return output, begun, left


def test_a_stopped_run_continues_and_repeats_nothing(continued):
    output, begun, left = continued
    assert left == [{"work"}] * 3
    assert len(begun) == len(set(begun)) == 12
    assert not (output / "work").exists()


def test_another_image_makes_another_template(continued, group, tmp_path, one_round):
    """Only what does not depend on the others is kept while it is not done."""
    shutil.copytree(continued[0], tmp_path / "out")
    build_group_template(table(group, tmp_path, ["head_0.nii.gz", "head_3.nii.gz"]), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "cases").iterdir()} == {"head_0", "head_3"}


def test_stops_the_order_of_the_table_and_how_images_are_stored_change_nothing(continued, group, tmp_path, one_round):
    (tmp_path / "other_files").mkdir()
    for name in THREE:
        turned = stored(sitk.ReadImage(str(group / name)), (2, 0, 1), (True, False, True))
        sitk.WriteImage(turned, str(tmp_path / "other_files" / name))
    build_group_template(table(tmp_path / "other_files", tmp_path, THREE[::-1]), tmp_path / "other")
    one, other = (array(folder / "template.nii.gz") for folder in (continued[0], tmp_path / "other"))
    # Files hold intensities in 65536 steps.
    np.testing.assert_allclose(one, other, atol=2e-5)


def test_one_image_is_no_group(group, tmp_path, one_round):
    with pytest.raises(InputError, match="at least 2 images; there is 1"):
        build_group_template(table(group, tmp_path, ["head_0.nii.gz"]), tmp_path / "out")
    with pytest.raises(InputError, match=r"1 of 2 images can be used.* corrupt: .*incomplete or damaged"):
        build_group_template(table(group, tmp_path, ["head_0.nii.gz", "corrupt.nii.gz"]), tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mode\na.nii,fast\n", "line 1: has an unknown column 'mode'; known are image, labels, name."),
        ("file\na.nii\n", "line 1: has no column 'image'; it needs image."),
        ("image\na.nii\nlost.nii\n", "line 3, image: there is no file"),
        ("image\na.nii\na.nii\n", "line 3: is the same case as"),
        ("image,labels\na.nii,a.nii\nb.nii,\n", "line 3: names no labels, but other images have some"),
    ],
)
def test_wrong_tables_are_refused_with_their_line(tmp_path, text, message, capsys):
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).touch()
    (tmp_path / "table.csv").write_text(text)
    assert main(["template", str(tmp_path / "table.csv"), "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_most_frequent_label_is_found_and_the_smallest_of_several(tmp_path):
    maps = np.zeros((3, 2, 2, 3), np.uint16)
    maps[0, 0, 0], maps[1, 0, 0], maps[2, 0, 0] = (7, 2, 900), (7, 900, 900), (3, 2, 4)
    maps[0, 1, 1, 2], maps[1, 1, 1, 2], maps[2, 1, 1, 2] = 5, 4, 6
    for number, labels in enumerate(maps):
        np.save(tmp_path / f"{number}.npy", labels)
    found = most_frequent_labels([Path(tmp_path / f"{number}.npy") for number in range(3)])
    expected = np.zeros((2, 2, 3))
    expected[0, 0], expected[1, 1, 2] = (7, 2, 900), 4
    np.testing.assert_array_equal(found, expected)


def test_sharpness_is_the_mean_slope_per_mm():
    ramp = np.broadcast_to(0.25 * np.arange(10.0), (8, 9, 10))
    assert sharpness(ramp, np.ones(ramp.shape, bool)) == pytest.approx(0.25)
