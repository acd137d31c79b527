"""A Lucas-Kanade step: the displacement that aligns two feature maps, solved for rather than learned."""

from __future__ import annotations

import torch
from torch import nn

from ..spatial.fields import pad_axis, smooth

# Standard deviation, in voxels, of the neighbourhood that shares a displacement.
NEIGHBOURHOOD = 1.0
# Initial damping, which is added to the squared gradients of features of length one.
DAMPING = 0.1
# Factor of the learned parameters: a larger learning rate, for they have the largest effect.
SCALE = 10.0


class FlowStep(nn.Module):
    """The displacement that best explains the difference of two feature maps (B. Lucas & T. Kanade, 1981).

    In a neighbourhood of each voxel the sum over all channels of ``(warped + gradient . u - fixed)^2`` is minimal for
    the ``u`` that solves three linear equations. The length of the step, zero at the start, and its damping are
    learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust = nn.Parameter(torch.zeros(()))
        self.caution = nn.Parameter(torch.zeros(()))

    def forward(self, warped: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """Return a (B, 3, D, H, W) velocity in voxels for (B, C, D, H, W) features of length one."""
        # The mean gradient of both images is as good as a second step (efficient second-order minimisation).
        gradients = _gradients(0.5 * (warped + fixed))
        towards = (gradients * (fixed - warped)[:, :, None]).sum(dim=1)
        rows = [(gradients[:, :, axis, None] * gradients[:, :, axis:]).sum(dim=1) for axis in range(3)]
        equations = smooth(torch.cat([*rows, towards], dim=1), NEIGHBOURHOOD)
        displacement = solved(equations, DAMPING * (SCALE * self.caution).exp())
        # Gradients are valid within a voxel only.
        return SCALE * self.trust * displacement.tanh()


def solved(equations: torch.Tensor, damping: torch.Tensor | float) -> torch.Tensor:
    """Solve three linear equations in each voxel.

    ``torch.linalg.solve`` takes many times as long for a matrix in every voxel.

    :param equations: (B, 9, ...), the upper triangle of a symmetric matrix by rows and the right side.
    :param damping: added to the diagonal.
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
    """Return central differences, edges replicated: (B, C, D, H, W) to (B, C, 3, D, H, W); sizes may be 1."""
    differences = []
    for axis in (2, 3, 4):
        padded, size = pad_axis(features, axis, 1, "replicate"), features.shape[axis]
        differences.append(0.5 * (padded.narrow(axis, 2, size) - padded.narrow(axis, 0, size)))
    return torch.stack(differences, dim=2)
