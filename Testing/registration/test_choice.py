"""One head or two people: what the images show, what the user has chosen, and what is said about both."""

import numpy as np
import pytest
from phantoms import OTHER_HEAD, POSE, balls_image, balls_subject, rotation_about

from SLSFGRLib.registration import rigid
from SLSFGRLib.registration.change import Change
from SLSFGRLib.registration.choice import choose
from SLSFGRLib.registration.one_head import MirrorComparison
from SLSFGRLib.segmentation.subject import Subject
from SLSFGRLib.spatial.affine import Affine

# Too far from the headers' pose to be found from there.
FAR = Affine.from_parts(rotation_about((1, 2, -1), 100.0), (6.0, -9.0, 4.0))


@pytest.fixture(scope="module")
def fixed():
    return balls_subject()


@pytest.fixture(scope="module")
def same():
    return balls_subject(POSE)


@pytest.fixture(scope="module")
def different():
    return balls_subject(OTHER_HEAD)


def find(monkeypatch, first, exact):
    """Let the comparison with the mirror image find this in a rough pose, and that in an exact one."""
    for compare, found in (("compare_with_mirror_image", first), ("compare_exactly", exact)):
        monkeypatch.setattr(f"SLSFGRLib.registration.choice.{compare}", lambda *arguments, found=found: found)


@pytest.mark.parametrize(
    ("moving", "wanted", "transform", "reason", "warning"),
    [
        ("same", "auto", "rigid", "one head", ""),
        ("different", "auto", "deformable", "two people", ""),
        ("same", "rigid", "rigid", "you chose", ""),
        ("same", "deformable", "deformable", "you chose", "one head"),
        ("different", "rigid", "rigid", "you chose", "two people"),
        ("different", "affine", "affine", "you chose", "two people"),
        ("different", "deformable", "deformable", "you chose", ""),
    ],
)
def test_the_images_decide_unless_the_user_does(fixed, request, moving, wanted, transform, reason, warning):
    choice = choose(fixed, request.getfixturevalue(moving), wanted)
    assert choice.transform == transform
    assert reason in choice.reason
    assert bool(choice.warning) == bool(warning)
    assert warning in choice.warning


@pytest.mark.parametrize(("information", "mirrored"), [(0.26, 0.21), (0.58, 0.47)])
def test_some_more_than_the_mirror_image_shows_no_one_head(fixed, different, monkeypatch, information, mirrored):
    """As for two images in unlike contrasts, and for two brains that lean to the same side (malc 1017 and 1002)."""
    found = MirrorComparison(POSE, POSE, information, mirrored)
    find(monkeypatch, found, found)
    choice = choose(fixed, different, "auto")
    assert (choice.transform, choice.is_one_head) == ("deformable", False)
    assert "two people" in choice.reason
    assert not choose(fixed, different, "deformable").is_one_head


@pytest.mark.parametrize(("mirrored", "is_one_head"), [(0.86, True), (0.98, False)])
def test_a_nearly_symmetric_head_is_known_by_how_much_it_tells(fixed, same, monkeypatch, mirrored, is_one_head):
    """As for icbm152 deformed all over; a symmetric template is not told from another one."""
    found = MirrorComparison(POSE, POSE, 1.02, mirrored)
    find(monkeypatch, found, found)
    monkeypatch.setattr("SLSFGRLib.registration.choice.change_between", lambda *arguments: Change(0.05, 1.0))
    assert choose(fixed, same, "auto").is_one_head == is_one_head


@pytest.mark.parametrize(
    ("information", "mirrored", "is_exact"),
    [(0.5, 0.5, False), (0.2, 0.2, True), (0.35, 0.3, True), (1.1, 1.0, True), (2.0, 1.0, True), (0.06, 0.06, True)],
)
def test_only_images_that_do_not_clearly_show_two_people_are_compared_exactly(
    fixed, different, monkeypatch, information, mirrored, is_exact
):
    first, exact = MirrorComparison(POSE, POSE, information, mirrored), MirrorComparison(POSE, POSE, 1.05, 1.0)
    find(monkeypatch, first, exact)
    assert ("1.05 times" in choose(fixed, different, "auto").reason) == is_exact


@pytest.mark.parametrize(
    ("change", "transform", "reason", "warning"),
    [
        (Change(0.05, 1.0), "rigid", "one head: aligned", ""),
        (Change(0.05, 4.6), "rigid", "one head: aligned", "up to 5 mm apart"),
        (Change(0.4, 7.8), "deformable", "deformed, by up to 8 mm", ""),
    ],
)
def test_how_far_one_head_has_changed_decides_what_is_said_and_done(
    fixed, same, monkeypatch, change, transform, reason, warning
):
    monkeypatch.setattr("SLSFGRLib.registration.choice.change_between", lambda *arguments: change)
    choice = choose(fixed, same, "auto")
    assert (choice.transform, choice.is_one_head) == (transform, True)
    assert reason in choice.reason
    assert bool(choice.warning) == bool(warning)
    assert warning in choice.warning


def test_images_that_tell_nothing_about_each_other_are_not_deformed(fixed, same, monkeypatch):
    find(monkeypatch, *[MirrorComparison(POSE, POSE, 0.06, 0.06)] * 2)
    choice = choose(fixed, same, "auto")
    assert (choice.transform, choice.is_one_head) == ("rigid", False)
    assert "too little" in choice.reason
    # Nothing contradicts what the user has chosen.
    assert choose(fixed, same, "rigid").warning == ""
    assert choose(fixed, same, "deformable").warning == ""


def test_two_people_whose_images_tell_too_little_are_known_by_their_structures(fixed, different, monkeypatch):
    find(monkeypatch, *[MirrorComparison(POSE, POSE, 0.06, 0.06)] * 2)
    choice = choose(fixed, different, "auto")
    assert (choice.transform, choice.is_one_head, choice.pose) == ("deformable", False, None)
    assert "their structures show two people" in choice.reason


@pytest.mark.parametrize(("moved", "is_searched"), [(POSE, False), (FAR, True)])
def test_a_pose_is_searched_only_where_headers_do_not_show_one_head(monkeypatch, moved, is_searched):
    searches = []
    monkeypatch.setattr(rigid, "_searched", lambda *heads: searches.append(heads) or moved.inverse())
    choice = choose(*(Subject.from_image(balls_image(pose)) for pose in (Affine.identity(), moved)), "rigid")
    assert bool(searches) == is_searched
    assert choice.is_one_head
    corners = np.array([[60.0, 60.0, 60.0], [-60.0, 0.0, 40.0]])
    # The exact transform starts here: a millimetre is near enough.
    assert np.abs(choice.pose.apply(corners) - moved.inverse().apply(corners)).max() < 1.0


def test_a_wish_that_only_a_deformation_can_fulfil_decides():
    image = Subject.from_image(balls_image(spacing=2.0))
    choice = choose(image, image, "auto", implied="you chose a model.")
    assert (choice.transform, choice.reason, choice.warning) == ("deformable", "you chose a model.", "")
    assert choose(image, image, "deformable", implied="you chose a model.").reason == "you chose it."
    assert choose(image, image, "rigid").reason == "you chose it."
