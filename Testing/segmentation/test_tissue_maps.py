import pytest
import torch

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.segmentation.intensity_model import IntensityModel
from SLSFGRLib.segmentation.tissue_maps import MAPS, SHARP_WHITE_MATTER, TISSUES, tissue_maps

NAMES = ["background"] + [structure.name for structure in read_label_table()]
CSF, GM, WM = 0.2, 0.5, 0.8
SHARP = MAPS.index(SHARP_WHITE_MATTER)


def intensity_model(csf=CSF, gm=GM, wm=WM):
    """The model of an image with these mean intensities, each with a standard deviation of 0.1."""
    mean = torch.full((len(NAMES),), 0.6)
    for word, value in (("entricle", csf), ("Cerebrospinal", csf), ("cortex", gm), ("white matter", wm)):
        mean[[number for number, name in enumerate(NAMES) if word in name]] = value
    return IntensityModel(mean, torch.full((len(NAMES),), 0.01))


def folds(shape=(41, 50, 39), csf=CSF, gm=GM, wm=WM):
    """Slabs of three voxels, one tissue after the other; the last four voxels along the first axis are empty."""
    tissue = (torch.arange(shape[1]) // 3 % 3).view(1, 1, 1, -1, 1).expand(1, 1, *shape)
    image = torch.tensor([csf, gm, wm])[tissue].clone()
    image[:, :, -4:] = 0.0
    return image, tissue


def test_soft_maps_and_sharp_white_matter_are_the_posteriors_of_the_intensity():
    image, tissue = folds()
    maps = tissue_maps(image, intensity_model(), torch.zeros_like(image), 1.0)
    inside = image > 0
    # Three standard deviations from the next: e^-4.5, and e^-1.5 with three times the variance. Six, or 3.5 with three
    # times the variance: e^-4.5 in both, since the distance is clipped at three.
    soft = [1.0, 2.718**-1.5, 2.718**-4.5]
    for number, name in enumerate(TISSUES):
        values = maps[:, number : number + 1][inside & (tissue == number)]
        expected = 1.0 / (soft[0] + 2 * soft[1]) if name == "gm" else 1.0 / sum(soft)
        torch.testing.assert_close(values, torch.full_like(values, expected), atol=0.01, rtol=0)
    sharp = maps[:, SHARP : SHARP + 1]
    for number, expected in enumerate([0.011, 0.011, 0.978]):
        values = sharp[inside & (tissue == number)]
        torch.testing.assert_close(values, torch.full_like(values, expected), atol=2e-3, rtol=0)


def test_background_is_no_tissue():
    image, _ = folds()
    maps = tissue_maps(image, intensity_model(), torch.zeros_like(image), 1.0)
    assert maps[:, :, -4:].abs().max() == 0
    torch.testing.assert_close(maps[:, :3, :-4].sum(1), torch.ones_like(maps[:, 0, :-4]))


@pytest.mark.parametrize("spacing", [1.0, 1.3, 2.0])
def test_bias_field_does_not_change_the_maps(spacing):
    shape = (80, 40, 40)
    image, tissue = folds(shape)
    bias = torch.linspace(0.8, 1.2, shape[0]).view(1, 1, -1, 1, 1)
    plain = tissue_maps(image, intensity_model(), torch.zeros_like(image), spacing)
    biased = tissue_maps(
        image * torch.where(tissue == 0, torch.ones(()), bias), intensity_model(), torch.zeros_like(image), spacing
    )
    solid = ((tissue > 0) & (image > 0)).expand_as(plain)
    # White matter at 0.8 of its intensity is nearer to grey matter than to itself.
    assert ((biased - plain)[solid].abs()).mean() < 0.04
    right = biased[:, 1:3].argmax(dim=1, keepdim=True) + 1 == tissue
    assert right[(tissue > 0) & (image > 0)].float().mean() > 0.99


def test_maps_are_the_same_in_any_contrast():
    t1, _ = folds()
    t2, _ = folds(csf=0.9, gm=0.6, wm=0.3)
    first = tissue_maps(t1, intensity_model(), torch.zeros_like(t1), 1.0)
    second = tissue_maps(t2, intensity_model(csf=0.9, gm=0.6, wm=0.3), torch.zeros_like(t2), 1.0)
    torch.testing.assert_close(first, second, atol=0.02, rtol=0)


def test_maps_are_faint_in_deep_structures_and_sharp_white_matter_around_them_too():
    image, _ = folds((41, 60, 39))
    deep = torch.zeros_like(image)
    deep[..., 27:33, :] = 0.75
    without, found = (
        tissue_maps(image, intensity_model(), posterior, 1.0) for posterior in (torch.zeros_like(image), deep)
    )
    torch.testing.assert_close(found[:, :3], without[:, :3] * (1.0 - deep))
    ratio = (found[:, SHARP] / without[:, SHARP])[0, 5:30, :, 10:30].mean(dim=(0, 2))
    assert ratio[27:33].max() <= 0.25 + 1e-6
    assert ratio[24:27].max() < 0.3
    assert ratio[:12].min() > 0.99
    assert ratio[48:].min() > 0.99


def test_prior_decides_where_the_intensities_do_not_and_only_there():
    # GM and WM look alike, as in FLAIR; CSF does not.
    image, tissue = folds(csf=0.2, gm=0.8, wm=0.8)
    model, deep = intensity_model(csf=0.2, gm=0.8, wm=0.8), torch.zeros_like(image)
    prior = torch.nn.functional.one_hot(tissue[0, 0], 3).movedim(-1, 0)[None].float()
    inside = (image > 0).expand(1, 3, *image.shape[2:])
    right = [
        tissue_maps(image, model, deep, 1.0, given)[:, :3].argmax(dim=1, keepdim=True) == tissue
        for given in (None, prior)
    ]
    solid = (tissue > 0) & (image > 0)
    assert right[0][solid].float().mean() < 0.6
    assert right[1][solid].all()
    # A wrong prior does not turn CSF into WM.
    wrong = tissue_maps(image, model, deep, 1.0, prior.roll(1, dims=1))[:, :3]
    assert (wrong.argmax(dim=1, keepdim=True) == tissue)[(tissue == 0) & (image > 0)].all()
    equal = torch.full_like(prior, 1.0 / 3.0)
    maps = [tissue_maps(image, model, deep, 1.0, given)[:, :3][inside] for given in (None, equal)]
    torch.testing.assert_close(*maps)
