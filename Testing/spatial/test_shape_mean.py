"""The running mean in intensity and shape."""

import torch
from phantoms import smooth_field, texture

from SLSFGRLib.spatial.fields import compose, invert, warp
from SLSFGRLib.spatial.shape_mean import ShapeMean

SHAPE = (32, 36, 30)


def test_the_mean_of_images_that_were_deformed_by_opposite_fields_is_the_image():
    image = texture(SHAPE, 3.0)
    offset, own = smooth_field(3.0, SHAPE, seed=1), smooth_field(2.0, SHAPE, seed=2)
    mean = ShapeMean()
    for sign in (1.0, -1.0):
        # In a space that is not the mean one, every field has the same offset.
        mean.add(warp(image, offset), compose(sign * own, offset))
    assert mean.count == 2
    found, to_common = mean.centred()
    # It is interpolated twice.
    inside = (..., slice(6, -6), slice(6, -6), slice(6, -6))
    assert (found - image)[inside].abs().mean() < 0.25 * (warp(image, offset) - image)[inside].abs().mean()
    assert (to_common - invert(mean.field)[0]).abs().max() == 0.0


def test_the_mean_field_is_gone_from_the_fields_that_it_is_taken_out_of():
    fields = [smooth_field(4.0, SHAPE, seed=seed) for seed in range(3)]
    mean = ShapeMean()
    for field in fields:
        mean.add(torch.zeros(1, 1, *SHAPE), field)
    _, to_common = mean.centred()
    left = sum(compose(field, to_common) for field in fields) / len(fields)
    assert mean.field.abs().max() > 1.0
    assert left.norm(dim=1).max() < 0.02
