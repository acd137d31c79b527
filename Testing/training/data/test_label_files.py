import csv

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import DIRECTIONS, empty_image, filled, positions, rotation_about

from SLSFGRLib.errors import InputError
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import Grid
from SLSFGRLib.training.data.case_files import find_cases
from SLSFGRLib.training.data.label_files import BALL_RADIUS_MM, Label, corresponding_labels

# The grid that labels are drawn on: 2 mm, axes towards superior, posterior and left.
SHAPE = (24, 30, 26)
MATRIX = np.array([[0, 0, 2.0, -25.0], [0, 2.0, 0, -29.0], [2.0, 0, 0, -23.0], [0, 0, 0, 1.0]])
GRID = Grid(SHAPE, MATRIX)
SPHERES = {3: ((-6.0, 4.0, 2.0), 9.0), 7: ((8.0, -10.0, -4.0), 6.0), 9: ((4.0, 14.0, 8.0), 5.0)}


def spheres(image, numbers, shift=(0.0, 0.0, 0.0)):
    """A label map of some of the spheres on the grid of an image."""
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    for number in numbers:
        centre, radius = SPHERES[number]
        array[np.linalg.norm(positions(image) - centre - np.array(shift), axis=-1) < radius] = number
    return filled(image, array)


def write(image, path):
    sitk.WriteImage(image, str(path))
    return path


def volume_and_centre(label):
    """In mm3 and LPS mm."""
    fractions = label.on_grid(SHAPE).numpy()
    voxel = [float((index * fractions).sum() / fractions.sum()) for index in np.indices(SHAPE)]
    return 8.0 * float(fractions.sum()), MATRIX[:3, :3] @ voxel + MATRIX[:3, 3]


def assert_sphere(label, number, shift=(0.0, 0.0, 0.0)):
    volume, centre = volume_and_centre(label)
    assert volume == pytest.approx(4 / 3 * np.pi * SPHERES[number][1] ** 3, rel=0.06)
    np.testing.assert_allclose(centre, np.array(SPHERES[number][0]) + shift, atol=0.4)


# --- kept labels --------------------------------------------------------------------------------------------


def test_label_is_kept_as_a_block_and_comes_back():
    fractions = torch.zeros(SHAPE)
    fractions[3:6, 10:12, 20:24] = torch.tensor([1.0, 0.6, 0.2]).view(3, 1, 1)
    label = Label.from_fractions(fractions)
    assert label.start == (3, 10, 20)
    assert label.block.shape == (3, 2, 4)
    torch.testing.assert_close(label.on_grid(SHAPE), fractions, atol=1e-6, rtol=0)
    assert Label.from_fractions(torch.zeros(SHAPE)) is None


# --- regions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LPS", "permuted", "oblique left-handed"])
def test_numbers_that_both_maps_have_correspond_wherever_their_voxels_lie(tmp_path, name):
    direction = DIRECTIONS[name]
    image = empty_image((56, 60, 58), (1.1, 1.0, 1.2), direction, centre=(0, 0, 0))
    other = empty_image((58, 64, 52), (1.0, 1.0, 1.0), centre=(1, 2, 0))
    moving = write(spheres(image, (3, 7)), tmp_path / "moving.nii.gz")
    fixed = write(spheres(other, (9, 7, 3)), tmp_path / "fixed.nrrd")
    pairs = corresponding_labels(moving, fixed, Affine.identity(), GRID)
    assert len(pairs) == 2
    for (one, two), number in zip(pairs, (3, 7), strict=True):
        assert_sphere(one, number)
        assert_sphere(two, number)


def test_moving_labels_are_aligned_as_the_moving_image_is(tmp_path):
    image = empty_image((70, 70, 70), (1, 1, 1), centre=(0, 0, 0))
    moving = write(spheres(image, (3,), shift=(5, -3, 4)), tmp_path / "moving.nii.gz")
    fixed = write(spheres(image, (3,)), tmp_path / "fixed.nii.gz")
    ((one, two),) = corresponding_labels(moving, fixed, Affine.from_parts(np.eye(3), (5, -3, 4)), GRID)
    assert_sphere(one, 3)
    assert_sphere(two, 3)


