import pytest
import torch

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.segmentation.intensity_model import StructureBrightness
from SLSFGRLib.segmentation.tissue_maps import DISTINCT_WHITE, MAPS, TISSUES, tissue_maps

NAMES = ["background"] + [structure.name for structure in read_label_table()]
FLUID, GREY, WHITE = 0.2, 0.5, 0.8
DISTINCT = MAPS.index(DISTINCT_WHITE)


def brightness(fluid=FLUID, grey=GREY, white=WHITE):
    """Of an image with these tissues, each with a standard deviation of 0.1."""
    mean = torch.full((len(NAMES),), 0.6)
    for word, value in (("entricle", fluid), ("Cerebrospinal", fluid), ("cortex", grey), ("white matter", white)):
        mean[[number for number, name in enumerate(NAMES) if word in name]] = value
    return StructureBrightness(mean, torch.full((len(NAMES),), 0.01))


def folds(shape=(41, 50, 39), fluid=FLUID, grey=GREY, white=WHITE):
    """Slabs of three voxels, one tissue after the other; the last four voxels along the first axis are empty."""
    tissue = (torch.arange(shape[1]) // 3 % 3).view(1, 1, 1, -1, 1).expand(1, 1, *shape)
    image = torch.tensor([fluid, grey, white])[tissue].clone()
    image[:, :, -4:] = 0.0
    return image, tissue


def test_tissues_are_told_softly_by_their_brightness_and_white_matter_distinctly_too():
    image, tissue = folds()
    maps = tissue_maps(image, brightness(), torch.zeros_like(image), 1.0)
    inside = image > 0
    # Three standard deviations from the next: e^-4.5, and e^-1.5 with three times the variance; six: e^-4.5 as well,
    # since no voxel counts as farther than three, and e^-4.5 with three times the variance, since it is nearer there.
    soft = [1.0, 2.718**-1.5, 2.718**-4.5]
    for number, name in enumerate(TISSUES):
        values = maps[:, number : number + 1][inside & (tissue == number)]
        expected = 1.0 / (soft[0] + 2 * soft[1]) if name == "grey matter" else 1.0 / sum(soft)
        torch.testing.assert_close(values, torch.full_like(values, expected), atol=0.01, rtol=0)
    distinct = maps[:, DISTINCT : DISTINCT + 1]
    for number, expected in enumerate([0.011, 0.011, 0.978]):
        values = distinct[inside & (tissue == number)]
        torch.testing.assert_close(values, torch.full_like(values, expected), atol=2e-3, rtol=0)


def test_empty_parts_of_the_image_are_no_tissue():
    image, _ = folds()
    maps = tissue_maps(image, brightness(), torch.zeros_like(image), 1.0)
    assert maps[:, :, -4:].abs().max() == 0
    torch.testing.assert_close(maps[:, :3, :-4].sum(1), torch.ones_like(maps[:, 0, :-4]))


@pytest.mark.parametrize("spacing", [1.0, 1.3, 2.0])
def test_shading_across_the_image_does_not_change_the_maps(spacing):
    shape = (80, 40, 40)
    image, tissue = folds(shape)
    shading = torch.linspace(0.8, 1.2, shape[0]).view(1, 1, -1, 1, 1)
    plain = tissue_maps(image, brightness(), torch.zeros_like(image), spacing)
    shaded = tissue_maps(
        image * torch.where(tissue == 0, torch.ones(()), shading), brightness(), torch.zeros_like(image), spacing
    )
    solid = ((tissue > 0) & (image > 0)).expand_as(plain)
    # White matter at 0.8 of its brightness is nearer to grey matter than to itself.
    assert ((shaded - plain)[solid].abs()).mean() < 0.04
    right = shaded[:, 1:3].argmax(dim=1, keepdim=True) + 1 == tissue
    assert right[(tissue > 0) & (image > 0)].float().mean() > 0.99


def test_maps_are_alike_in_any_contrast():
    t1, _ = folds()
    t2, _ = folds(fluid=0.9, grey=0.6, white=0.3)
    first = tissue_maps(t1, brightness(), torch.zeros_like(t1), 1.0)
    second = tissue_maps(t2, brightness(fluid=0.9, grey=0.6, white=0.3), torch.zeros_like(t2), 1.0)
    torch.testing.assert_close(first, second, atol=0.02, rtol=0)


def test_maps_are_faint_in_deep_structures_and_distinct_white_matter_about_them_too():
    image, _ = folds((41, 60, 39))
    deep = torch.zeros_like(image)
    deep[..., 27:33, :] = 0.75
    without, found = (tissue_maps(image, brightness(), share, 1.0) for share in (torch.zeros_like(image), deep))
    torch.testing.assert_close(found[:, :3], without[:, :3] * (1.0 - deep))
    ratio = (found[:, DISTINCT] / without[:, DISTINCT])[0, 5:30, :, 10:30].mean(dim=(0, 2))
    assert ratio[27:33].max() <= 0.25 + 1e-6
    assert ratio[24:27].max() < 0.3
    assert ratio[:12].min() > 0.99
    assert ratio[48:].min() > 0.99
