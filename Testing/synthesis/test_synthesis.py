from dataclasses import fields, replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import STORAGES, affine_matrix, generator, numbers_image, rotation_about, stored

from SLSFGRLib.errors import InputError
from SLSFGRLib.io.label_table import mirrored_channels, read_label_table
from SLSFGRLib.spatial.fields import jacobian_determinant, voxel_grid
from SLSFGRLib.synthesis.acquisition import normalise, resample_slices
from SLSFGRLib.synthesis.contrasts import draw_contrast, typical_contrast
from SLSFGRLib.synthesis.deformations import random_points
from SLSFGRLib.synthesis.label_maps import LabelMap, align_label_maps, load_label_maps
from SLSFGRLib.synthesis.poses import Pose, random_pose, residual_pose
from SLSFGRLib.synthesis.samples import Synthesiser, partial_volume_labels, reference
from SLSFGRLib.synthesis.settings import Synthesis
from SLSFGRLib.synthesis.tissue_contrasts import INTENSITY_PROFILES, channel_count, classes

CHANNELS = channel_count()
SHAPE = (32, 48, 32)
SPACING = 4.0
SHARES = {name: 0.0 for name in ("t1_share", "t2_share", "pd_share", "flair_share", "random_share")}
# Nothing happens but the rendering in a typical T1 contrast.
NOTHING = Synthesis(**({item.name: 0.0 for item in fields(Synthesis)} | {"t1_share": 1.0}))
TISSUES = ("cerebral white matter", "cerebral cortex", "lateral ventricle")
LANDMARKS = ("Left thalamus", "Right thalamus", "Brain stem", "Left cerebellar cortex", "Left accumbens")


@pytest.fixture(scope="module")
def numbers():
    return numbers_image()


@pytest.fixture(scope="module")
def label_map(numbers):
    return LabelMap.from_image(numbers)


@pytest.fixture(scope="module")
def plain(label_map):
    return sample(label_map, NOTHING)


def sample(label_map, synthesis, seed=0):
    return Synthesiser(synthesis, SHAPE, SPACING).sample([label_map], generator(seed))


def draw_pair(label_maps, synthesis, seed):
    return Synthesiser(synthesis, SHAPE, SPACING).pair(label_maps, generator(seed))


def points(synthesis, seed, shape=SHAPE, spacing=SPACING):
    random = generator(seed)
    pose = random_pose(synthesis, random)
    return random_points(shape, spacing, synthesis, pose, random, torch.device("cpu"))


def channel(name):
    return next(index for index, item in enumerate(read_label_table(), 1) if item.name == name)


def same(first, second):
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("image", "labels", "anatomy"))


# --- label maps ---------------------------------------------------------------------------------------------


def test_every_class_has_an_intensity_profile_and_a_channel():
    table = classes()
    assert len(table.names) == len(table.channel) == len(table.mirrored_channel)
    assert set(table.names) == INTENSITY_PROFILES.keys()
    assert np.array_equal(table.channel[:CHANNELS], np.arange(CHANNELS))
    assert np.array_equal(table.mirrored_channel, mirrored_channels()[table.channel])
    assert table.of_number.max() == len(table.names) - 1
    assert table.channel[table.of_number[31]] == channel("Left lateral ventricle")
    assert table.names[table.of_number[31]] == "choroid plexus"


@pytest.mark.parametrize("storage", STORAGES[::7])
def test_the_same_map_comes_however_it_was_stored(numbers, label_map, storage):
    again = LabelMap.from_image(stored(numbers, *storage))
    assert torch.equal(again.classes, label_map.classes)
    assert again.centre == pytest.approx(label_map.centre)


def test_the_map_is_cropped_to_the_head_with_air_around(label_map):
    assert label_map.classes.shape == (112 + 4, 148 + 4, 116 + 4)
    for axis in range(3):
        assert not label_map.classes.select(axis, 0).any()
        assert not label_map.classes.select(axis, -1).any()
    assert label_map.centre == pytest.approx([(size - 1) / 2 for size in label_map.classes.shape], abs=1.5)


