"""The deformation of one subject to another: which channels are compared, and the template."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import balls_subject

from SLSFGRLib.registration.channels import INTENSITY, ChannelImage
from SLSFGRLib.registration.deform import MIN_LNCC_RATIO_OF_START, deform, show_t1
from SLSFGRLib.registration.field_optimisation import Level, optimise_field
from SLSFGRLib.registration.intensity_mapping import optimise_across_contrasts
from SLSFGRLib.registration.schedules import across_contrasts
from SLSFGRLib.registration.template import TissueAtlas, guide_by_template
from SLSFGRLib.segmentation.intensity_model import IntensityModel, channel_names
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.segmentation.tissue_maps import MAPS, TISSUES
from SLSFGRLib.spatial.affine import Affine

IDENTITY = Affine.identity()
WITH_TISSUES = {INTENSITY: 1.0} | dict.fromkeys(TISSUES, 0.5)
COARSE = (Level(8.0, 10, weights=WITH_TISSUES), Level(4.0, 10, weights=WITH_TISSUES))
FINE = (Level(2.0, 3, weights=WITH_TISSUES),)
SHIFT_MM, SHRINKING = 3.0, 1.4
# Intensities of CSF, GM and WM.
T1, T2, FLAIR, PD = (0.3, 0.5, 0.9), (0.9, 0.5, 0.3), (0.2, 0.8, 0.6), (0.5, 0.8, 0.6)


def showing(means, subject):
    """The same subject with these intensities of CSF, GM and WM in its model."""
    names = ("cerebrospinal fluid", "cerebral cortex", "cerebral white matter")
    values = torch.tensor([dict(zip(names, means, strict=True)).get(name, 0.4) for name in channel_names()])
    model = IntensityModel(values, torch.full_like(values, 0.01))
    return replace(subject, segmentation=replace(subject.segmentation, intensity_model=model))


@pytest.fixture(scope="module")
def fixed():
    """Small balls, to save time."""
    return balls_subject(shrinking=SHRINKING)


@pytest.fixture(scope="module")
def moving():
    """The same balls; what is at x in the fixed image is at x - 3 mm (left) in this one."""
    return balls_subject(Affine.from_parts(np.eye(3), (SHRINKING * SHIFT_MM, 0.0, 0.0)), shrinking=SHRINKING)


@pytest.fixture(scope="module")
def template(fixed):
    return TissueAtlas.from_subject(fixed)


def channels_of(*subjects):
    return [ChannelImage.from_subject(subject, tissues=True) for subject in subjects]


def coarse_channels_of(*subjects):
    return channels_of(*(subject.averaged for subject in subjects))


def test_channels_are_the_intensity_and_the_tissue_maps_on_the_prepared_grid(fixed):
    image = ChannelImage.from_subject(fixed, tissues=True)
    assert list(image.channels) == [INTENSITY, *MAPS]
    assert image.grid is fixed.grid
    assert torch.equal(image.channels[INTENSITY], fixed.prepared.tensor)
    assert torch.equal(image.stack(MAPS), fixed.tissues)
    assert image.stack(MAPS).shape == (1, len(MAPS), *fixed.grid.shape)
    assert list(ChannelImage.from_subject(fixed).channels) == [INTENSITY]


def test_deformation_finds_a_shift_that_the_affine_transform_leaves():
    fixed, moving = balls_subject(), balls_subject(Affine.from_parts(np.eye(3), (SHIFT_MM, 0.0, 0.0)))
    field = deform(fixed, moving, IDENTITY, (*COARSE, *FINE))
    # In the middle, along the last axis, which runs to the left.
    spacing = fixed.grid.resized(field.shape[2:]).mean_spacing
    middle = tuple(size // 2 for size in field.shape[2:])
    assert field[0, 2][middle] * spacing == pytest.approx(-SHIFT_MM, abs=0.5)


def test_field_is_guided_by_the_template_after_the_coarse_levels(fixed, moving, template):
    coarse = optimise_across_contrasts(*coarse_channels_of(fixed, moving), IDENTITY, COARSE)
    guided = guide_by_template(coarse, fixed, moving, IDENTITY, template)
    assert not torch.equal(guided, coarse)
    expected = optimise_across_contrasts(*channels_of(fixed, moving), IDENTITY, FINE, guided)
    found = deform(fixed, moving, IDENTITY, (*COARSE, *FINE), template=template)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(deform(fixed, moving, IDENTITY, COARSE, template=template), guided)


def test_a_start_is_guided_by_the_template(fixed, moving, template):
    start = deform(fixed, moving, IDENTITY, COARSE)
    guided = guide_by_template(start, fixed, moving, IDENTITY, template, MIN_LNCC_RATIO_OF_START)
    assert not torch.equal(guided, start)
    expected = deform(fixed, moving, IDENTITY, FINE, guided)
    torch.testing.assert_close(deform(fixed, moving, IDENTITY, FINE, start, template), expected)


def test_template_takes_no_part_without_tissues_or_where_all_levels_are_fine(fixed, moving, template):
    intensities = tuple(Level(level.spacing, 3) for level in COARSE)
    unsegmented = Subject(moving.image, moving.prepared)
    for pair, levels in (((showing(T1, fixed), showing(T1, moving)), intensities), ((fixed, unsegmented), COARSE)):
        expected = deform(*pair, IDENTITY, levels)
        assert torch.equal(deform(*pair, IDENTITY, levels, template=template), expected)
    expected = deform(fixed, moving, IDENTITY, FINE)
    assert torch.equal(deform(fixed, moving, IDENTITY, FINE, template=template), expected)


def test_levels_that_name_tissues_compare_intensities_alone_where_a_subject_is_not_segmented(fixed, moving):
    unsegmented = Subject(fixed.image, fixed.prepared), Subject(moving.image, moving.prepared)
    plain = tuple(Level(level.spacing, level.iterations) for level in COARSE)
    expected = deform(showing(T1, fixed), showing(T1, moving), IDENTITY, plain)
    assert torch.equal(deform(unsegmented[0], moving, IDENTITY, COARSE), expected)
    assert torch.equal(deform(*unsegmented, IDENTITY, COARSE), expected)
    assert not torch.equal(deform(fixed, moving, IDENTITY, COARSE), expected)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(T1, T1, True), (T1, T2, False), (FLAIR, PD, False), (T1, FLAIR, False), (PD, T1, False), (T2, T2, False)],
)
def test_images_show_t1_if_the_tissues_of_both_have_its_order(fixed, first, second, expected):
    assert show_t1(showing(first, fixed), showing(second, fixed)) == expected


def test_a_brain_that_is_not_segmented_is_taken_to_show_t1(fixed):
    assert show_t1(Subject(fixed.image, fixed.prepared), showing(T2, fixed))


PLANNED = (Level(4.0, 6), Level(2.0, 3), Level(1.9, 3))


@pytest.mark.parametrize(("ratio", "certainty"), [(0.5, 0.0), (0.76, 0.5), (1.0, 1.0)])
def test_between_contrasts_the_fine_levels_compare_intensities_as_far_as_one_tells_the_other(
    fixed, moving, monkeypatch, ratio, certainty
):
    monkeypatch.setattr("SLSFGRLib.registration.deform.correlation_ratio", lambda *given: ratio)
    pair = showing(T1, fixed), showing(T2, moving)
    coarse, fractions = optimise_field(*coarse_channels_of(*pair), IDENTITY, across_contrasts(PLANNED[:1])), []
    expected = optimise_field(*channels_of(*pair), IDENTITY, across_contrasts(PLANNED[1:], certainty), coarse)
    found = deform(*pair, IDENTITY, PLANNED, update=fractions.append)
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, deform(fixed, moving, IDENTITY, PLANNED))
    assert fractions == sorted(fractions)
    assert 0.5 < fractions[-1] < 1.0


def test_coarse_levels_compare_averages_and_coarse_images_their_voxels(fixed, moving):
    found = deform(fixed, moving, IDENTITY, COARSE)
    expected = optimise_field(*coarse_channels_of(fixed, moving), IDENTITY, COARSE)
    torch.testing.assert_close(found, expected)
    # A quarter of 4 mm is half of the spacing of images that are averages already.
    pair = fixed.averaged, moving.averaged
    torch.testing.assert_close(deform(*pair, IDENTITY, COARSE), optimise_field(*channels_of(*pair), IDENTITY, COARSE))


def test_nothing_is_certain_of_intensities_before_there_is_a_field(fixed, moving, monkeypatch):
    monkeypatch.delattr("SLSFGRLib.registration.deform.correlation_ratio")
    pair = showing(T1, fixed), showing(T2, moving)
    expected = optimise_across_contrasts(*channels_of(*pair), IDENTITY, across_contrasts(PLANNED[1:2]))
    assert torch.equal(deform(*pair, IDENTITY, PLANNED[1:2]), expected)
