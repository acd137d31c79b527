"""The line of results that the panel and the command show."""

from SLSFGRLib.evaluation.summary import summary

REPORT = {"seconds": {"total": 14.23}, "device": "cpu (2 threads)"}


def test_dice_is_preferred_to_similarity():
    report = REPORT | {"folding_percent": 0.0, "similarity_before": 0.2, "similarity_after": 0.7}
    assert summary(report) == "Similarity (LNCC) 0.20 → 0.70 · folding 0 % · 14.2 s · CPU"
    report |= {"dice_before": 0.614, "dice_after": 0.842, "folding_percent": 0.0123}
    assert summary(report) == "Dice 0.61 → 0.84 · folding 0.012 % · 14.2 s · CPU"
    assert summary(report | {"dice_after": None}).startswith("Similarity")


def test_notes_follow():
    report = REPORT | {"similarity_before": 0.2, "similarity_after": 0.7, "notes": ["Worked at 2 mm.", "Heads apart."]}
    assert summary(report).splitlines()[1:] == ["Worked at 2 mm.", "Heads apart."]


def test_why_a_transform_is_rigid_comes_before_the_notes():
    report = REPORT | {"similarity_before": 0.2, "similarity_after": 0.7, "notes": ["Heads apart."]}
    report |= {"transform": "rigid", "transform_reason": "the images show one head."}
    assert summary(report).splitlines()[1:] == ["Rigid: the images show one head.", "Heads apart."]


def test_a_segmentation_counts_each_structure_once():
    volumes = {
        "fixed": {"Brain stem": 20.0, "Left thalamus": 0.0},
        "moving": {"Brain stem": 21.0, "Left thalamus": 7.0},
    }
    assert summary(REPORT | {"volumes_ml": volumes, "device": "NVIDIA H200"}) == "2 structures · 14.2 s · NVIDIA"
