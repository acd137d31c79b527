import csv

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fake_models import ByBrightness, model_by_brightness
from phantoms import DIRECTIONS, STORAGES, empty_image, filled, head_image, stored

from SLSFGRLib import segment, volumes
from SLSFGRLib.cli import main
from SLSFGRLib.errors import InputError
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.models.model import Model
from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.segmentation.intensity_model import IN_T1
from SLSFGRLib.segmentation.pipeline import Segmentation
from SLSFGRLib.spatial.grid import grid_of_image

CHANNELS = len(read_label_table()) + 1
# By brightness: the channels that the stand-in network finds.
DARK, MIDDLE, BRIGHT = 3, 5, 10


@pytest.fixture
def model():
    return model_by_brightness({0: 0.0, DARK: 0.2, MIDDLE: 0.45, BRIGHT: 0.75})


def number(channel):
    return read_label_table()[channel - 1].number


def mean_agreement(first, second):
    first, second = (sitk.GetArrayFromImage(labels) for labels in (first, second))
    return [
        2.0 * ((first == label) & (second == label)).sum() / ((first == label).sum() + (second == label).sum())
        for label in (number(DARK), number(MIDDLE), number(BRIGHT))
    ]


def test_labels_lie_where_the_structures_are(model):
    image, parts = head_image(empty_image((150, 180, 156), (1, 1, 1), centre=(3, -4, 5)))
    labels = sitk.GetArrayFromImage(segment(image, model=model))
    parts = sitk.GetArrayFromImage(parts)
    inside = sitk.GetArrayFromImage(
        sitk.ErodeObjectMorphology(sitk.GetImageFromArray((parts == 1).astype(np.uint8)), [3] * 3)
    )
    assert (labels[inside == 1] == number(BRIGHT)).mean() > 0.99
    # The head ends where its ellipsoid does, with semi-axes of 68, 84 and 74 mm.
    assert (labels > 0).sum() == pytest.approx(4 / 3 * np.pi * 68 * 84 * 74, rel=0.03)


@pytest.mark.parametrize("storage", [STORAGES[7], STORAGES[26], STORAGES[45]])
def test_the_way_an_image_is_stored_changes_no_label(model, head, storage):
    expected = stored(segment(head[0], model=model), *storage)
    found = segment(stored(head[0], *storage), model=model)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    assert found.GetOrigin() == pytest.approx(expected.GetOrigin())