def test_numbers_without_a_side_get_the_nearer_one(numbers, label_map):
    left = channel("Left cerebral white matter")
    right = channel("Right cerebral white matter")
    callosum = np.isin(sitk.GetArrayFromImage(numbers), [251])
    given = sitk.GetArrayFromImage(numbers) * 0
    given[4:116, 4:152, 4:120] = label_map.classes[2:-2, 2:-2, 2:-2]
    x = np.broadcast_to(np.arange(given.shape[2]) - 61.5, given.shape)
    assert set(given[callosum]) == {left, right}
    assert x[callosum & (given == left)].min() > -2
    assert x[callosum & (given == right)].max() < 2


def test_a_map_without_white_matter_is_refused(numbers):
    with pytest.raises(InputError, match=r"thing: holds no white matter on both sides"):
        LabelMap.from_image(sitk.Cast(sitk.Equal(numbers, 2), sitk.sitkInt32) * 2, "thing")


def test_maps_are_read_once(numbers, tmp_path, label_map, monkeypatch):
    file = tmp_path / "head.nii.gz"
    sitk.WriteImage(numbers, str(file))
    first = load_label_maps([file], tmp_path / "cache")
    monkeypatch.setattr("SLSFGRLib.synthesis.label_maps.read_labels", None)
    second = load_label_maps([file], tmp_path / "cache")
    assert torch.equal(first[0].classes, label_map.classes)
    assert torch.equal(second[0].classes, label_map.classes)
    assert second[0].centre == pytest.approx(label_map.centre)
    with pytest.raises(InputError, match=r"nothing\.nii: there is no such file"):
        load_label_maps([tmp_path / "nothing.nii"], tmp_path / "cache")


def test_two_trainings_may_fill_one_cache_at_the_same_time(numbers, tmp_path, label_map, monkeypatch):
    file, cache = tmp_path / "head.nii.gz", tmp_path / "cache"
    sitk.WriteImage(numbers, str(file))
    write = np.savez_compressed

    def write_while_another_does(stream, **content):
        monkeypatch.setattr(np, "savez_compressed", write)
        load_label_maps([file], cache)
        write(stream, **content)

    monkeypatch.setattr(np, "savez_compressed", write_while_another_does)
    (found,) = load_label_maps([file], cache)
    assert torch.equal(found.classes, label_map.classes)
    assert [path.suffix for path in cache.iterdir()] == [".npz"]


