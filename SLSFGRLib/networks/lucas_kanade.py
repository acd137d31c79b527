"""A step towards the field that makes two feature maps alike: nothing in it has to learn what features look like."""

from __future__ import annotations

import torch
from torch import nn

from ..spatial.fields import pad_axis, smooth

# What is solved for is the mean displacement of a neighbourhood, in voxels.
NEIGHBOURHOOD = 1.0
# Added to the squared gradients of features of length one, at the start.
DAMPING = 0.1
# The two numbers that a step learns matter more than any other, and should not take hundreds of steps to learn.
SCALE = 10.0


class FlowStep(nn.Module):
    """The displacement that explains the difference between two feature maps best (B. Lucas & T. Kanade, 1981).

    In a neighbourhood of each voxel the sum over all channels of ``(warped + gradient . u - fixed)^2`` is least for the
    ``u`` that solves three linear equations. How far to follow it, zero at the start, and how much to damp it are
    learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust = nn.Parameter(torch.zeros(()))
        self.caution = nn.Parameter(torch.zeros(()))

    def forward(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) features of length one to a (B, 3, D, H, W) velocity in voxels, shorter than their trust."""
        # The mean of both images' gradients: as good as a second step (as in efficient second-order minimisation).
        gradients = _gradients(0.5 * (warped + fixed))
        towards = (gradients * (fixed - warped)[:, :, None]).sum(dim=1)
        rows = [(gradients[:, :, axis, None] * gradients[:, :, axis:]).sum(dim=1) for axis in range(3)]
        equations = smooth(torch.cat([*rows, towards], dim=1), NEIGHBOURHOOD)
        displacement = solved(equations, DAMPING * (SCALE * self.caution).exp())
        # Gradients say nothing of what lies further than a voxel away.
        return SCALE * self.trust * displacement.tanh()


def solved(equations: torch.Tensor, damping: torch.Tensor | float) -> torch.Tensor:
    """Solve three equations in each voxel.

    Written out: ``torch.linalg.solve`` takes many times as long for a matrix in every voxel.

    :param equations: (B, 9, ...), the upper triangle of a symmetric matrix by rows and the right side.
    :param damping: is added to the diagonal.
    :returns: (B, 3, ...).
    """
    a, b, c, d, e, f, x, y, z = equations.unbind(1)
    a, d, f = a + damping, d + damping, f + damping
    aa, ab, ac = d * f - e * e, c * e - b * f, b * e - c * d
    bb, bc, cc = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * aa + b * ab + c * ac
    solution = [aa * x + ab * y + ac * z, ab * x + bb * y + bc * z, ac * x + bc * y + cc * z]
    return torch.stack(solution, dim=1) / determinant[:, None]


def _gradients(features: torch.Tensor) -> torch.Tensor:
    """Central differences with the edges continued, also of a single voxel: (B, C, D, H, W) to (B, C, 3, D, H, W)."""
    differences = []
    for axis in (2, 3, 4):
        padded, size = pad_axis(features, axis, 1, "replicate"), features.shape[axis]
        differences.append(0.5 * (padded.narrow(axis, 2, size) - padded.narrow(axis, 0, size)))
    return torch.stack(differences, dim=2)