@pytest.mark.parametrize(("direction", "spacing"), [("LAS", (2.0, 2.0, 2.0)), ("oblique left-handed", (1.3, 0.9, 4.0))])
def test_labels_are_on_the_images_own_grid_whatever_its_spacing(model, direction, spacing):
    size = [round(168 / step) for step in spacing]
    grid = empty_image(size, spacing, DIRECTIONS[direction], centre=(0, 0, 0))
    image, _ = head_image(grid)
    found = segment(image, model=model)
    assert found.GetSize() == image.GetSize()
    assert found.GetDirection() == pytest.approx(image.GetDirection())
    assert found.GetPixelID() == sitk.sitkUInt16
    fine, _ = head_image(empty_image((168, 168, 168), (1, 1, 1), DIRECTIONS[direction], centre=(0, 0, 0)))
    reference = sitk.Resample(segment(fine, model=model), image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert min(mean_agreement(found, reference)) > 0.85


def test_volumes_are_in_cubic_millimetres():
    array = np.zeros((4, 5, 6), np.uint16)
    array[0, 0, :3] = 17
    array[1, 2, :5] = 53
    found = {row.name: row.volume_mm3 for row in volumes(filled(empty_image((6, 5, 4), (0.5, 1.0, 3.0)), array))}
    assert found["Left hippocampus"] == pytest.approx(4.5)
    assert found["Right hippocampus"] == pytest.approx(7.5)
    assert found["Brain stem"] == 0.0
    assert len(found) == CHANNELS - 1


def test_volumes_of_an_image_that_was_sheared_are_those_of_its_slanted_voxels():
    labels = filled(empty_image((6, 5, 4), (1.0, 1.0, 1.0)), np.full((4, 5, 6), 17, np.uint16))
    labels.SetDirection((1.0, 0.6, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 1.0))
    found = {row.name: row.volume_mm3 for row in volumes(labels)}
    assert found["Left hippocampus"] == pytest.approx(0.8 * 6 * 5 * 4)


def test_network_that_cannot_segment_is_refused(head):
    with pytest.raises(InputError, match="model 'li_fan': cannot segment; use one of network sl_sfgr"):
        segment(head[0], model=Model.untrained("li_fan"))


@pytest.fixture
def command_model(model, monkeypatch):
    monkeypatch.setattr("SLSFGRLib.models.loading.load_model", lambda name: model)


def test_command_writes_labels_and_volumes(head, command_model, tmp_path, capsys):
    image, labels, table = (tmp_path / name for name in ("image.nii.gz", "labels.nii.gz", "volumes.csv"))
    sitk.WriteImage(head[0], str(image))
    code = main(["segment", str(image), str(labels), "--volumes", str(table), "--model", "any", "--quiet"])
    assert code == 0
    assert capsys.readouterr().out.split() == [str(labels), str(table)]
    written = sitk.ReadImage(str(labels))
    assert written.GetSpacing() == pytest.approx(head[0].GetSpacing())
    with table.open() as stream:
        rows = {row["name"]: float(row["volume_mm3"]) for row in csv.DictReader(stream)}
    voxels = (sitk.GetArrayFromImage(written) == number(BRIGHT)).sum()
    assert rows[read_label_table()[BRIGHT - 1].name] == pytest.approx(8.0 * voxels)
    assert voxels > 0


def test_command_leaves_nothing_behind_when_the_table_cannot_be_written(head, command_model, tmp_path, capsys):
    image = tmp_path / "image.nii.gz"
    sitk.WriteImage(head[0], str(image))
    missing = tmp_path / "nowhere" / "volumes.csv"
    arguments = ["segment", str(image), str(tmp_path / "labels.nii.gz"), "--volumes", str(missing), "--model", "any"]
    assert main(arguments) == 2
    assert "its folder does not exist" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["image.nii.gz"]


def test_mirror_image_is_seen_with_the_sides_exchanged():
    left, right = (
        [structure.name for structure in read_label_table()].index(f"{side} putamen") + 1 for side in ("Left", "Right")
    )

    class Sided(torch.nn.Module):
        """Takes whatever is bright, and lies before the middle of the last axis, for the left putamen, weakly."""

        def segment(self, image):
            logits = torch.zeros(1, CHANNELS, *image.shape[2:])
            middle = image.shape[4] // 2
            logits[:, left, ..., :middle], logits[:, right, ..., middle:] = (
                image[:, 0, ..., :middle],
                3.0 * image[:, 0, ..., middle:],
            )
            return logits

    tensor = torch.rand(1, 1, 8, 8, 16, generator=torch.Generator().manual_seed(0))
    prepared = PreparedImage(tensor, grid_of_image(empty_image((16, 8, 8))))
    alone, both = (Segmentation.of(prepared, Sided(), mirrored).logits for mirrored in (False, True))
    coarse = alone[0, left, ..., :4]
    assert torch.allclose(both[0, left, ..., :4], 2.0 * coarse)
    assert torch.allclose(both[0, right, ..., 4:], (alone[0, right, ..., 4:] + alone[0, right, ..., 4:] / 3.0) / 2.0)


@pytest.mark.parametrize(("levels", "looks"), [((0.2, 0.5, 0.9), 1), ((0.9, 0.5, 0.2), 2)], ids=["T1", "T2"])
def test_other_contrast_than_t1_is_looked_at_again_as_a_t1(levels, looks):
    names = [structure.name for structure in read_label_table()]
    channels = [
        names.index(f"Left {name}") + 1 for name in ("lateral ventricle", "cerebral cortex", "cerebral white matter")
    ]
    tensor = torch.zeros(1, 1, 24, 16, 16)
    for number, level in enumerate(levels):
        tensor[:, :, 4 + 6 * number : 10 + 6 * number, 4:12, 4:12] = level
    seen = []

    class Watching(ByBrightness):
        def segment(self, image):
            seen.append(image)
            return super().segment(image)

    prepared = PreparedImage(tensor, grid_of_image(empty_image((16, 16, 24))))
    found = Segmentation.of(prepared, Watching({0: 0.0} | dict(zip(channels, levels, strict=True))))
    assert len(seen) == looks
    assert found.prepared is prepared
    middles = seen[-1][0, 0, [3, 6, 9], 4, 4]
    torch.testing.assert_close(middles, torch.tensor(IN_T1 if looks == 2 else levels), atol=0.02, rtol=0)
