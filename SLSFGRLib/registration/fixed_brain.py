"""The fixed brain of several registrations in turn: prepared, segmented and labelled once."""

from __future__ import annotations

from dataclasses import dataclass

import SimpleITK as sitk
import torch

from ..segmentation.subject import Subject
from .regions import Regions


@dataclass
class FixedBrain:
    """What a registration leaves for the next one to the same fixed image.

    :param image, regions, device: that of the last registration; others do not fit.
    :param subject: prepared, and segmented if there is a segmentation network.
    :param labels: its label map; None if none was made.
    """

    image: sitk.Image | None = None
    regions: Regions | None = None
    device: torch.device | None = None
    subject: Subject | None = None
    labels: sitk.Image | None = None

    def subject_for(self, image: sitk.Image, regions: Regions, device: torch.device) -> Subject | None:
        """Return the subject if it is of the same image, masks and lesions; these are compared as objects."""
        is_same = (
            image is self.image
            and self.regions is not None
            and regions.mask is self.regions.mask
            and regions.lesion is self.regions.lesion
            and device == self.device
        )
        return self.subject if is_same else None

    def keep(
        self, image: sitk.Image, regions: Regions, device: torch.device, subject: Subject, labels: sitk.Image | None
    ) -> None:
        """Leave a subject for the next registration."""
        self.image, self.regions, self.device = image, regions, device
        self.subject, self.labels = subject, labels
