"""The registration of a pair with a known answer, with all defaults."""

import numpy as np
import pytest
import SimpleITK as sitk

from golden.measures import brain_points, mapped, tissue_dice
from golden.store import stored
from SLSFGRLib import evaluate

pytestmark = pytest.mark.slow


def test_the_known_deformation_is_found(registered, pair):
    inside = sitk.GetArrayViewFromImage(pair.fixed_labels) > 0
    before = pair.error(sitk.Transform(3, sitk.sitkIdentity))[inside].mean()
    assert before > 20.0
    # Measured: 1.507 mm.
    assert pair.error(registered.transform)[inside].mean() < 1.53


def test_points_go_where_they_were_stored_to_go(registered, pair):
    found = mapped(registered.transform, brain_points(pair.fixed_labels))
    assert np.linalg.norm(found - stored("registered"), axis=1).mean() < 0.05


def test_the_report_has_the_stored_figures(registered):
    report = registered.report
    assert report["mode"] == "standard"
    assert report["model"]["name"] == "sl_sfgr"
    assert report["notes"] == []
    assert report["dice_before"] == pytest.approx(0.0895, abs=0.005)
    assert report["dice_after"] == pytest.approx(0.8201, abs=0.005)
    assert report["similarity_before"] == pytest.approx(0.6639, abs=0.005)
    assert report["similarity_after"] == pytest.approx(0.7920, abs=0.005)
    assert report["displacement_mm"]["mean"] == pytest.approx(2.52, abs=0.03)
    assert report["folding_percent"] == 0.0


def test_the_tissues_of_the_deformed_brain_are_brought_back(registered, pair):
    # Of tissues that neither the registration nor the network has seen. Measured: 0.740, 0.915 and 0.936.
    found = evaluate(pair.fixed_labels, pair.moving_labels, registered.transform)
    assert found.folding_percent == 0.0
    assert found.dice[1] > 0.73
    assert found.dice[2] > 0.905
    assert found.dice[3] > 0.926


def test_both_brains_are_segmented(registered, pair):
    # The moving brain is not symmetric: mirrored, its grey and white matter have a Dice below 0.4.
    # Measured: 0.850 and 0.910 in the moving image.
    grey, white = tissue_dice(registered.moving_labels, pair.moving_labels)
    assert grey > 0.84
    assert white > 0.90
    grey, white = tissue_dice(registered.fixed_labels, pair.fixed_labels)
    assert grey > 0.88
    assert white > 0.94


def test_transform_and_inverse_undo_each_other(registered, pair):
    points = brain_points(pair.fixed_labels)
    there_and_back = mapped(registered.inverse_transform, mapped(registered.transform, points))
    distance = np.linalg.norm(there_and_back - points, axis=1)
    residual = registered.report["inverse_residual_mm"]
    assert residual < 0.07
    assert distance.mean() < 2.0 * residual
