"""A picture of what a network makes of a few validation examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...io.label_table import read_label_table
from ...spatial.fields import resize_field, warp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Examples in a picture.
COUNT = 2
# Width and height of a panel, in inches.
PANEL = (1.9, 2.2)

# A row of the picture: volumes (D, H, W) by their titles, either images from 0 to 1 or channels of the label table as
# whole numbers.
Sample = dict[str, torch.Tensor]


def registration_sample(moving: torch.Tensor, fixed: torch.Tensor, field: torch.Tensor) -> Sample:
    """Return the images of a pair and the warped moving image.

    :param moving: (1, 1, D, H, W).
    :param fixed: likewise.
    :param field: (1, 3, d, h, w), on any grid over the same box.
    """
    warped = warp(moving, resize_field(field, fixed.shape[2:]))
    return {"Moving": moving[0, 0], "Warped": warped[0, 0], "Fixed": fixed[0, 0]}


def draw_samples(samples: list[Sample], path: Path) -> None:
    """Write a PNG file with a row of middle coronal slices for each sample; without matplotlib, write nothing."""
    try:
        figure = samples_figure(samples)
    except ModuleNotFoundError:
        return
    figure.savefig(path, dpi=110, facecolor="black")


def samples_figure(samples: list[Sample]) -> Figure:
    """Return the figure of :func:`draw_samples`.

    :raises ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    columns = max(len(sample) for sample in samples)
    figure = Figure((columns * PANEL[0], len(samples) * PANEL[1]), layout="constrained")
    panels = figure.subplots(len(samples), columns, squeeze=False)
    for row, sample in zip(panels, samples, strict=True):
        for axes, (title, volume) in zip(row, sample.items(), strict=False):
            axes.imshow(_coronal_slice(volume), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
            axes.set_title(title, color="white")
        for axes in row:
            axes.set_axis_off()
    return figure


def _coronal_slice(volume: torch.Tensor) -> np.ndarray:
    """Return the middle slice with superior up: intensities (D, W), or the colours of labels (D, W, 3)."""
    # Training images have their array axes towards superior, posterior and left.
    values = volume[:, volume.shape[1] // 2].flip(0).float().cpu().numpy()
    if volume.is_floating_point():
        return values
    colours = [(0, 0, 0)] + [structure.color for structure in read_label_table()]
    return np.array(colours, np.uint8)[values.astype(int)]
