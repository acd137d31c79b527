"""Template-guided registration: average the direct field with the field via a population template.

Two brains are folded in different ways, so that image similarity alone mismatches some sulci. The composition of the
fields from one brain to the template and on to the other brain has other errors; the average of both is a better start
for the fine levels than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..losses.lncc import local_correlation
from ..models.template_file import TemplateFile, bundled_template_file
from ..segmentation.centroids import align_centroids
from ..segmentation.structures import StructureCentroids
from ..segmentation.subject import Subject
from ..segmentation.tissue_maps import TISSUES
from ..spatial.affine import Affine
from ..spatial.arrays import tensor_from_array
from ..spatial.fields import border_ramp, downsample, resize_field, sample, voxel_grid
from ..spatial.grid import Grid
from ..spatial.warping import AffineWarper
from .channels import ChannelImage
from .field_optimisation import Level, optimise_field

# Of the tissue probability maps, in mm.
SPACING = 2.0
WEIGHTS = {"wm": 1.0, "csf": 0.5, "gm": 0.5}
# No finer ones: no two brains have the same small folds.
LEVELS = (
    Level(spacing=8.0, iterations=20, field_sigma=1.0, weights=WEIGHTS),
    Level(spacing=4.0, iterations=20, field_sigma=1.0, weights=WEIGHTS),
)
# Weight of the field via the template, which tapers to zero over this many voxels at the border
# (docs/develop/experiments.md).
WEIGHT, BORDER = 0.5, 2.0
# The least ratio of the LNCC via the template to the direct LNCC. Two healthy brains have about 0.95.
MIN_LNCC_RATIO = 0.9
BRAIN_PROBABILITY = 0.05


@dataclass(frozen=True)
class TissueAtlas:
    """The tissue probability maps and structure centroids of a brain or a template; the same in any contrast.

    :param tissues: (1, 3, D, H, W), CSF, GM and WM at about 2 mm; sizes are multiples of the coarsest level's factor.
    :param compared: (1, 1, D, H, W), 0 where the maps must not be compared, such as in a lesion; None for nowhere.
    """

    tissues: torch.Tensor
    grid: Grid
    structures: StructureCentroids
    compared: torch.Tensor | None = None

    @classmethod
    def from_subject(cls, subject: Subject) -> TissueAtlas:
        """Average the tissue probability maps of a segmented subject to about 2 mm."""
        factor = max(1, round(SPACING / subject.grid.mean_spacing))
        tissues = downsample(subject.tissues[:, : len(TISSUES)], factor)
        compared = None if subject.compared is None else downsample(subject.compared, factor)
        return cls(tissues, subject.grid.coarsened(factor), subject.segmentation.structures, compared=compared)

    @property
    def channels(self) -> ChannelImage:
        """The tissue probability maps as channels to compare."""
        return ChannelImage(self.grid, dict(zip(TISSUES, self.tissues.split(1, dim=1), strict=True)), self.compared)

    def field_to(
        self, other: TissueAtlas, affine: Affine, levels: Sequence[Level] = LEVELS
    ) -> tuple[torch.Tensor, Grid]:
        """Find the field that, followed by an affine transform, takes this brain's points to those of another.

        :returns: (1, 3, d, h, w) in voxels of the grid, which covers the box of this brain's.
        """
        field = optimise_field(self.channels, other.channels, affine, levels)
        return field, self.grid.resized(field.shape[2:])

    def to(self, device: torch.device) -> TissueAtlas:
        """Return the same on another device."""
        compared = None if self.compared is None else self.compared.to(device)
        return replace(self, tissues=self.tissues.to(device), compared=compared)

    def save(self, path: Path, version: str) -> None:
        """Write the atlas to a file."""
        structures = self.structures
        TemplateFile(self.tissues, self.grid.matrix, structures.volumes, structures.centroids, version).save(path)


def guide_by_template(
    field: torch.Tensor,
    fixed: Subject,
    moving: Subject,
    affine: Affine,
    template: TissueAtlas,
    min_ratio: float = MIN_LNCC_RATIO,
) -> torch.Tensor:
    """Average a field with the field via a template, as a start for finer levels.

    The field is returned unchanged if the template does not fit: too few structures are found in both, or the
    similarity via the template is much lower.

    :param field: (1, 3, d, h, w) in its voxels, over the box of the fixed brain.
    :param affine: fixed points to moving points, applied after the field.
    :param min_ratio: of the similarity via the template to that of the field.
    :returns: on a grid of about 4 mm.
    """
    brains = TissueAtlas.from_subject(fixed), TissueAtlas.from_subject(moving)
    return guide_by_atlas(field, *brains, affine, template.to(field.device), min_ratio)


def guide_by_atlas(
    field: torch.Tensor,
    fixed: TissueAtlas,
    moving: TissueAtlas,
    affine: Affine,
    template: TissueAtlas,
    min_ratio: float = MIN_LNCC_RATIO,
) -> torch.Tensor:
    """Average a field with the field via a template; see :func:`guide_by_template`."""
    via_template = _field_via(template, fixed, moving, affine)
    if via_template is None:
        return field
    direct = resize_field(field, via_template.shape[2:])
    if _lncc(via_template, affine, fixed, moving) < min_ratio * _lncc(direct, affine, fixed, moving):
        return field
    # The template has another affine alignment: on the border, where fields are zero, it must not count.
    taper = border_ramp(via_template.shape[2:], BORDER).to(field.device)
    return torch.lerp(direct, via_template, WEIGHT * taper)


def _field_via(template: TissueAtlas, fixed: TissueAtlas, moving: TissueAtlas, affine: Affine) -> torch.Tensor | None:
    """Compose the fields from the fixed brain to the template and on to the moving brain.

    :returns: the field that the affine transform follows; None if a brain cannot be aligned with the template.
    """
    to_template = align_centroids(fixed.structures, template.structures)
    from_template = align_centroids(template.structures, moving.structures)
    if to_template is None or from_template is None:
        return None
    first, grid = fixed.field_to(template, to_template)
    second, template_grid = template.field_to(moving, from_template)
    voxels = voxel_grid(first.shape[2:], first.device)
    middle = _apply(to_template, voxels + first, grid, template_grid)
    back = from_template.then(affine.inverse())
    return _apply(back, middle + sample(second, middle), template_grid, grid) - voxels


def _apply(affine: Affine, voxels: torch.Tensor, source: Grid, destination: Grid) -> torch.Tensor:
    """Transform (1, 3, ...) positions in voxels of one grid to voxels of another."""
    matrix = tensor_from_array(affine.in_voxels(source, destination), voxels.dtype, voxels.device)
    return torch.einsum("rc,bcdhw->brdhw", matrix[:3, :3], voxels) + matrix[:3, 3].view(1, 3, 1, 1, 1)


def _lncc(field: torch.Tensor, affine: Affine, fixed: TissueAtlas, moving: TissueAtlas) -> float:
    """Return the sum over the tissue maps of their mean local correlation in the fixed brain."""
    factor = fixed.tissues.shape[2] // field.shape[2]
    matrix = affine.in_voxels(fixed.grid, moving.grid)
    warped = AffineWarper(moving.tissues, matrix, fixed.tissues.shape[2:], factor)(field)
    target = downsample(fixed.tissues, factor)
    inside = target.sum(dim=1)[0] > BRAIN_PROBABILITY
    pairs = zip(warped.split(1, dim=1), target.split(1, dim=1), strict=True)
    return sum(float(local_correlation(one, other)[0, 0][inside].mean()) for one, other in pairs)


def bundled_template() -> TissueAtlas | None:
    """Return the bundled template; None if this installation has none.

    :raises InputError: its file is damaged.
    """
    file = bundled_template_file()
    if file is None:
        return None
    grid = Grid(tuple(file.tissues.shape[2:]), file.matrix)
    return TissueAtlas(file.tissues, grid, StructureCentroids(file.volumes, file.centroids))
