"""One fixed brain for several registrations in turn."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from fake_models import model_of_balls
from phantoms import balls_image

import SLSFGRLib
from SLSFGRLib import Affine
from SLSFGRLib.registration.fixed_brain import FixedBrain
from SLSFGRLib.registration.regions import Regions


@pytest.fixture
def segmenting(monkeypatch):
    model = model_of_balls()
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.can_segment", lambda: True)
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.default_model", lambda: model)
    monkeypatch.setattr("SLSFGRLib.registration.pipeline.brain_extraction_model", lambda: None)


def test_the_fixed_brain_is_prepared_once_and_gives_the_same_results(segmenting):
    # Balls of 70 % of their size take a third of the time.
    fixed = balls_image(shrinking=1.4)
    movings = [balls_image(Affine.from_parts(np.eye(3), [shift, 0.0, 0.0]), shrinking=1.4) for shift in (3.0, -4.0)]
    brain = FixedBrain()
    first = SLSFGRLib.register(fixed, movings[0], "fast", fixed_brain=brain)
    subject = brain.subject
    assert subject.segmentation is not None
    second = SLSFGRLib.register(fixed, movings[1], "fast", fixed_brain=brain)
    assert brain.subject is subject
    alone = SLSFGRLib.register(fixed, movings[1], "fast")
    assert second.transform.GetParameters() == alone.transform.GetParameters()
    for labels in (first.fixed_labels, second.fixed_labels):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(alone.fixed_labels))


def test_another_image_mask_lesion_or_device_is_prepared_again():
    image = balls_image(spacing=8.0)
    brain = FixedBrain(image, Regions(), torch.device("cpu"), "the subject")
    assert brain.subject_for(image, Regions(), torch.device("cpu")) == "the subject"
    assert brain.subject_for(sitk.Image(image), Regions(), torch.device("cpu")) is None
    assert brain.subject_for(image, Regions(mask=image), torch.device("cpu")) is None
    assert brain.subject_for(image, Regions(lesion=image), torch.device("cpu")) is None
    assert brain.subject_for(image, Regions(), torch.device("cuda")) is None
    assert FixedBrain().subject_for(image, Regions(), torch.device("cpu")) is None