def test_a_cache_is_enough_on_another_machine(numbers, tmp_path, label_map, monkeypatch):
    file = tmp_path / "head.nii.gz"
    sitk.WriteImage(numbers, str(file))
    load_label_maps([file], tmp_path / "cache")
    file.unlink()
    (cached,) = (tmp_path / "cache").iterdir()
    (again,) = load_label_maps([cached], tmp_path / "none")
    assert torch.equal(again.classes, label_map.classes)
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("SLSFGRLib.synthesis.label_maps._classes_digest", lambda: "other")
    with pytest.raises(InputError, match=r"npz: was made for another label table"):
        load_label_maps([cached], tmp_path / "none")
    whole = cached.read_bytes()
    for broken in (b"", b"nothing", whole[: len(whole) // 2]):
        cached.write_bytes(broken)
        with pytest.raises(InputError, match=r"npz: cannot be read as a cached label map"):
            load_label_maps([cached], tmp_path / "none")


# --- shape --------------------------------------------------------------------------------------------------


def test_without_any_change_each_eighth_of_a_voxel_is_the_map_itself(label_map):
    grid = [size // 2 for size in label_map.classes.shape]
    place = points(NOTHING, 0, grid, 2.0)
    middle = tuple((size - 1) / 2 for size in label_map.classes.shape)
    kinds = replace(label_map, centre=middle).sample(place)
    for octant, (k, j, i) in enumerate(np.ndindex(2, 2, 2)):
        assert torch.equal(kinds[octant], label_map.classes[k::2, j::2, i::2])


def test_a_flip_mirrors_the_head_and_swaps_the_sides(label_map, plain):
    flipped = sample(label_map, replace(NOTHING, flip_chance=1.0))
    mirrored = torch.from_numpy(mirrored_channels())[plain.anatomy.flip(3).long()]
    # The last of the three binary digits of an eighth is its place from right to left.
    eighths = [1, 0, 3, 2, 5, 4, 7, 6]
    assert (flipped.anatomy == mirrored[eighths]).float().mean() > 0.98
    left = channel("Left hippocampus")
    for drawn in (plain, flipped):
        where = (drawn.anatomy == left).nonzero()[:, 3].float().mean()
        assert where > SHAPE[2] / 2


def test_shapes_do_not_fold():
    wild = replace(Synthesis(), deformation_mm=12.0)
    for seed in range(12):
        place = points(wild, seed) / SPACING
        assert jacobian_determinant(place - voxel_grid(SHAPE)).min() > 0.15


@pytest.mark.parametrize(
    ("setting", "value", "most"),
    [("shift_mm", 8.0, 8.0 * 3**0.5), ("deformation_mm", 8.0, 8.0), ("scale", 0.1, 14.0), ("shear", 0.1, 25.0)],
)
def test_each_setting_of_the_shape_moves_within_its_limit(setting, value, most):
    still = points(NOTHING, 0)
    moved = [(points(replace(NOTHING, **{setting: value}), seed) - still).norm(dim=1).max().item() for seed in range(8)]
    assert 0.2 * most < max(moved) <= most


def test_rotations_keep_within_their_limits():
    def angles(synthesis):
        for seed in range(20):
            place = points(synthesis, seed, (8, 8, 8))[0]
            linear = torch.stack([place.diff(dim=axis).flatten(1)[:, 0] for axis in (1, 2, 3)], 1) / SPACING
            assert torch.allclose(linear @ linear.T, torch.eye(3), atol=1e-4)
            yield np.degrees(np.arccos(np.clip((float(linear.trace()) - 1) / 2, -1, 1)))

    small = list(angles(replace(NOTHING, rotation_degrees=10.0, large_rotation_degrees=60.0)))
    large = list(
        angles(replace(NOTHING, rotation_degrees=10.0, large_rotation_degrees=60.0, large_rotation_chance=1.0))
    )
    assert 5 < max(small) <= 10 * 3**0.5
    assert 40 < max(large) <= 60 * 3**0.5


# --- pose ---------------------------------------------------------------------------------------------------


def test_a_pose_after_another_does_one_and_then_the_other():
    random = generator(0)
    first, second = (random_pose(Synthesis(), random) for _ in range(2))
    places = 50.0 * torch.randn(1, 3, 2, 3, 4, generator=random)
    torch.testing.assert_close(second.after(first)(places), second(first(places)), atol=1e-3, rtol=0)
    assert (second.after(first)(places) - first.after(second)(places)).abs().max() > 1.0
    quarter = Pose(torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), torch.tensor([1.0, 2.0, 3.0]))
    place = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1, 1)
    assert quarter(place).flatten().tolist() == [-19.0, 12.0, 63.0]


def test_what_an_alignment_leaves_keeps_within_its_limits():
    def drawn(**settings):
        synthesis = replace(NOTHING, **settings)
        return [residual_pose(synthesis, generator(seed)) for seed in range(30)]

    shifts = torch.stack([pose.shift for pose in drawn(pair_shift_mm=2.0)])
    assert 1.5 < shifts.abs().max() <= 2.0
    assert all(torch.equal(pose.linear, torch.eye(3)) for pose in drawn(pair_shift_mm=2.0))
    stretches = torch.stack([pose.linear for pose in drawn(pair_scale=0.03)])
    assert not stretches.tril(-1).any()
    assert 0.02 < (stretches - torch.eye(3)).abs().max() <= 0.03 * 1.03 + 1e-6
    angles = []
    for pose in drawn(pair_rotation_degrees=3.0):
        torch.testing.assert_close(pose.linear @ pose.linear.T, torch.eye(3), atol=1e-5, rtol=0)
        angles.append(np.degrees(np.arccos(min(1.0, (float(pose.linear.double().trace()) - 1) / 2))))
    assert 2.0 < max(angles) <= 3.0 * 3**0.5


def test_two_maps_of_one_head_in_different_poses_come_into_one_frame(label_map):
    turned = affine_matrix(1.05 * rotation_about((1, 2, -1), 15), (4.0, -6.0, 3.0))
    other = LabelMap.from_image(numbers_image((70, 86, 70), 2.0, turned))
    # Turned, so that the places between the map's voxels that are read are not everywhere the same.
    tilted = replace(NOTHING, rotation_degrees=10.0)
    drawn = [sample(each, tilted).anatomy for each in (*align_label_maps([label_map, other]), other)]
    one, brought, alone = (partial_volume_labels(anatomy)[0] for anatomy in drawn)
    places = voxel_grid(SHAPE)[0]
    for number in (one.sum(dim=(1, 2, 3)) > 0).nonzero().flatten()[1:]:
        centres = [
            SPACING * (part[number] * places).sum(dim=(1, 2, 3)) / part[number].sum() for part in (one, brought, alone)
        ]
        assert (centres[1] - centres[0]).norm() < 1.0
    assert (drawn[0] == drawn[1]).float().mean() > 0.97 > (drawn[0] == drawn[2]).float().mean()


def test_images_of_a_pair_are_nearly_aligned_in_any_pose(label_map):
    tilted = replace(NOTHING, rotation_degrees=30.0, shift_mm=10.0, pair_shift_mm=1.0)
    poses, pair_distances = [], []
    for seed in range(4):
        pair = draw_pair([label_map], tilted, seed)
        middles = [
            SPACING * (drawn.anatomy == channel("Left cerebral white matter")).nonzero()[:, 1:].float().mean(0)
            for drawn in (pair.moving, pair.fixed)
        ]
        poses.append(middles[0])
        pair_distances.append(float((middles[0] - middles[1]).norm()))
    assert max(pair_distances) < 2.0 * 3**0.5
    assert max(float((first - poses[0]).norm()) for first in poses) > 8.0


# --- contrast -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        ("t1", ("lateral ventricle", "cerebral cortex", "thalamus", "cerebral white matter")),
        ("t2", ("cerebral white matter", "cerebral cortex", "lateral ventricle")),
        ("pd", ("cerebral white matter", "cerebral cortex")),
        ("flair", ("lateral ventricle", "cerebral white matter", "cerebral cortex", "white matter lesion")),
    ],
)
def test_contrasts_order_the_tissues_as_scanners_do(kind, order):
    synthesis = replace(Synthesis(**SHARES), **{f"{kind}_share": 1.0})
    rows = [classes().names.index(name) for name in order]
    drawn = [draw_contrast(synthesis, generator(seed)) for seed in range(60)]
    assert {contrast.name for contrast in drawn} == {kind}
    typical = typical_contrast(kind).intensity[rows]
    assert (typical.diff() > 0).all()
    mean = torch.stack([contrast.intensity[rows] for contrast in drawn]).mean(0)
    assert (mean.diff() > 0).all()
    assert torch.allclose(mean, typical, atol=0.03)