def test_mask_is_one_label_and_soft_masks_keep_their_fractions(tmp_path):
    image = empty_image((60, 60, 60), (1, 1, 1), centre=(0, 0, 0))
    hard = sitk.Cast(spheres(image, (3,)) > 0, sitk.sitkFloat32)
    moving, fixed = write(hard, tmp_path / "m.nii.gz"), write(0.5 * hard, tmp_path / "f.nii.gz")
    ((one, two),) = corresponding_labels(moving, fixed, Affine.identity(), GRID)
    assert_sphere(one, 3)
    assert float(two.on_grid(SHAPE).sum() / one.on_grid(SHAPE).sum()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", ["components", "volumes"])
def test_channels_are_labels_of_their_own_and_may_overlap(tmp_path, kind):
    image = empty_image((60, 60, 60), (1, 1, 1), centre=(0, 0, 0))
    masks = [sitk.Cast(spheres(image, numbers) > 0, sitk.sitkUInt8) for numbers in ((3, 7), (7,), (9,))]
    empty = masks[0] * 0
    join = sitk.Compose if kind == "components" else sitk.JoinSeries
    moving = write(join([masks[0], masks[1], masks[2]]), tmp_path / "m.nii.gz")
    fixed = write(join([masks[0], masks[1], empty]), tmp_path / "f.nii.gz")
    pairs = corresponding_labels(moving, fixed, Affine.identity(), GRID)
    assert len(pairs) == 2
    both, alone = (volume_and_centre(one)[0] for one, _ in pairs)
    assert both == pytest.approx(alone * (9**3 + 6**3) / 6**3, rel=0.05)
    assert_sphere(pairs[1][0], 7)


@pytest.mark.parametrize(
    ("value", "message"), [(2.5, "not whole numbers"), (-1.0, "negative"), (np.nan, "not whole numbers")]
)
def test_what_is_no_label_map_is_named(tmp_path, value, message):
    image = empty_image((20, 20, 20), (3, 3, 3), centre=(0, 0, 0))
    array = np.zeros((20, 20, 20), np.float32)
    array[5, 5, 5] = value
    bad, good = write(filled(image, array), tmp_path / "bad.nrrd"), write(spheres(image, (3,)), tmp_path / "g.nii.gz")
    with pytest.raises(InputError, match=rf"bad\.nrrd: .*{message}"):
        corresponding_labels(bad, good, Affine.identity(), GRID)
    with pytest.raises(InputError, match=r"none\.nii\.gz: there is no such file"):
        corresponding_labels(tmp_path / "none.nii.gz", good, Affine.identity(), GRID)


# --- landmarks ----------------------------------------------------------------------------------------------


def points(path, rows, header="x,y,z,label"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_landmarks_are_balls_about_where_they_lie(tmp_path):
    turn = Affine.from_parts(rotation_about((1, 2, 3), 20), (3, -4, 5))
    place = np.array([6.3, -8.1, 4.4])
    there = turn.apply(place)
    moving = points(tmp_path / "m.csv", [(*there, "a")])
    fixed = points(tmp_path / "f.csv", [(1.0, 2.0, 3.0, "a")])
    ((one, two),) = corresponding_labels(moving, fixed, turn, GRID)
    for label, expected in ((one, place), (two, (1.0, 2.0, 3.0))):
        volume, centre = volume_and_centre(label)
        np.testing.assert_allclose(centre, expected, atol=0.05)
        assert volume == pytest.approx(4 / 3 * np.pi * BALL_RADIUS_MM**3, rel=0.1)


def test_landmarks_correspond_by_name_or_else_in_their_order(tmp_path):
    rows = [(-10, 0, 0, "a"), (0, 5, 0, "b"), (10, 0, 5, "c")]
    fixed = points(tmp_path / "f.csv", rows)
    named = points(tmp_path / "named.csv", [rows[2], rows[0]])
    pairs = corresponding_labels(named, fixed, Affine.identity(), GRID)
    assert len(pairs) == 2
    for one, two in pairs:
        np.testing.assert_allclose(volume_and_centre(one)[1], volume_and_centre(two)[1], atol=1e-6)
    others = points(tmp_path / "others.csv", [(*row[:3], f"F-{number}") for number, row in enumerate(rows)])
    in_order = corresponding_labels(others, fixed, Affine.identity(), GRID)
    assert [volume_and_centre(two)[1][0] for _, two in in_order] == pytest.approx([-10, 0, 10], abs=0.05)
    fewer = points(tmp_path / "fewer.csv", [(*row[:3], "F") for row in rows[:2]])
    with pytest.raises(
        InputError, match=r"fewer\.csv: has 2 points and .*f\.csv 3; give corresponding points the same"
    ):
        corresponding_labels(fewer, fixed, Affine.identity(), GRID)


def test_landmark_beyond_the_grid_is_left_out(tmp_path):
    moving = points(tmp_path / "m.csv", [(200, 0, 0, "a"), (0, 0, 0, "b")])
    fixed = points(tmp_path / "f.csv", [(0, 0, 0, "a"), (0, 0, 0, "b")])
    assert len(corresponding_labels(moving, fixed, Affine.identity(), GRID)) == 1


def test_files_of_two_kinds_do_not_correspond(tmp_path):
    moving = points(tmp_path / "m.csv", [(0, 0, 0, "a")])
    fixed = write(spheres(empty_image((20, 20, 20), (3, 3, 3), centre=(0, 0, 0)), (3,)), tmp_path / "f.nii.gz")
    with pytest.raises(InputError, match=r"m\.csv: is of another kind than .*f\.nii\.gz"):
        corresponding_labels(moving, fixed, Affine.identity(), GRID)


# --- cases --------------------------------------------------------------------------------------------------


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_folder_of_cases(tmp_path):
    touch(tmp_path / "b", "moving.nii.gz", "fixed.nrrd", "moving_points.fcsv", "fixed_points.csv", "notes.txt")
    touch(tmp_path / "a", "moving.mha", "fixed.mha", "moving_organ.seg.nrrd", "fixed_organ.nii", "moving_alone.nii")
    touch(tmp_path, "readme.txt")
    first, second = find_cases([tmp_path])
    assert (first.moving, first.fixed) == (tmp_path / "a" / "moving.mha", tmp_path / "a" / "fixed.mha")
    assert first.labels == ((tmp_path / "a" / "moving_organ.seg.nrrd", tmp_path / "a" / "fixed_organ.nii"),)
    assert second.labels == ((tmp_path / "b" / "moving_points.fcsv", tmp_path / "b" / "fixed_points.csv"),)


def table(path, *rows, columns=("moving", "fixed", "moving_labels", "fixed_labels")):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def test_table_of_cases(tmp_path):
    path = table(
        tmp_path / "cases.csv",
        ("p1/mr.nii", "p1/us.nii", "p1/a.nii; p1/b.csv", "p1/c.nii;p1/d.csv"),
        ("/elsewhere/mr.nii", "us.nii", "a.nii", "b.nii"),
    )
    first, second = find_cases([path])
    assert (first.moving, first.fixed) == (tmp_path / "p1/mr.nii", tmp_path / "p1/us.nii")
    assert first.labels == (
        (tmp_path / "p1/a.nii", tmp_path / "p1/c.nii"),
        (tmp_path / "p1/b.csv", tmp_path / "p1/d.csv"),
    )
    assert str(second.moving) == "/elsewhere/mr.nii"
    assert second.name == f"{path}, line 3"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no case"),
        ([("a.nii", "", "l.nii", "m.nii")], "line 2: names 0 images as fixed; name one"),
        (
            [("a.nii", "b.nii", "l.nii;m.nii", "n.nii")],
            "line 2: names 2 label files for the moving and 1 for the fixed",
        ),
        ([("a.nii", "b.nii")], "line 2: names 0 label files for the moving and 0 for the fixed"),
    ],
)
def test_mistake_in_a_table_is_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=f"cases.csv.*{message}"):
        find_cases([table(tmp_path / "cases.csv", *rows)])


def test_table_without_a_column_and_other_files_are_named(tmp_path):
    with pytest.raises(InputError, match="has no column 'fixed_labels'"):
        find_cases([table(tmp_path / "cases.csv", columns=("moving", "fixed", "moving_labels"))])
    with pytest.raises(InputError, match=r"x\.nii: is neither a folder nor a table"):
        find_cases([touch(tmp_path, "x.nii") / "x.nii"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("fixed.nii", "moving_a.nii", "fixed_a.nii"), "holds no image named moving"),
        (("moving.nii", "fixed.csv", "moving_a.nii", "fixed_a.nii"), "holds no image named fixed"),
        (("moving.nii", "fixed.nii", "moving_a.nii", "fixed_b.nii"), "holds no two label files named"),
    ],
)
def test_mistake_in_a_folder_is_named(tmp_path, names, message):
    touch(tmp_path / "case 7", *names)
    with pytest.raises(InputError, match=f"case 7: {message}"):
        find_cases([tmp_path])


def test_folder_without_cases_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no folders with cases"):
        find_cases([touch(tmp_path, "moving.nii")])
