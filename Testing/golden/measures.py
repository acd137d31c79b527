"""What the golden tests measure."""

import numpy as np
import SimpleITK as sitk

BLOCKS = 8
LATTICE = 8


def brighter_on_the_left(image):
    """A symmetric template whose intensity rises by a quarter for every 100 mm to the left.

    The MNI152 template is exactly symmetric: without this, an exchange of left and right could not be seen.
    """
    x = [image.TransformIndexToPhysicalPoint((i, 0, 0))[0] for i in range(image.GetSize()[0])]
    gain = (1.0 + 0.0025 * np.asarray(x)).astype(np.float32)
    result = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image) * gain)
    result.CopyInformation(image)
    return result


def block_means(array):
    """Return the means of 8 x 8 x 8 blocks that cover an array, (8, 8, 8)."""
    for axis in range(3):
        parts = np.array_split(array.astype(np.float64), BLOCKS, axis)
        array = np.stack([part.mean(axis) for part in parts], axis)
    return array


def brain_points(labels):
    """Return points on a regular lattice within the labelled voxels, (N, 3), LPS mm."""
    inside = np.argwhere(sitk.GetArrayViewFromImage(labels) > 0)
    chosen = inside[(inside % LATTICE == 0).all(axis=1)]
    return np.array([labels.TransformIndexToPhysicalPoint(voxel[::-1].tolist()) for voxel in chosen])


def mapped(transform, points):
    """Return where a SimpleITK transform takes points, (N, 3), LPS mm."""
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def dice(first, second):
    """Return twice the overlap of two masks over the sum of their sizes."""
    return 2.0 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


# FreeSurfer's numbers: cortex of cerebrum and cerebellum with the deep nuclei; white matter of both.
GREY_MATTER = (3, 8, 10, 11, 12, 17, 18, 26, 42, 47, 49, 50, 51, 53, 54, 58)
WHITE_MATTER = (2, 7, 41, 46)


def tissue_dice(labels, tissues):
    """Return the Dice of grey and of white matter of a label map.

    :param tissues: label map on the same grid: 1 cerebrospinal fluid, 2 grey matter, 3 white matter.
    """
    found, expected = (sitk.GetArrayViewFromImage(image) for image in (labels, tissues))
    return tuple(
        dice(np.isin(found, numbers), expected == tissue) for tissue, numbers in ((2, GREY_MATTER), (3, WHITE_MATTER))
    )
