import pytest
import torch
from phantoms import generator

from SLSFGRLib.spatial.fields import central_differences, smooth, voxel_grid
from SLSFGRLib.synthesis import ultrasound
from SLSFGRLib.synthesis.contrasts import draw_contrast, typical_contrast
from SLSFGRLib.synthesis.settings import Synthesis
from SLSFGRLib.synthesis.tissue_contrasts import classes
from SLSFGRLib.synthesis.ultrasound import simulate_ultrasound

SHAPE = (40, 48, 40)


@pytest.fixture
def plain(monkeypatch):
    """No speckle, no echo, no attenuation and no shadows."""
    for name in ("SPECKLE", "ECHO", "ATTENUATION"):
        monkeypatch.setattr(ultrasound, name, (0.0, 0.0))
    monkeypatch.setattr(ultrasound, "MOST_SHADOWS", 0)
    return monkeypatch


def test_without_its_flaws_the_image_is_that_of_the_echogenicity(plain):
    image = torch.rand(1, 1, *SHAPE, generator=generator())
    torch.testing.assert_close(simulate_ultrasound(image, 4.0, generator()), image)


def test_speckle_has_mean_one_and_the_spread_of_a_rayleigh_distribution(plain):
    plain.setattr(ultrasound, "SPECKLE", (1.0, 1.0))
    values = simulate_ultrasound(torch.ones(1, 1, *SHAPE), 4.0, generator())
    assert float(values.mean()) == pytest.approx(1.0, abs=1e-3)
    # Of Rayleigh's distribution: sqrt(4 / pi - 1) times the mean.
    assert float(values.std()) == pytest.approx(0.523, abs=0.02)
    assert float(values.min()) >= 0.0


def test_intensity_falls_with_the_distance_from_the_probe(plain):
    plain.setattr(ultrasound, "ATTENUATION", (0.5, 0.5))
    image = simulate_ultrasound(torch.ones(1, 1, *SHAPE), 4.0, generator())
    # exp(-0.5 distance / 100 mm), so the distance can be told, and it is one from a single point.
    distance = -200.0 * image.log()
    slope = central_differences(distance)[:, 0].norm(dim=1)[:, 1:-1, 1:-1, 1:-1]
    torch.testing.assert_close(slope.median(), torch.tensor(4.0), atol=0.05, rtol=0)
    middle = float(distance[0, 0, 20, 24, 20])
    assert ultrasound.PROBE_MM[0] - 5 < middle < ultrasound.PROBE_MM[1] + 5


def test_borders_across_the_beam_shine_and_those_along_it_do_not(plain):
    plain.setattr(ultrasound, "ECHO", (1.0, 1.0))
    grid = voxel_grid(SHAPE)
    slabs = [smooth((grid[:, axis : axis + 1] > SHAPE[axis] / 2).float(), 1.0) for axis in range(3)]
    echoes = [float((simulate_ultrasound(slab, 4.0, generator(3)) - slab).sum()) for slab in slabs]
    beam = torch.tensor([abs(float(value)) for value in 2.0 * torch.rand(3, generator=generator(3)) - 1.0])
    assert min(echoes) >= 0.0
    assert int(torch.tensor(echoes).argmax()) == int(beam.argmax())


def test_shadows_darken_a_part_behind_a_depth_and_nothing_else(plain):
    plain.setattr(ultrasound, "MOST_SHADOWS", 3)
    dark = []
    for seed in range(12):
        image = simulate_ultrasound(torch.ones(1, 1, *SHAPE), 4.0, generator(seed))
        assert float(image.min()) > 0.0
        assert float(image.max()) <= 1.0 + 1e-5
        dark.append(float((image < 0.8).float().mean()))
    assert sorted(dark)[0] == 0.0
    assert 0.0 < max(dark) < 0.5


def test_fluid_is_dark_and_choroid_plexus_bright_in_ultrasound():
    values = dict(zip(classes().names, typical_contrast("ultrasound").intensity.tolist(), strict=True))
    assert values["lateral ventricle"] < 0.1 < values["cerebral cortex"] < values["choroid plexus"]


def test_a_share_of_ultrasound_is_drawn_and_without_one_nothing_changes():
    names = [draw_contrast(Synthesis(ultrasound_share=0.5), generator(seed)).name for seed in range(200)]
    # Half as much as all the others together.
    assert 40 < names.count("ultrasound") < 95
    assert "ultrasound" not in {draw_contrast(Synthesis(), generator(seed)).name for seed in range(200)}


def test_contrast_that_is_not_wanted_is_drawn_only_where_there_is_no_other():
    shares = dict.fromkeys(("t2_share", "pd_share", "flair_share", "random_share"), 0.0)
    for seed in range(30):
        assert draw_contrast(Synthesis(), generator(seed), unlike="t1").name != "t1"
        assert draw_contrast(Synthesis(**shares), generator(seed), unlike="t1").name == "t1"
