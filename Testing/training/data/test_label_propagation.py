import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import generator, numbers_image

from SLSFGRLib.io.label_table import mirrored_channels, read_label_table
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.synthesis import LabelMap, Synthesis, Synthesiser
from SLSFGRLib.synthesis.contrasts import typical_contrast
from SLSFGRLib.synthesis.tissue_contrasts import INTENSITY_PROFILES, channel_count, classes
from SLSFGRLib.training.data import label_propagation
from SLSFGRLib.training.data.label_propagation import (
    LabelledImage,
    load_labelled_images,
    propagate_labels,
    render_brain,
)
from SLSFGRLib.training.data.labelled_samples import draw_labelled_sample

LEFT_CORTEX = [structure.name for structure in read_label_table()].index("Left cerebral cortex") + 1
# A recipe under which nothing is left to chance.
AS_IT_IS = Synthesis(
    rotation_degrees=0.0,
    large_rotation_chance=0.0,
    scale=0.0,
    shear=0.0,
    shift_mm=0.0,
    deformation_mm=0.0,
    flip_chance=0.0,
    bias=0.0,
    blur_mm=0.0,
    slice_chance=0.0,
    noise=0.0,
    cut_chance=0.0,
    gamma=0.0,
)


@pytest.fixture(scope="module")
def label_map():
    return LabelMap.from_image(numbers_image())


@pytest.fixture(scope="module")
def rendered(label_map):
    """The brain of the label map, and its labels."""
    return render_brain(label_map)


def find_shifts(patch, found):
    """Let the registrations find these shifts along x in mm, one after the other."""
    patch.setattr(label_propagation, "can_segment", lambda: False)
    patch.setattr(label_propagation, "align", lambda *_: Affine.from_parts(np.eye(3), (found.pop(0), 0.0, 0.0)))
    patch.setattr(label_propagation, "deform", lambda *_: torch.zeros(1, 3, 8, 8, 8))


@pytest.fixture
def shifts(monkeypatch):
    """What the registrations find."""
    found = []
    find_shifts(monkeypatch, found)
    return found


@pytest.fixture(scope="module")
def unshifted(label_map, rendered):
    """The brain with the labels of the map that it was made from."""
    with pytest.MonkeyPatch.context() as patch:
        find_shifts(patch, [0.0])
        return propagate_labels(rendered[0], [label_map])


# --- label propagation --------------------------------------------------------------------------------------


def test_map_is_rendered_as_a_brain_without_the_rest_of_the_head(label_map, rendered):
    image, labels = (sitk.GetArrayFromImage(part) for part in rendered)
    kinds = label_map.classes.numpy()
    outside = np.isin(
        kinds, [index for index, name in enumerate(classes().names) if INTENSITY_PROFILES[name].group == "outside"]
    )
    assert outside.any()
    far = sitk.GetArrayFromImage(sitk.BinaryErode(sitk.GetImageFromArray(outside.astype(np.uint8)), [2] * 3)) > 0
    assert np.abs(image[far]).max() < 0.05
    inside = sitk.GetArrayFromImage(
        sitk.BinaryErode(sitk.GetImageFromArray((labels == LEFT_CORTEX).astype(np.uint8)), [3] * 3)
    )
    assert image[inside > 0] == pytest.approx(float(typical_contrast("t1").intensity[LEFT_CORTEX]), abs=0.02)
    np.testing.assert_array_equal(labels, classes().channel[kinds])


def test_labels_lie_where_the_registration_puts_them(rendered, unshifted):
    found, labels = unshifted, rendered[1]
    assert float((found.probabilities.sum(dim=1) - 1.0).abs().max()) < 1e-5
    volume = (sitk.GetArrayFromImage(labels) == LEFT_CORTEX).sum()
    assert 8.0 * float(found.probabilities[0, LEFT_CORTEX].sum()) == pytest.approx(volume, rel=0.01)
    agree = found.image[0, 0][found.probabilities[0, LEFT_CORTEX] > 0.99]
    assert float(agree.median()) == pytest.approx(0.58, abs=0.08)


def test_map_that_fits_counts_for_more_than_one_that_does_not(label_map, rendered, unshifted, shifts):
    brain, alone = rendered[0], unshifted.probabilities
    shifts += [0.0, 12.0]
    fused = propagate_labels(brain, [label_map, label_map]).probabilities
    shifts += [12.0]
    wrong = propagate_labels(brain, [label_map]).probabilities
    differ = (alone.argmax(1) != wrong.argmax(1))[0]
    assert differ.float().mean() > 0.02
    found = fused.argmax(1)[0][differ]
    assert (found == alone.argmax(1)[0][differ]).float().mean() > 0.9


def test_propagated_labels_are_cached(label_map, rendered, shifts, tmp_path, monkeypatch):
    file = tmp_path / "brain.nii.gz"
    sitk.WriteImage(rendered[0], str(file))
    shifts.append(0.0)
    (first,) = load_labelled_images([file], [label_map], tmp_path / "cache", lambda fraction: None)
    monkeypatch.delattr(label_propagation, "propagate_labels")
    (again,) = load_labelled_images([file], [label_map], tmp_path / "cache", lambda fraction: None)
    assert torch.equal(again.image, first.image)
    assert torch.equal(again.probabilities, first.probabilities)


# --- samples ------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled():
    """A box of left cortex left of the middle, in air."""
    image, probabilities = torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, channel_count(), 16, 16, 16)
    image[:, :, 4:12, 4:12, 9:13] = 0.8
    probabilities[:, LEFT_CORTEX] = (image[:, 0] > 0).float()
    probabilities[:, 0] = 1.0 - probabilities[:, LEFT_CORTEX]
    return LabelledImage(image, probabilities)


def test_sample_without_changes_is_the_image_about_its_middle(labelled):
    image, labels = draw_labelled_sample([labelled], Synthesiser(AS_IT_IS, (16, 16, 16)), generator())
    # The middle of the brain, at 10.5 along the last axis, comes to 7.5.
    assert torch.equal(labels[:, :, :, :, 6:10], labelled.probabilities[:, :, :, :, 9:13])
    assert float(labels[0, LEFT_CORTEX].sum()) == 8 * 8 * 4
    assert torch.equal(image[0, 0] > 0.5, labels[0, LEFT_CORTEX] > 0.5)


def test_flipped_sample_has_the_other_side(labelled):
    flipped = Synthesis(**{**vars(AS_IT_IS), "flip_chance": 1.0})
    _, labels = draw_labelled_sample([labelled], Synthesiser(flipped, (16, 16, 16)), generator())
    right = int(mirrored_channels()[LEFT_CORTEX])
    assert float(labels[0, right].sum()) == 8 * 8 * 4
    assert float(labels[0, LEFT_CORTEX].sum()) == 0.0


def test_what_is_cut_off_is_background(labelled):
    cutting = Synthesis(**{**vars(AS_IT_IS), "cut_chance": 1.0, "cut_mm": 16.0})
    lost = 0
    for seed in range(6):
        _, labels = draw_labelled_sample([labelled], Synthesiser(cutting, (16, 16, 16)), generator(seed))
        assert float((labels.sum(dim=1) - 1.0).abs().max()) < 1e-5
        lost += float(labels[0, LEFT_CORTEX].sum()) < 8 * 8 * 4
    assert lost > 0
