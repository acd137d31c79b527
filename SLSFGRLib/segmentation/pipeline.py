"""Segment one image: from an image of any contrast to a label map on its own grid."""

from __future__ import annotations

import SimpleITK as sitk
import torch

from ..errors import InputError
from ..models.loading import brain_network, default_model
from ..models.model import Model
from ..runtime.devices import choose_device, with_cpu_fallback
from ..runtime.progress import Progress, ProgressCallback
from .label_map import label_map
from .subject import Subject


def segment(
    image: sitk.Image,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    *,
    model: Model | None = None,
) -> sitk.Image:
    """Segment a brain image of any contrast, with or without the skull.

    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param progress: called with the fraction done and a sentence; it may raise to stop the run.
    :param model: a trained SL-SFGR model; by default the bundled one.
    :returns: label map on the image's own grid, unsigned 16-bit, numbered as in ``Resources/labels.csv``.
    :raises InputError: the image cannot be used, or there is no model, or memory is too small.
    """
    model = model or default_model()
    return with_cpu_fallback(device, lambda where, notes: _segment_on(where, image, model, progress))


def _segment_on(device: torch.device, image: sitk.Image, model: Model, progress: ProgressCallback | None) -> sitk.Image:
    """Segment on one device."""
    stages = Progress(progress, {"Preparing the image": 1.0, "Segmenting": 4.0, "Writing into the image's space": 2.0})
    stages.begin("Preparing the image")
    finder = brain_network(device)
    subject = Subject.from_image(image, "the image", device, finder)
    if finder is not None and subject.brain is None:
        raise InputError("no brain was found in the image; give an image of a head.")
    stages.begin("Segmenting")
    subject = subject.segmented(model.segmenter(device))
    stages.begin("Writing into the image's space")
    labels = label_map(subject, stages.update)
    stages.finish()
    return labels


def load_subject(image: sitk.Image, device: str = "cpu", *, model: Model | None = None) -> Subject:
    """Prepare and segment one brain for the stages of a registration.

    :param model: a trained SL-SFGR model; by default the bundled one.
    :raises InputError: the image cannot be used, or there is no model.
    """
    where = choose_device(device)
    subject = Subject.from_image(image, "the image", where, brain_network(where))
    return subject.segmented((model or default_model()).segmenter(where))
