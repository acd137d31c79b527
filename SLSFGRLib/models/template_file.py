"""The file of the population template: numbers and tensors, no code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..io.resources import TEMPLATE, model_path, require_intact
from ..spatial.arrays import array_from_tensor, tensor_from_array

FORMAT = 2
# In a file, probabilities are whole numbers up to this.
PROBABILITY_STEPS = 255


@dataclass(frozen=True, eq=False)
class TemplateFile:
    """What the file of a template holds.

    :param tissues: (1, 3, D, H, W), the probabilities of CSF, GM and WM.
    :param matrix: (4, 4), from voxels to LPS mm.
    :param volumes: of the structures, (K,) in mm3.
    :param centroids: of the structures, (K, 3) in LPS mm.
    :param sha256: of the file; empty before it is written.
    """

    tissues: torch.Tensor
    matrix: np.ndarray
    volumes: np.ndarray
    centroids: np.ndarray
    version: str
    sha256: str = ""

    def description(self) -> dict:
        """Return role, name, version and checksum for a report."""
        return {"role": "template", "name": TEMPLATE, "version": self.version, "sha256": self.sha256}

    def save(self, path: Path) -> None:
        """Write the file."""
        content = {
            "format": FORMAT,
            "version": self.version,
            "tissues": (PROBABILITY_STEPS * self.tissues[0]).round().clamp(0, PROBABILITY_STEPS).byte(),
            "matrix": tensor_from_array(self.matrix),
            "volumes": tensor_from_array(self.volumes),
            "centroids": tensor_from_array(self.centroids),
        }
        torch.save(content, path)


def bundled_template_file() -> TemplateFile | None:
    """Read the bundled template; return None if this installation has none.

    :raises InputError: its file is damaged.
    """
    path = model_path(TEMPLATE)
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> TemplateFile:
    """Read a template; once in a session."""
    sha256 = require_intact(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    tissues = content["tissues"][None].float() / PROBABILITY_STEPS
    matrix, volumes, centroids = (array_from_tensor(content[name]) for name in ("matrix", "volumes", "centroids"))
    return TemplateFile(tissues, matrix, volumes, centroids, content["version"], sha256)
