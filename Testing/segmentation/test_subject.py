"""A subject: prepared at about 1 mm, segmented on demand, with tissue probability maps."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fake_models import IntensityNetwork, for_any_contrast, networks_by_intensity
from phantoms import empty_image, filled, head_image, positions

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.preprocessing import BrainMask, prepare
from SLSFGRLib.segmentation.intensity_model import deep_channels
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.segmentation.tissue_maps import MAPS, SHARP_WHITE_MATTER, TISSUES
from SLSFGRLib.spatial.grid import grid_of_image, voxel_positions

NAMES = ["background"] + [structure.name for structure in read_label_table()]
CORTEX, WHITE_MATTER, THALAMUS = (
    NAMES.index(f"Left {name}") for name in ("cerebral cortex", "cerebral white matter", "thalamus")
)
CSF = NAMES.index("Cerebrospinal fluid")
# The intensities of four balls in a head of CSF, and where they lie.
LEVELS = {CSF: 0.2, CORTEX: 0.5, THALAMUS: 0.65, WHITE_MATTER: 1.0}
CENTRES = {CORTEX: (-24.0, 0.0, 0.0), THALAMUS: (24.0, 0.0, 0.0), WHITE_MATTER: (0.0, 24.0, 0.0)}


@pytest.fixture(scope="module")
def balls():
    image = empty_image((56, 56, 56), (2, 2, 2), centre=(0, 0, 0))
    points = positions(image)
    array = np.where(np.linalg.norm(points, axis=-1) < 50, LEVELS[CSF], 0.0)
    for channel, centre in CENTRES.items():
        array[np.linalg.norm(points - centre, axis=-1) < 16] = LEVELS[channel]
    return filled(image, (1000 * array).astype(np.float32))


@pytest.fixture(scope="module")
def segmented(balls):
    return Subject.from_image(balls).segmented(networks_by_intensity({0: 0.0} | LEVELS))


def value_at(maps, grid, channel):
    """The values of maps at the centre of a ball."""
    index = np.linalg.inv(grid.matrix) @ [*CENTRES[channel], 1.0]
    return maps[0, :, *np.round(index[:3]).astype(int)]


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 1.5, 2.5)])
def test_image_is_prepared_at_about_a_millimetre_whatever_its_spacing(spacing):
    image = head_image(empty_image([round(168 / step) for step in spacing], spacing, centre=(0, 0, 0)))[0]
    subject = Subject.from_image(image)
    assert subject.image is image
    np.testing.assert_allclose(subject.grid.spacing, 1.0, atol=0.15)
    np.testing.assert_array_equal(subject.prepared.tensor, prepare(image).tensor)


def test_averages_cover_the_same_box_with_the_same_segmentation(segmented):
    mask = torch.zeros_like(segmented.prepared.tensor)
    mask[..., :3] = 1.0
    averaged = replace(segmented, compared=mask).averaged
    expected = segmented.grid.resized([size // 2 for size in segmented.grid.shape])
    assert averaged.grid.shape == expected.shape
    np.testing.assert_allclose(averaged.grid.matrix, expected.matrix)
    torch.testing.assert_close(averaged.prepared.tensor.mean(), segmented.prepared.tensor.mean())
    assert averaged.compared[0, 0, 0, 0, :4].tolist() == [1.0, 0.5, 0.0, 0.0]
    assert averaged.segmentation is segmented.segmentation
    for channel in CENTRES:
        maps = (value_at(subject.tissues, subject.grid, channel) for subject in (averaged, segmented))
        torch.testing.assert_close(*maps, atol=0.1, rtol=0.0)


def test_without_a_segmentation_there_are_no_tissues(balls):
    assert Subject.from_image(balls).segmentation is None
    assert Subject.from_image(balls).tissues is None


def test_segmenting_gives_a_new_subject_with_the_same_image(balls):
    subject = Subject.from_image(balls)
    found = subject.segmented(networks_by_intensity({0: 0.0} | LEVELS))
    assert subject.segmentation is None
    assert found.prepared is subject.prepared
    assert not found.is_corrected
    assert found.image is balls
    assert found.segmentation.logits.shape[2:] == tuple(size // 2 for size in subject.grid.shape)


def test_a_brain_that_reaches_too_far_is_corrected_and_segmented_again(balls, monkeypatch):
    whole = prepare(balls)
    distance = np.linalg.norm(voxel_positions(whole.grid), axis=-1)
    found, corrected = (BrainMask(distance < radius, whole.grid) for radius in (40.0, 24.0))
    answers = iter([corrected, None])
    monkeypatch.setattr("SLSFGRLib.segmentation.subject.near_template", lambda brain, structures: next(answers))
    networks = networks_by_intensity({0: 0.0} | LEVELS)
    subject = Subject(balls, whole.confined_to(found), brain=found).segmented(networks)
    assert subject.brain is corrected
    assert subject.is_corrected
    assert subject.grid == whole.grid
    assert next(answers, "asked twice") == "asked twice"
    np.testing.assert_array_equal(subject.prepared.tensor[0, 0][distance > 24.0 + 8.0], 0.0)
    # Nothing is found where the image has faded out, and intensities are scaled by what is left.
    inside = subject.segmentation.posteriors[0, 1:].sum(0) > 0.5
    far = np.linalg.norm(voxel_positions(subject.segmentation.grid), axis=-1) > 24.0 + 8.0
    assert not inside.numpy()[far].any()
    expected = Subject(balls, whole.confined_to(found).confined_to(corrected)).segmented(networks)
    np.testing.assert_array_equal(subject.segmentation.logits, expected.segmentation.logits)


@pytest.mark.parametrize("outer_is_darker", [True, False])
def test_the_network_that_is_asked_first_is_guessed_from_the_brain(balls, monkeypatch, outer_is_darker):
    whole = prepare(balls)
    found = BrainMask(np.linalg.norm(voxel_positions(whole.grid), axis=-1) < 40.0, whole.grid)
    asked = []

    def run_network(image, networks, describe, likely_t1):
        asked.append(likely_t1)
        raise InterruptedError

    monkeypatch.setattr("SLSFGRLib.segmentation.subject.run_network", run_network)
    shown = whole.tensor if outer_is_darker else 1.0 - whole.tensor
    for brain in (found, None):
        with pytest.raises(InterruptedError):
            Subject(balls, replace(whole, tensor=shown), brain=brain).segmented(networks_by_intensity({0: 0.0}))
    assert asked == [outer_is_darker, True]


def test_brain_alone_fades_out_from_its_surface(balls):
    whole = prepare(balls)
    distance = np.linalg.norm(voxel_positions(whole.grid), axis=-1)
    found = BrainMask(distance < 40.0, whole.grid)
    subject = Subject(balls, whole.confined_to(found), brain=found)
    alone, shown = subject.brain_alone.tensor[0, 0], subject.prepared.tensor[0, 0]
    np.testing.assert_array_equal(alone[distance < 39.0], shown[distance < 39.0])
    np.testing.assert_array_equal(alone[distance > 43.0], 0.0)
    assert (shown[distance > 43.0] > 0.1).any()
    # Where the brain is segmented, its surface is that of the segmentation.
    smaller = subject.segmented(networks_by_intensity({0: 0.0} | LEVELS))
    inside = np.linalg.norm(voxel_positions(smaller.segmentation.grid), axis=-1) < 20.0
    background = torch.from_numpy(~inside).float()[None, None]
    posteriors = torch.cat([background, 1.0 - background], dim=1)
    smaller = replace(smaller, segmentation=replace(smaller.segmentation, posteriors=posteriors))
    alone, shown = smaller.brain_alone.tensor[0, 0], smaller.prepared.tensor[0, 0]
    np.testing.assert_array_equal(alone[distance < 16.0], shown[distance < 16.0])
    np.testing.assert_array_equal(alone[distance > 24.0], 0.0)
    # An image without a skull stays as it is.
    without = Subject(balls, whole, brain=found)
    assert without.brain_alone is without.prepared


def test_segmenting_keeps_no_gradients(balls):
    network = IntensityNetwork({0: 0.0} | LEVELS)
    weight = torch.nn.Parameter(torch.ones(()))
    network.segment = lambda image: weight * IntensityNetwork.segment(network, image)
    assert network.segment(torch.rand(1, 1, 8, 8, 8)).requires_grad
    assert not Subject.from_image(balls).segmented(for_any_contrast(network)).segmentation.logits.requires_grad


def test_tissue_maps_are_on_the_prepared_grid_and_show_each_tissue(segmented):
    maps = segmented.tissues
    assert maps.shape == (1, len(MAPS), *segmented.grid.shape)
    assert maps.min() >= 0.0
    assert maps.max() <= 1.0
    for channel, tissue in ((CORTEX, "gm"), (WHITE_MATTER, "wm")):
        values = value_at(maps, segmented.grid, channel)
        assert TISSUES[int(values[: len(TISSUES)].argmax())] == tissue
        assert float(values[TISSUES.index(tissue)]) > 0.5


def test_tissue_maps_share_what_the_posteriors_of_deep_structures_leave(segmented):
    posteriors = value_at(segmented.segmentation.posteriors, segmented.segmentation.grid, THALAMUS)
    deep = float(posteriors[deep_channels()].sum())
    assert deep > 0.7
    values = value_at(segmented.tissues, segmented.grid, THALAMUS)
    assert float(values[: len(TISSUES)].sum()) == pytest.approx(1.0 - deep, abs=1e-3)
    assert float(values[MAPS.index(SHARP_WHITE_MATTER)]) == 0.0


def test_coarse_labels_are_the_most_probable_channels_on_the_network_grid(segmented):
    coarse = segmented.coarse_labels
    np.testing.assert_allclose(grid_of_image(coarse).matrix, segmented.grid.coarsened(2).matrix, atol=1e-9)
    array = sitk.GetArrayFromImage(coarse)
    np.testing.assert_array_equal(array, segmented.segmentation.posteriors[0].argmax(dim=0))
    assert set(np.unique(array)) == {0, *LEVELS}
