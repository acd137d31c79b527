import pytest
import torch

from SLSFGRLib.errors import InputError
from SLSFGRLib.losses import GlobalCorrelation
from SLSFGRLib.losses.multiresolution import MultiResolutionObjective
from SLSFGRLib.losses.regularisation import gradient_energy
from SLSFGRLib.spatial.fields import resize_field, smooth, warp

SHAPE = (16, 20, 12)


def pair():
    images = smooth(torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0)), 1.5)
    return images.split(1)


def fields():
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(1, 3, *[size // factor for size in SHAPE], generator=generator) / factor for factor in (4, 2, 1)
    ]


def test_loss_is_the_weighted_sum_over_the_levels():
    moving, fixed = pair()
    expected = 0.0
    for weight, field in zip((0.2, 0.5, 2.0), fields(), strict=True):
        full = resize_field(field, SHAPE)
        expected += weight * (GlobalCorrelation()(warp(moving, full), fixed) + 0.7 * gradient_energy(full))
    terms = MultiResolutionObjective(GlobalCorrelation(), gradient_energy, 0.7, (0.2, 0.5, 2.0))(
        fields(), moving, fixed
    )
    assert float(terms["loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_coarse_field_is_judged_by_the_motion_it_makes_at_full_resolution():
    # 2 voxels of a quarter of the resolution are 8 of the images' own.
    moving, _ = pair()
    coarse = torch.zeros(1, 3, 4, 5, 3)
    coarse[:, 0] = 1.0
    objective = MultiResolutionObjective(GlobalCorrelation(), gradient_energy, 0.0, (1.0,))
    shifted = torch.cat([moving[:, :, 4:], moving[:, :, -1:].expand(-1, -1, 4, -1, -1)], dim=2)
    assert float(objective([coarse], moving, shifted)["loss"]) == pytest.approx(0.0, abs=1e-5)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"similarity 'ssd': .*lncc, ncc"):
        MultiResolutionObjective.from_names("ssd", "tv", 0.5, (1.0, 2.0, 3.0))
    with pytest.raises(InputError, match=r"penalty 'l2': .*tv, gradient"):
        MultiResolutionObjective.from_names("ncc", "l2", 0.5, (1.0, 2.0, 3.0))


def test_one_weight_is_needed_for_each_resolution():
    with pytest.raises(InputError, match=r"level_weights: has 2 numbers; 3 are needed"):
        MultiResolutionObjective.from_names("ncc", "tv", 0.5, (0.5, 1.0))