def test_random_contrasts_reverse_any_order():
    synthesis = replace(Synthesis(**SHARES), random_share=1.0)
    drawn = torch.stack([draw_contrast(synthesis, generator(seed)).intensity for seed in range(80)])
    white, grey, fluid = (drawn[:, classes().names.index(name)] for name in TISSUES)
    for first, second in ((white, grey), (grey, fluid), (white, fluid)):
        assert 0.3 < (first > second).float().mean() < 0.7
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_intensity_in_the_image_is_that_of_the_contrast(plain):
    whole = partial_volume_labels(plain.anatomy)[0]
    values = typical_contrast("t1").intensity
    means = {}
    for name in ("Left cerebral cortex", "Left cerebral white matter", "Left lateral ventricle"):
        means[name] = plain.image[0, 0][whole[channel(name)] == 1].mean().item()
    ratio = means["Left cerebral cortex"] / means["Left cerebral white matter"]
    assert ratio == pytest.approx(float(values[channel("Left cerebral cortex")]), abs=0.01)
    assert means["Left lateral ventricle"] < means["Left cerebral cortex"]


# --- appearance ---------------------------------------------------------------------------------------------


def test_slices_average_over_their_thickness():
    line = torch.zeros(1, 1, 12, 1, 1)
    line[0, 0, 4:8] = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(4, 1, 1)
    sliced = resample_slices(line, 0, 4.0)[0, 0, :, 0, 0]
    # Middles of slices at 1.5, 5.5 and 9.5; the second is the mean 3, and falls to nothing at the others.
    assert sliced[5:7].tolist() == pytest.approx([3 * 0.875, 3 * 0.875])
    assert sliced[3].item() == pytest.approx(3 * 0.375)


