"""Replace a lesion by the other side of the brain."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import SIDED_CENTRES, SIDED_CHANNELS, symmetric_subject, upright

from SLSFGRLib.io.label_table import mirrored_channels
from SLSFGRLib.registration.other_side import with_other_side
from SLSFGRLib.spatial.fields import downsample


def lesion_at(subject, centre, radius=11.0):
    inside = np.linalg.norm(upright(subject.grid) - centre, axis=-1) < radius
    return torch.from_numpy(inside).float()[None, None]


@pytest.fixture(scope="module")
def healthy():
    return symmetric_subject()


def diseased(subject, lesion):
    """The same subject with an empty place that is not compared."""
    posteriors = subject.segmentation.posteriors.clone()
    hidden = downsample(lesion, 2)
    posteriors *= 1.0 - hidden
    posteriors[:, :1] += hidden
    return replace(
        subject,
        prepared=replace(subject.prepared, tensor=subject.prepared.tensor * (1.0 - lesion)),
        segmentation=replace(subject.segmentation, posteriors=posteriors),
        compared=1.0 - lesion,
        lesion=lesion,
    )


@pytest.mark.parametrize("side", [1, -1])
def test_lesion_shows_the_same_place_of_the_other_side(healthy, side):
    # In it lies a structure of that side.
    lesion = lesion_at(healthy, SIDED_CENTRES[4] * [side, 1, 1])
    found = with_other_side(diseased(healthy, lesion))
    inside = lesion > 0
    truth, error = healthy.prepared.tensor, (found.prepared.tensor - healthy.prepared.tensor).abs()
    assert truth[inside].std() > 0.05
    assert error[inside].mean() < 0.02
    assert not error[~inside].any()
    assert found.compared.min() > 0.99
    inside = downsample(lesion, 2) > 0.99
    one, other = (subject.segmentation.posteriors[0][:, inside[0, 0]] for subject in (healthy, found))
    channel = SIDED_CHANNELS[4] if side > 0 else int(mirrored_channels()[SIDED_CHANNELS[4]])
    assert one[channel].mean() > 0.2
    # The structure's border is sharp, and interpolated here.
    assert (one - other).abs().mean(1).max() < 0.12
    assert other[mirrored_channels()[channel]].max() < 0.01


def test_what_the_lesion_hides_on_both_sides_is_left_as_it_is(healthy):
    lesion = lesion_at(healthy, (6.0, 0.0, 0.0))
    given = diseased(healthy, lesion)
    found = with_other_side(given)
    points = upright(healthy.grid)
    distances = [np.linalg.norm(points - (side * 6.0, 0.0, 0.0), axis=-1) for side in (1, -1)]
    hidden = torch.from_numpy(np.maximum(*distances) < 9.5)
    assert found.compared[0, 0][hidden].max() < 0.05
    torch.testing.assert_close(
        found.prepared.tensor[0, 0][hidden], given.prepared.tensor[0, 0][hidden], atol=0.05, rtol=0
    )
    seen = (lesion[0, 0] > 0) & torch.from_numpy(distances[1] > 13.0)
    assert found.compared[0, 0][seen].min() > 0.95


def test_subject_stays_as_it_is_where_there_is_no_lesion_or_too_little_is_known(healthy):
    assert with_other_side(healthy) is healthy
    given = diseased(healthy, lesion_at(healthy, SIDED_CENTRES[4]))
    unknown = replace(given, segmentation=None)
    assert with_other_side(unknown) is unknown
    structures = replace(given.segmentation.structures, volumes=np.zeros_like(given.segmentation.structures.volumes))
    few = replace(given, segmentation=replace(given.segmentation, structures=structures))
    assert with_other_side(few) is few
