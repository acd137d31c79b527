"""Warp an image by an affine matrix."""

import numpy as np
import torch

from SLSFGRLib.spatial.warping import affinely_warped


def test_voxels_of_the_new_grid_show_those_that_the_matrix_takes_them_to():
    image = torch.rand(1, 2, 8, 9, 10, generator=torch.Generator().manual_seed(0))
    # Every second voxel of the image, from (2, 1, 0) on, with the first two axes exchanged.
    matrix = np.array([[0.0, 2.0, 0.0, 2.0], [2.0, 0.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    found = affinely_warped(image, matrix, (4, 3, 5))
    torch.testing.assert_close(found, image[:, :, 2:8:2, 1:9:2, 0:10:2].transpose(2, 3))
