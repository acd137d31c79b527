"""What a report's notes say about a doubtful result."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import balls_image, empty_image

from SLSFGRLib.preprocessing import BrainMask
from SLSFGRLib.registration.doubts import doubts, share_in_view
from SLSFGRLib.registration.result import RegistrationResult
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.grid import grid_of_image
from SLSFGRLib.spatial.resampling import resample_image

GOOD = {
    "folding_percent": 0.0,
    "similarity_before": 0.5,
    "similarity_after": 0.7,
    "dice_before": 0.1,
    "dice_after": 0.8,
}
IDENTITY = Affine.identity().to_itk()


def with_brain(image):
    """A subject whose brain is a cube of 96 mm around the middle of the space."""
    grid = grid_of_image(image)
    points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    return replace(Subject.from_image(image), brain=BrainMask((np.abs(points) <= 48.0).all(axis=-1), grid))


@pytest.fixture(scope="module")
def head():
    return with_brain(balls_image(spacing=2.0))


def said(fixed, moving, transform=IDENTITY, **figures):
    return doubts(fixed, moving, RegistrationResult(None, transform, transform.GetInverse(), report=GOOD | figures))


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, []),
        ({"dice_before": None, "dice_after": None}, []),
        ({"folding_percent": 0.25}, ["In 0.2 % of the brain the deformation is folded"]),
        (
            {"dice_before": 0.62, "dice_after": 0.41},
            ["less than before the registration (Dice 0.62 before, 0.41"],
        ),
        ({"dice_after": 0.41}, ["overlap little (Dice 0.41)"]),
        ({"similarity_after": 0.45}, ["less alike after the registration than before"]),
    ],
)
def test_what_the_figures_show_is_said_in_words(head, figures, words):
    found = said(head, head, **figures)
    assert len(found) == len(words)
    assert all(part in sentence for part, sentence in zip(words, found, strict=True))


def test_a_slab_that_shows_little_of_the_brain_is_said(head):
    slab = empty_image((64, 64, 15), spacing=(2.0, 2.0, 2.0), centre=(0.0, 0.0, 0.0))
    slab = with_brain(resample_image(head.image, slab, IDENTITY))
    (sentence,) = said(head, slab)
    # 30 of 96 mm, sampled at voxels.
    share = float(sentence.split("Only ")[1].split(" %")[0])
    assert share == pytest.approx(31.0, abs=3.0)
    assert "of the brain in the fixed image lies in the field of view of the moving image" in sentence
    (sentence,) = said(slab, head)
    assert "of the brain in the moving image lies in the field of view of the fixed image" in sentence


def test_the_share_of_the_brain_in_view_follows_the_transform(head):
    assert share_in_view(head, head.image, IDENTITY) == 1.0
    # The image ends 64 mm from the middle, the brain 48 mm: 80 mm on, a third of the brain is left in view.
    shift = Affine.from_parts(np.eye(3), (80.0, 0.0, 0.0)).to_itk()
    assert share_in_view(head, head.image, shift) == pytest.approx(1.0 / 3.0, abs=0.04)
