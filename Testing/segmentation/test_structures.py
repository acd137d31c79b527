"""Volumes and centroids of structures, on boxes whose places are known."""

import numpy as np
import pytest
import torch
from phantoms import DIRECTIONS, empty_image

from SLSFGRLib.segmentation.structures import StructureCentroids
from SLSFGRLib.spatial.grid import grid_of_image

SPACING = (1.5, 2.0, 2.5)


@pytest.fixture(params=["LPS", "oblique left-handed"])
def image(request):
    return empty_image((20, 24, 18), SPACING, DIRECTIONS[request.param], origin=(300.0, -200.0, 1000.0))


def boxes(*slices):
    """Posteriors of one structure for each block of an array, (K, 18, 24, 20)."""
    posteriors = torch.zeros(len(slices), 18, 24, 20)
    for channel, block in enumerate(slices):
        posteriors[(channel, *block)] = 1.0
    return posteriors


def test_centroids_of_boxes_lie_in_their_middles(image):
    posteriors = boxes((slice(2, 5), slice(4, 8), slice(0, 20)), (slice(17, 18), slice(23, 24), slice(19, 20)))
    found = StructureCentroids.from_posteriors(posteriors, grid_of_image(image))
    for centroid, index in zip(found.centroids, [(9.5, 5.5, 3.0), (19.0, 23.0, 17.0)], strict=True):
        expected = image.TransformContinuousIndexToPhysicalPoint(index)
        np.testing.assert_allclose(centroid, expected, atol=1e-3)


def test_volumes_are_in_cubic_millimetres(image):
    found = StructureCentroids.from_posteriors(boxes((slice(2, 5), slice(4, 8), slice(20))), grid_of_image(image))
    np.testing.assert_allclose(found.volumes, [3 * 4 * 20 * np.prod(SPACING)], rtol=1e-6)


def test_voxels_count_by_their_posteriors(image):
    posteriors = torch.zeros(1, 18, 24, 20)
    posteriors[0, 9, 12, 4], posteriors[0, 9, 12, 10] = 0.25, 0.5
    found = StructureCentroids.from_posteriors(posteriors, grid_of_image(image))
    np.testing.assert_allclose(found.volumes, [0.75 * np.prod(SPACING)], rtol=1e-6)
    expected = image.TransformContinuousIndexToPhysicalPoint((8.0, 12.0, 9.0))
    np.testing.assert_allclose(found.centroids[0], expected, atol=1e-3)


def test_absent_structure_has_no_volume_and_a_finite_centroid(image):
    found = StructureCentroids.from_posteriors(torch.zeros(1, 18, 24, 20), grid_of_image(image))
    assert found.volumes.tolist() == [0.0]
    assert np.isfinite(found.centroids).all()
