"""A picture of what a network makes of a few examples that it has never learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...io.label_table import read_label_table
from ...report.canvas import grey, png_bytes, text_width, write_text
from ...spatial.fields import resize_field, warp

# Examples in a picture.
COUNT = 2
# Of a panel, in pixels for each voxel; between panels; and above each for its title.
SCALE, GAP, BAND, TITLE_TOP = 3, 8, 24, 8

# A row of the picture: volumes of one shape by their titles, images (D, H, W) from 0 to 1 or channels of the label
# table as whole numbers.
Sample = dict[str, torch.Tensor]


def registration_sample(moving: torch.Tensor, fixed: torch.Tensor, field: torch.Tensor) -> Sample:
    """The images of a pair, and the moving one under the field.

    :param moving: (1, 1, D, H, W); likewise the fixed one.
    :param field: (1, 3, d, h, w), on any grid over the same box.
    """
    warped = warp(moving, resize_field(field, fixed.shape[2:]))
    return {"MOVING": moving[0, 0], "AFTER": warped[0, 0], "FIXED": fixed[0, 0]}


def draw_samples(samples: list[Sample], path: Path) -> None:
    """Write a PNG file: a row for each sample, cut in the middle from left to right."""
    rows = [_row(sample) for sample in samples]
    width = max(row.shape[1] for row in rows)
    # The images of two cases may differ in size.
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    path.write_bytes(png_bytes(np.concatenate(rows)))


def _row(sample: Sample) -> np.ndarray:
    panels = [_panel(title, volume) for title, volume in sample.items()]
    space = np.zeros((panels[0].shape[0], GAP, 3), np.uint8)
    return np.concatenate([part for panel in panels for part in (space, panel)] + [space], axis=1)


def _panel(title: str, volume: torch.Tensor) -> np.ndarray:
    # Training images have their array axes towards superior, posterior and left: front to back is cut, top is up.
    values = volume[:, volume.shape[1] // 2].flip(0).float().cpu().numpy()
    picture = grey(values) if volume.is_floating_point() else _colours()[values.astype(int)]
    picture = picture.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    panel = np.concatenate([np.zeros((BAND, picture.shape[1], 3), np.uint8), picture])
    write_text(panel, title, TITLE_TOP, max(0, (panel.shape[1] - text_width(title, 10)) // 2))
    return panel


def _colours() -> np.ndarray:
    """Of each channel of the label table, (K, 3)."""
    return np.array([(0, 0, 0)] + [structure.color for structure in read_label_table()], np.uint8)
