"""The mean of affine transforms in size and shape, and the same transforms without it.

An affine transform first stretches space along three axes, then turns it. Scanners give heads any position and
direction, so only the stretches have a mean that says something about the heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .affine import Affine

# The mean is found when the logarithms of what remains are smaller than this on average.
TOLERANCE = 1e-12
ITERATIONS = 100


def mean_stretch(affines: Sequence[Affine]) -> np.ndarray:
    """Return the mean of the stretches of some transforms from one space, a symmetric 3x3 matrix.

    The square of a stretch is the metric that a transform pulls back, ``linear.T @ linear``. The mean is that of these
    metrics under the affine-invariant distance: X. Pennec, P. Fillard & N. Ayache: A Riemannian framework for tensor
    computing. IJCV 66, 2006.
    """
    metrics = np.array([affine.linear.T @ affine.linear for affine in affines])
    mean = metrics.mean(axis=0)
    for _ in range(ITERATIONS):
        root = _of_eigenvalues(np.sqrt, mean)
        inverse = np.linalg.inv(root)
        step = np.mean([_of_eigenvalues(np.log, inverse @ metric @ inverse) for metric in metrics], axis=0)
        mean = root @ _of_eigenvalues(np.exp, step) @ root
        if np.linalg.norm(step) < TOLERANCE:
            break
    return _of_eigenvalues(np.sqrt, mean)


def mean_log_stretch(affines: Sequence[Affine]) -> np.ndarray:
    """Return the mean of the logarithms of the stretches of some transforms from one space, 3x3."""
    logs = [_of_eigenvalues(np.log, affine.linear.T @ affine.linear) for affine in affines]
    return 0.5 * np.mean(logs, axis=0)


def without_mean_stretch(affines: Sequence[Affine], centre: np.ndarray) -> tuple[list[Affine], Affine]:
    """Return transforms to the same points from a space of the mean size and shape.

    The mean of the logarithms of their stretches is zero.

    :param centre: the point in mm that has the same coordinates in both spaces.
    :returns: the transforms, and the one from the new space to the old one.
    """
    to_old = Affine.about(np.linalg.inv(mean_stretch(affines)), centre, centre)
    return [to_old.then(affine) for affine in affines], to_old


def _of_eigenvalues(function: Callable[[np.ndarray], np.ndarray], matrix: np.ndarray) -> np.ndarray:
    """Apply a function to the eigenvalues of a symmetric matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2.0)
    return (vectors * function(values)) @ vectors.T
