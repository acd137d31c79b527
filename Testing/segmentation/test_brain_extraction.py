import numpy as np
import pytest
import torch

from SLSFGRLib.networks.brain_extraction import CLASSES
from SLSFGRLib.preprocessing import PreparedImage
from SLSFGRLib.segmentation.brain_extraction import CSF_REACH_MM, MIN_VOLUME_ML, REACH_MM, brain_and_csf, find_brain
from SLSFGRLib.spatial.grid import Grid, voxel_positions

BRAIN, CSF, OTHER = 0.9, 0.5, 0.2
MUSCLE = 0.7
RADIUS = 50.0


class ByIntensity(torch.nn.Module):
    """A stand-in for the network that tells the classes apart by intensity."""

    size_multiple = 32

    def forward(self, image):
        assert all(size % self.size_multiple == 0 and size <= 160 for size in image.shape[2:])
        return -torch.cat([(image - value).abs() for value in (OTHER / 2, CSF, BRAIN)], dim=1)


class ByNeck(ByIntensity):
    """A stand-in that takes some tissue for brain where it sees a neck, too."""

    def __init__(self, tissue):
        super().__init__()
        self.tissue = tissue

    def forward(self, image):
        sees_neck = ((image - OTHER).abs() < 0.05).float().mean() > 0.2
        is_tissue = (image - self.tissue).abs() < 0.02
        return super().forward(torch.where(is_tissue, BRAIN if sees_neck else OTHER, image))


def image_of(shape, centre=(0.0, 0.0, 0.0), radius=RADIUS):
    """A ball of brain in a shell of CSF, and a smaller ball far from it."""
    grid = Grid.upright(shape, 2.0, centre=(0.0, 0.0, 0.0))
    positions = voxel_positions(grid)
    distance = np.linalg.norm(positions - centre, axis=-1)
    values = np.full(grid.shape, OTHER, np.float32)
    values[distance < radius + 4] = CSF
    values[distance < radius] = BRAIN
    values[np.linalg.norm(positions - np.add(centre, (0, radius + 18, 0)), axis=-1) < 8] = BRAIN
    return PreparedImage(torch.from_numpy(values)[None, None], grid), distance


@pytest.mark.parametrize(
    ("shape", "centre"), [((90, 100, 80), (0, 0, 0)), ((80, 90, 81), (10, -8, 6)), ((420, 90, 80), (4, 2, -250))]
)
def test_brain_is_found_with_the_csf_around_it(shape, centre):
    # The last field of view is longer than any that the network was trained on.
    image, distance = image_of(shape, centre)
    found = find_brain(image, ByIntensity())
    assert found.grid == image.grid
    np.testing.assert_array_equal(found.inside, distance < RADIUS + 4)


def test_image_of_the_brain_alone_has_no_skull():
    image, distance = image_of((90, 100, 80))
    image.tensor[0, 0][torch.from_numpy(distance >= RADIUS + 4)] = 0.0
    assert not find_brain(image, ByIntensity()).has_skull


def test_no_brain_is_found_where_hardly_any_voxel_looks_like_it():
    radius = 0.9 * (MIN_VOLUME_ML * 1000 * 3 / 4 / np.pi) ** (1 / 3) - 4
    assert find_brain(image_of((80, 80, 80), radius=radius)[0], ByIntensity()) is None
    assert find_brain(image_of((80, 80, 80), radius=-9.0)[0], ByIntensity()) is None


def test_no_brain_is_found_where_most_of_it_would_be_air():
    class Everywhere(ByIntensity):
        def forward(self, image):
            return torch.cat([torch.zeros_like(image), torch.zeros_like(image), torch.ones_like(image)], dim=1)

    random = np.random.default_rng(0).random((64, 70, 60)).astype(np.float32)
    for seen, is_brain in ((0.4, False), (0.6, True)):
        values = torch.from_numpy(np.where(random < seen, 0.5, 0.0).astype(np.float32))
        image = PreparedImage(values[None, None], Grid.upright((64, 70, 60), 2.0, centre=(0.0, 0.0, 0.0)))
        assert (find_brain(image, Everywhere()) is not None) == is_brain


def image_with_muscle():
    """A ball of brain that touches a muscle, in a head with air around it."""
    image, distance = image_of((100, 100, 100))
    image.tensor[..., :8] = 0.0
    positions = voxel_positions(image.grid)
    muscle = (np.linalg.norm(positions - [RADIUS + 14, 0, 0], axis=-1) < 16) & (distance >= RADIUS)
    image.tensor[0, 0][torch.from_numpy(muscle)] = MUSCLE
    return image, distance, muscle


def test_muscle_that_looked_like_brain_is_left_out_by_a_further_pass():
    image, distance, muscle = image_with_muscle()
    network = ByNeck(MUSCLE)
    first = brain_and_csf(network(image.tensor[..., :96, :96, :96]).argmax(1)[0].numpy(), image.grid)
    assert first[muscle[:96, :96, :96]].all()
    brain = find_brain(image, network)
    assert brain.has_skull
    found = brain.inside
    assert found[distance < RADIUS].all()
    # The brain's own border stays as it was found, REACH_MM around what is found again.
    assert distance[found].max() < RADIUS + 4 + REACH_MM
    assert not found[muscle & (distance > RADIUS + 4 + REACH_MM)].any()


def test_a_further_pass_that_loses_the_brain_does_not_count():
    image, distance, _ = image_with_muscle()
    found = find_brain(image, ByNeck(BRAIN)).inside
    assert found[distance < RADIUS].all()


def test_holes_are_filled_and_csf_far_from_the_brain_is_left_out():
    classes = np.zeros((30, 30, 50), np.uint8)
    classes[5:25, 5:25, 5:25] = CLASSES.index("brain")
    classes[14:16, 14:16, 14:16] = CLASSES.index("outside")
    classes[10:20, 10:20, 25:45] = CLASSES.index("csf")
    inside = brain_and_csf(classes, Grid.upright(classes.shape, 2.0))
    assert inside[5:25, 5:25, 5:25].all()
    assert inside[15, 15].sum() == 20 + int(CSF_REACH_MM / 2.0) - 1
