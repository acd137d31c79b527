"""Volumes of the structures in a label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..io.label_table import read_label_table


@dataclass(frozen=True)
class StructureVolume:
    """How large a structure is.

    :param number: in the label map.
    :param volume_mm3: number of its voxels times the volume of one.
    """

    number: int
    name: str
    volume_mm3: float


def volumes(labels: sitk.Image) -> list[StructureVolume]:
    """Return the volume of every structure of the label table in a label map; 0 if it is absent."""
    counts = np.bincount(sitk.GetArrayViewFromImage(labels).ravel().astype(np.int64))
    # In an image that was sheared on its way here, the axes are not at right angles.
    voxel = float(np.prod(labels.GetSpacing())) * abs(float(np.linalg.det(np.reshape(labels.GetDirection(), (3, 3)))))
    return [
        StructureVolume(
            item.number, item.name, float(counts[item.number]) * voxel if item.number < len(counts) else 0.0
        )
        for item in read_label_table()
    ]
