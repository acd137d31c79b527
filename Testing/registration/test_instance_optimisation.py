"""Instance optimisation: a network trained on the pair that it registers."""

import pytest
import torch

from SLSFGRLib.losses.multiresolution import MultiResolutionObjective
from SLSFGRLib.networks import LiFanNetwork
from SLSFGRLib.registration.instance_optimisation import PATIENCE, InstanceOptimisation, optimise_network
from SLSFGRLib.spatial.fields import integrate, smooth, warp

SHAPE = (20, 24, 28)
OBJECTIVE = MultiResolutionObjective.from_names("ncc", "gradient", 0.1, (0.3, 0.6, 1.0))


def smooth_noise(seed, sigma):
    """Return three channels of smooth noise with values up to 1, cut out of a larger block."""
    larger = [size + 32 for size in SHAPE]
    volume = smooth(torch.randn(1, 3, *larger, generator=torch.Generator().manual_seed(seed)), sigma)
    volume = volume[:, :, 16:-16, 16:-16, 16:-16]
    return volume / volume.abs().max()


@pytest.fixture(scope="module")
def pair():
    """Moving and fixed image, and the smooth field between them."""
    moving = 0.5 + 0.5 * smooth_noise(0, 2.0)[:, :1]
    field = integrate(2.5 * smooth_noise(1, 4.0))
    return moving, warp(moving, field), field


def network_named(name):
    torch.manual_seed(0)
    if name == "li_fan":
        return LiFanNetwork((8, 12, 16)), InstanceOptimisation(steps=60, learning_rate=5e-3)
    return FreeFields(), InstanceOptimisation(steps=50, learning_rate=0.1)


@pytest.mark.parametrize("name", ["li_fan", "free_fields"])
def test_known_smooth_warp_is_mostly_recovered(pair, name):
    moving, fixed, truth = pair
    network, settings = network_named(name)
    found, losses = optimise_network(network, moving, fixed, OBJECTIVE, settings)
    dissimilarity = OBJECTIVE.similarity
    before, after = float(dissimilarity(moving, fixed)), float(dissimilarity(warp(moving, found), fixed))
    assert after < 0.1 * before
    assert (found - truth).norm(dim=1).mean() < 0.5 * truth.norm(dim=1).mean()
    assert min(losses) < 0.1 * losses[0]


class FreeFields(torch.nn.Module):
    """No network: the velocities of the fields themselves are the parameters."""

    def __init__(self):
        super().__init__()
        shapes = [[size // factor for size in SHAPE] for factor in (4, 2, 1)]
        self.velocities = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(1, 3, *shape)) for shape in shapes)

    def forward(self, moving, fixed):
        return [integrate(smooth(velocity, 1.0)) for velocity in self.velocities]


class Scripted(torch.nn.Module):
    """A network whose field is 1, 2, 3, ... everywhere: the number of the step."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.step = 0

    def forward(self, moving, fixed):
        self.step += 1
        return [torch.full((1, 3, *SHAPE), float(self.step)) + 0.0 * self.unused]


def scripted_objective(losses):
    """Return an objective that takes the loss of each step from a list."""

    def objective(fields, moving, fixed):
        step = fields[0].flatten()[0]
        return {"loss": 0.0 * step + losses[round(step.item()) - 1]}

    return objective


def test_field_of_the_best_step_is_returned(pair):
    losses = [5.0, 4.0, 1.0, 3.0, 2.0]
    found, recorded = optimise_network(Scripted(), *pair[:2], scripted_objective(losses), InstanceOptimisation(steps=5))
    assert recorded == losses
    assert found.unique().tolist() == [3.0]


def test_optimisation_stops_when_the_loss_has_settled(pair):
    losses = [1.0 / (1 + step) for step in range(10)] + [0.1] * 190
    _, recorded = optimise_network(
        Scripted(), *pair[:2], scripted_objective(losses), InstanceOptimisation(steps=200, tolerance=1e-3)
    )
    assert len(recorded) == 9 + 2 * PATIENCE  # the last loss that was lower is the tenth


def test_optimisation_goes_on_while_the_loss_falls(pair):
    losses = [0.99**step for step in range(100)]
    _, recorded = optimise_network(
        Scripted(), *pair[:2], scripted_objective(losses), InstanceOptimisation(steps=100, tolerance=1e-3)
    )
    assert len(recorded) == 100


def test_coarse_finest_field_is_returned_in_the_images_voxels(pair):
    class Half(Scripted):
        def forward(self, moving, fixed):
            return [torch.ones(1, 3, *[size // 2 for size in SHAPE]) + 0.0 * self.unused]

    found, _ = optimise_network(
        Half(), *pair[:2], lambda *_: {"loss": torch.ones((), requires_grad=True)}, InstanceOptimisation(1)
    )
    torch.testing.assert_close(found, torch.full((1, 3, *SHAPE), 2.0))


def test_progress_is_reported_and_may_stop_the_work(pair):
    fractions = []

    def update(fraction):
        fractions.append(fraction)
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimise_network(FreeFields(), *pair[:2], OBJECTIVE, InstanceOptimisation(steps=4), update)
    assert fractions == [0.0, 0.25, 0.5, 0.75]


def test_optimisation_works_inside_no_grad(pair):
    with torch.no_grad():
        _, losses = optimise_network(
            FreeFields(), *pair[:2], OBJECTIVE, InstanceOptimisation(steps=5, learning_rate=0.1)
        )
    assert losses[-1] < 0.95 * losses[0]
