"""A follow-up: scans of one head at several dates, and what is measured of them."""

import csv
import json
from contextlib import contextmanager

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import empty_image, filled, positions, rotation_about, transformed

from SLSFGRLib.cli import main
from SLSFGRLib.errors import InputError
from SLSFGRLib.jobs import longitudinal
from SLSFGRLib.jobs.longitudinal import BRAIN, follow_up
from SLSFGRLib.spatial.affine import Affine

# A small head: an ellipsoid with bumps and folds inside, and a ball that shrinks, in mm.
SEMI_AXES, BALL_CENTRE, BALL_RADIUS = np.array((22.0, 26.0, 20.5)), np.array((6.0, -4.0, 3.0)), 11.0
NOISE = 0.01
POSES = (
    Affine.about(rotation_about((0, 1, 2), 4.0), np.zeros(3), np.array((3.3, -2.1, 1.7))),
    Affine.about(rotation_about((2, -1, 0), -5.0), np.zeros(3), np.array((-4.6, 0.8, -2.4))),
)
LEFT_HIPPOCAMPUS, LEFT_WHITE_MATTER = 17, 2


def head(points, shrinkage=0.0):
    """Intensities of the small head at points in mm, after its ball has lost so much of its volume."""
    outer = 1.0 - np.linalg.norm(points / SEMI_AXES, axis=-1)
    folds = np.sin(points[..., 0] / 2.9) * np.sin(points[..., 1] / 3.7 + 1.0) * np.sin(points[..., 2] / 3.3 + 2.0)
    bumps = np.exp(-(np.linalg.norm(points - np.array((-12.0, 14.0, 6.0)), axis=-1) ** 2) / 50.0)
    radius = BALL_RADIUS * (1.0 - shrinkage) ** (1 / 3)
    depth = radius - np.linalg.norm(points - BALL_CENTRE, axis=-1)
    inside = 1.0 / (1.0 + np.exp(np.clip(-depth / 0.5, -50, 50)))
    tissue = 0.7 + 0.12 * folds - 0.3 * bumps
    return (tissue + inside * (0.45 - tissue)) / (1.0 + np.exp(np.clip(-outer * 26.0 / 0.5, -50, 50)))


def scan(pose, shrinkage=0.0, seed=0):
    """The small head as it lies in a scan; ``pose`` takes points of the head to points of the scan."""
    image = empty_image((60, 66, 60), (1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0))
    array = head(pose.inverse().apply(positions(image)), shrinkage)
    noise = NOISE * np.random.default_rng(seed).standard_normal(array.shape)
    return filled(image, (1000.0 * np.abs(array + noise)).astype(np.float32))


def structures(mean, finder, device):
    """The ball and the rest of the head, by the intensities of the mean."""
    array = sitk.GetArrayFromImage(mean)
    smoothed = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(mean, 1.0))
    head_inside = smoothed > 0.25
    found = np.argwhere(head_inside).mean(0)[::-1]
    centre = np.array(mean.TransformContinuousIndexToPhysicalPoint(found.tolist()))
    ball = np.linalg.norm(positions(mean) - centre - BALL_CENTRE, axis=-1) < BALL_RADIUS + 1.0
    labels = np.where(ball, LEFT_HIPPOCAMPUS, np.where(head_inside, LEFT_WHITE_MATTER, 0))
    return filled(mean, labels.astype(np.uint8).reshape(array.shape)), {"role": "segmentation", "name": "test"}