def test_scaling_ends_at_nothing_and_one():
    image = torch.rand(1, 1, 20, 20, 20, generator=generator(0)) * 70 + 30
    image[0, 0, 4, 4, 4] = 1e4
    out = normalise(image)
    assert (out.min(), out.max()) == (0, 1)
    assert (out == 1).float().mean() < 0.02
    assert torch.allclose(normalise(5 * image + 3), out, atol=1e-4)
    assert not normalise(torch.zeros(1, 1, 8, 8, 8)).any()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("texture", 1.0),
        ("bias", 0.4),
        ("blur_mm", 6.0),
        ("noise", 0.1),
        ("gamma", 0.4),
        ("contrast_jitter", 0.1),
    ],
)
def test_each_setting_of_the_appearance_changes_the_image_alone(label_map, plain, setting, value):
    changed = sample(label_map, replace(NOTHING, **{setting: value}), seed=4)
    assert torch.equal(changed.anatomy, plain.anatomy)
    assert torch.equal(changed.labels, plain.labels)
    assert (changed.image - plain.image).abs().mean() > 2e-3
    assert changed.image.min() >= 0
    assert changed.image.max() <= 1


def test_a_cut_takes_image_and_labels_away_but_not_the_anatomy(label_map, plain):
    ends = set()
    for seed in range(12):
        drawn = sample(label_map, replace(NOTHING, cut_chance=1.0, cut_mm=70.0), seed)
        assert torch.equal(drawn.anatomy, plain.anatomy)
        gone = (drawn.labels != plain.labels).any(0)
        if not gone.any():
            continue  # only air or skull was cut
        assert not drawn.labels[:, gone].any()
        lower, upper = gone.nonzero().min(0).values, gone.nonzero().max(0).values + 1
        block = drawn.image[0, 0][tuple(slice(*limits) for limits in zip(lower, upper, strict=True))]
        # There is nothing, or the edge of what is left, over and over.
        assert any(not block.diff(dim=axis).any() for axis in range(3))
        ends.add("nothing" if not block.any() else "edge")
    assert ends == {"nothing", "edge"}
    assert torch.equal(sample(label_map, replace(NOTHING, cut_mm=70.0)).labels, plain.labels)


def test_a_stripped_head_is_a_brain(label_map, plain):
    skull = partial_volume_labels(plain.anatomy)[0, 0] * plain.image[0, 0]
    assert skull.max() > 0.5
    fluid = channel("Cerebrospinal fluid")
    left_over = []
    for seed in range(8):
        stripped = sample(label_map, replace(NOTHING, strip_chance=1.0, strip_mm=1.0), seed)
        assert torch.equal(stripped.anatomy, plain.anatomy)
        outside = partial_volume_labels(stripped.anatomy)[0, 0] == 1
        assert stripped.image[0, 0][outside].mean() < 0.05
        inside = stripped.anatomy == channel("Left cerebral white matter")
        assert (stripped.labels[inside] == stripped.anatomy[inside]).float().mean() > 0.98
        left_over.append(int((stripped.labels == fluid).sum()))
    assert max(left_over) > 2 * min(left_over)


