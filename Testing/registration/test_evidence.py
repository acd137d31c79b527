"""A deformation is kept where the images support it, and nowhere else."""

import numpy as np
import torch
from phantoms import noise, smooth_diffeomorphism, texture

from SLSFGRLib.registration.channels import INTENSITY, ChannelImage
from SLSFGRLib.registration.evidence import gained_information, supported
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.fields import warp
from SLSFGRLib.spatial.grid import Grid

IDENTITY = Affine.identity()
SHAPE = (48, 48, 48)
GRID = Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))
FIELD = smooth_diffeomorphism(SHAPE, 2.0)
MOVING = texture(SHAPE, 1.5)
FIXED = warp(MOVING, FIELD)
# Another brain: nothing in it corresponds.
OTHER = texture(SHAPE, 1.5).flip(2)


def image(values, compared=None):
    return ChannelImage(GRID, {INTENSITY: values}, compared)


def kept_between(fixed, moving):
    """What is kept of the field between two images."""
    return supported(FIELD, gained_information(FIELD, fixed, moving, IDENTITY), fixed)


def lengths(field):
    return field.norm(dim=1)[0]


def test_a_true_deformation_is_kept_whole():
    torch.testing.assert_close(kept_between(image(FIXED), image(MOVING)), FIELD)


def test_of_a_deformation_between_images_that_do_not_correspond_nothing_is_kept():
    kept = kept_between(image(OTHER), image(MOVING))
    assert lengths(kept).mean() < 0.05 * lengths(FIELD).mean()


def test_where_only_one_part_is_supported_the_rest_is_given_up():
    # The lowest quarter is deformed, the rest does not correspond; the gain over the whole head stays below the limit.
    fixed = torch.where(torch.arange(SHAPE[0]).view(-1, 1, 1) < 12, FIXED, OTHER)
    kept = lengths(kept_between(image(fixed), image(MOVING)))
    # The border has no displacement, and so gains nothing.
    assert kept[4:9].sum() > 0.7 * lengths(FIELD)[4:9].sum()
    assert kept[24:].sum() < 0.01 * lengths(FIELD)[24:].sum()


def test_what_is_not_compared_follows_what_lies_around():
    lesion = torch.ones(1, 1, *SHAPE)
    lesion[..., 20:28, 20:28, 20:28] = 0.0
    fixed = torch.where(lesion > 0, FIXED, 0.5 + 0.1 * noise(1, 1, *SHAPE))
    kept = kept_between(image(fixed, lesion), image(MOVING))
    torch.testing.assert_close(kept, FIELD)


def test_the_gain_is_that_of_the_correlation():
    gain = gained_information(FIELD, image(FIXED), image(MOVING), IDENTITY)[0, 0, 12:36, 12:36, 12:36]
    # Without noise, all of the variance is explained with the field: information log(1 / 0.05) = 3.0 at most.
    assert 1.0 < gain.mean() < 3.0
    none = gained_information(torch.zeros_like(FIELD), image(FIXED), image(MOVING), IDENTITY)
    assert not none.any()