@contextmanager
def without_networks():
    """Let no network look for structures: the phantom is no brain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(longitudinal, "brain_network", lambda device: None)
        patch.setattr(longitudinal, "_structures", structures)
        yield


@pytest.fixture(scope="module")
def scans():
    return scan(POSES[0], 0.0, 1), scan(POSES[1], 0.03, 2)


@pytest.fixture(scope="module")
def written(scans, tmp_path_factory):
    """The folder that the command wrote."""
    folder = tmp_path_factory.mktemp("scans")
    paths = [folder / "first.nii.gz", folder / "second.nii.gz"]
    for image, path in zip(scans, paths, strict=True):
        sitk.WriteImage(image, str(path))
    with without_networks():
        command = ["longitudinal", *map(str, paths), "--output", str(folder / "out"), "--device", "cpu", "--quiet"]
        assert main(command) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def swapped(scans):
    """The result with the scans in the other order."""
    with without_networks():
        return follow_up(scans[::-1], ["second", "first"])


@pytest.fixture(scope="module")
def volumes(written):
    """Volumes in mL at both dates and the change in percent, by structure."""
    rows = list(csv.reader((written / "volumes.csv").open(encoding="utf-8")))
    assert rows[0] == ["number", "name", "1_first (mL)", "2_second (mL)", "2_second (change %)"]
    return {row[1]: [float(value) for value in row[2:]] for row in rows[1:]}


def test_a_known_shrinkage_is_found(volumes):
    before, after, change = volumes["Left hippocampus"]
    # The label reaches a millimetre beyond the ball, so that all of the change is in it.
    assert change == pytest.approx(-3.0 * (BALL_RADIUS / (BALL_RADIUS + 1.0)) ** 3, abs=0.4)
    assert change == pytest.approx(100.0 * (after / before - 1.0), abs=0.01)
    assert volumes[BRAIN][2] == pytest.approx(0.0, abs=0.5)


def test_the_transforms_follow_the_head(written):
    """A point of the half-way space is the same place of the head in both scans."""
    points = np.random.default_rng(0).uniform(-15, 15, (200, 3)) + np.array((-8.0, 9.0, -4.0))
    seen = [
        pose.inverse().apply(transformed(sitk.ReadTransform(str(written / name)), points))
        for pose, name in zip(POSES, ("1_first_transform.h5", "2_second_transform.h5"), strict=True)
    ]
    # The ball itself has changed.
    far = np.linalg.norm(seen[0] - BALL_CENTRE, axis=1) > BALL_RADIUS + 4.0
    assert far.sum() > 50
    assert np.linalg.norm(seen[0] - seen[1], axis=1)[far].mean() < 0.1


def test_the_order_of_the_scans_changes_nothing(written, volumes, swapped):
    points = np.random.default_rng(1).uniform(-20, 20, (200, 3))
    for number, date in enumerate(swapped.dates[::-1]):
        transform = sitk.ReadTransform(str(written / f"{number + 1}_{date.name}_transform.h5"))
        distance = np.linalg.norm(transformed(date.transform, points) - transformed(transform, points), axis=1)
        assert distance.max() < 0.01
        for name, volume in date.volumes_ml.items():
            assert volumes[name][number] == pytest.approx(volume, rel=0.0005)


def test_the_results_are_a_table_a_page_and_images(written, volumes):
    report = json.loads((written / "report.json").read_text(encoding="utf-8"))
    after = report["volumes_ml"][str(written.parent / "second.nii.gz")]
    assert after["Left hippocampus"] == pytest.approx(volumes["Left hippocampus"][1], abs=0.0001)
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "Left hippocampus" in page
    assert "$" not in page
    first, second = (
        sitk.ReadImage(str(written / name)) for name in ("1_first_change.nii.gz", "2_second_change.nii.gz")
    )
    assert sitk.GetArrayFromImage(first).max() == 0.0
    assert second.GetSize() == sitk.ReadImage(str(written / "labels.nii.gz")).GetSize()
    inside = sitk.GetArrayFromImage(second)[
        sitk.GetArrayFromImage(sitk.ReadImage(str(written / "labels.nii.gz"))) == 17
    ]
    assert inside.mean() == pytest.approx(volumes["Left hippocampus"][2], abs=0.3)


def test_what_one_image_cuts_off_is_not_compared():
    """Tissue in both scans but below index 6, where the second one is cut; fluid at index 12 is no cut."""
    whole = np.full((16, 16, 16), 0.7, dtype=np.float32)
    cut = whole.copy()
    cut[:6], cut[12] = 0.0, 0.15
    distance = np.broadcast_to(6.0 - np.arange(16.0)[:, None, None], whole.shape)
    found = longitudinal._cut_off([whole, cut], [np.full(whole.shape, -20.0), distance])
    # And what is nearer to it than 3 mm.
    np.testing.assert_array_equal(np.unique(np.argwhere(found)[:, 0]), np.arange(9))


def test_another_head_is_refused(scans):
    other = sitk.Flip(scans[1], (True, True, False))
    other.CopyInformation(scans[1])
    with without_networks(), pytest.raises(InputError, match="one head in one contrast"):
        follow_up([scans[0], 2000.0 - other], ["a.nii", "b.nii"])


@pytest.mark.parametrize(("names", "message"), [(["a.nii"], "the only scan"), (["a.nii", "a.nii"], "given twice")])
def test_too_few_scans_are_refused(names, message, tmp_path, capsys):
    assert main(["longitudinal", *names, "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