# --- samples ------------------------------------------------------------------------------------------------


def test_the_seed_decides_everything(label_map):
    first, again, other = (sample(label_map, Synthesis(), seed) for seed in (3, 3, 4))
    assert same(first, again)
    assert not same(first, other)
    torch.manual_seed(11)
    assert same(sample(label_map, Synthesis(), 3), first)


def test_fractions_sum_to_one_and_count_eighths():
    labels = torch.zeros(8, 2, 2, 2, dtype=torch.uint8)
    labels[:3, 0, 1, 0] = 7
    labels[3, 0, 1, 0] = CHANNELS - 1
    part = partial_volume_labels(labels)
    assert part.shape == (1, CHANNELS, 2, 2, 2)
    assert part.sum(1).eq(1).all()
    assert part[0, [0, 7, CHANNELS - 1], 0, 1, 0].tolist() == [0.5, 0.375, 0.125]


def test_pairs_differ_in_anatomy_or_only_in_shape(label_map):
    grey = replace(
        label_map, classes=torch.where(label_map.classes == channel("Left hippocampus"), 0, label_map.classes)
    )
    hippocampus = channel("Left hippocampus")

    def with_hippocampus(synthesis, seed):
        pair = draw_pair([label_map, grey], synthesis, seed)
        return [bool((drawn.anatomy == hippocampus).any()) for drawn in (pair.moving, pair.fixed)]

    different = [with_hippocampus(NOTHING, seed) for seed in range(6)]
    assert all(first != second for first, second in different)
    equal = [with_hippocampus(replace(NOTHING, same_anatomy_chance=1.0), seed) for seed in range(6)]
    assert all(first == second for first, second in equal)
    assert len({first for first, _ in different}) == len({first for first, _ in equal}) == 2


def test_references_compare_whatever_the_images_look_like(label_map):
    pair = draw_pair([label_map], Synthesis(), 2)
    assert torch.equal(pair.moving_reference, reference(pair.moving.anatomy))
    white = channel("Left cerebral white matter")
    for drawn, clean in ((pair.moving, pair.moving_reference), (pair.fixed, pair.fixed_reference)):
        whole = partial_volume_labels(drawn.anatomy)[0]
        assert clean[0, 0][whole[white] == 1].unique().tolist() == [1.0]
        assert not clean[0, 0][whole[0] == 1].any()


@pytest.mark.shared_data
def test_real_maps_hold_every_structure(shared_data, tmp_path):
    files = sorted((shared_data / "brain_labels").glob("*.nii.gz"))[:1]
    (label_map,) = load_label_maps(files, tmp_path)
    drawn = Synthesiser(NOTHING, (96, 112, 96)).sample([label_map], generator(0))
    volumes = partial_volume_labels(drawn.anatomy).sum(dim=(0, 2, 3, 4)) * 8.0
    assert (volumes[1:] > 100).all()
    mirrored = volumes[torch.from_numpy(mirrored_channels())]
    assert torch.allclose(volumes[1:], mirrored[1:], rtol=0.6)
    # Higher indices lie towards superior, posterior and left.
    place = {name: (drawn.anatomy == channel(name)).nonzero()[:, 1:].float().mean(0) for name in LANDMARKS}
    assert place["Left thalamus"][2] > place["Right thalamus"][2] + 5
    assert place["Brain stem"][0] < place["Left thalamus"][0] - 5
    assert place["Left cerebellar cortex"][1] > place["Left accumbens"][1] + 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_draws_the_same_shapes(label_map):
    there = sample(label_map.to(torch.device("cuda")), Synthesis(), 5)
    here = sample(label_map, Synthesis(), 5)
    assert there.image.device.type == "cuda"
    assert (there.anatomy.cpu() == here.anatomy).float().mean() > 0.999
    assert (there.labels.cpu() == here.labels).float().mean() > 0.999
