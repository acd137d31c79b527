"""The cases of a batch: what is refused before any work begins, with the line's number."""

import json
from pathlib import Path

import pytest

from SLSFGRLib.errors import InputError
from SLSFGRLib.jobs.bids import cases_of_bids, is_bids, write_data_set
from SLSFGRLib.jobs.cases import REGISTER, SEGMENT, SETTINGS, cases_of_folder, cases_of_table

FILES = ("a.nii.gz", "b.nii.gz", "c.nii", "mask.nii.gz", "start.tfm")


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        (tmp_path / name).touch()
    return tmp_path


def table(folder, text):
    path = folder / "cases.csv"
    path.write_text(text, encoding="utf-8")
    return path


def cases(folder, text, task=REGISTER, fixed=None, **common):
    return cases_of_table(table(folder, text), task, common, fixed)


def test_cells_and_common_settings_become_cases(folder):
    text = (
        "\ufefffixed,moving,name,mode,no-affine,fixed_mask,Initial_Transform\n"
        "a.nii.gz,b.nii.gz,,fast,yes,mask.nii.gz,start.tfm\n"
        "\n"
        "a.nii.gz,c.nii,group one/third,,no,,\n"
    )
    first, second = cases(folder, text, mode="accurate", jacobian=True)
    assert first.images == {"fixed": folder / "a.nii.gz", "moving": folder / "b.nii.gz"}
    assert first.files == {"fixed_mask": folder / "mask.nii.gz", "initial_transform": folder / "start.tfm"}
    assert first.settings == SETTINGS[REGISTER] | {"mode": "fast", "no_affine": True, "jacobian": True}
    assert (first.name, second.name) == ("b", "group one/third")
    assert second.settings["mode"] == "accurate"
    assert second.settings["no_affine"] is False


def test_names_tell_which_fixed_image_where_there_are_several(folder):
    found = cases(folder, "fixed,moving\na.nii.gz,b.nii.gz\nc.nii,b.nii.gz\n")
    assert [case.name for case in found] == ["b_to_a", "b_to_c"]


def test_the_standard_brain_and_one_fixed_image_for_all(folder):
    (case,) = cases(folder, "fixed,moving\nmni152,b.nii.gz\n")
    assert case.images["fixed"].name == "mni152.nii.gz"
    (case,) = cases(folder, "moving\nb.nii.gz\n", fixed=folder / "a.nii.gz")
    assert case.images["fixed"] == folder / "a.nii.gz"


def test_segmentations_need_one_image(folder):
    (case,) = cases(folder, "image,model\na.nii.gz,\n", SEGMENT, device="cpu")
    assert (case.images, case.settings) == ({"image": folder / "a.nii.gz"}, {"device": "cpu", "model": ""})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed,image\na.nii.gz,b.nii.gz\n", "line 1: has no column 'moving'; it needs fixed and moving."),
        ("fixed,moving,speed\na.nii.gz,b.nii.gz,1\n", "line 1: has an unknown column 'speed'"),
        ("fixed,moving,mode,mode\na.nii.gz,b.nii.gz,,\n", "line 1: has two columns 'mode'"),
        ("fixed,moving\n", "holds no case"),
        ("fixed,moving\na.nii.gz,b.nii.gz\na.nii.gz,\n", "line 3: names no moving image"),
        ("fixed,moving\na.nii.gz,b.nii.gz,c.nii\n", "line 2: has 3 cells, but line 1 names 2 columns"),
        ("fixed,moving\n\na.nii.gz,lost.nii\n", "line 3, moving: there is no file"),
        ("fixed,moving,fixed_mask\na.nii.gz,b.nii.gz,lost.nii\n", "line 2, fixed_mask: there is no file"),
        ("fixed,moving,mode\na.nii.gz,b.nii.gz,slow\n", "line 2: mode is 'slow'; it can be fast, standard, accurate."),
        ("fixed,moving,jacobian\na.nii.gz,b.nii.gz,perhaps\n", "line 2: jacobian is 'perhaps'; it can be yes or no."),
        (
            "fixed,moving\na.nii.gz,b.nii.gz\na.nii.gz,c.nii\na.nii.gz,b.nii.gz\n",
            "line 4: is the same case as",
        ),
        ("fixed,moving,name\na.nii.gz,b.nii.gz,x\na.nii.gz,c.nii,X\n", "line 3: would have the same output, 'X', as"),
        ("fixed,moving,name\na.nii.gz,b.nii.gz,../x\n", "line 2: its name is '../x'"),
        ("fixed,moving,name\na.nii.gz,b.nii.gz,/tmp/x\n", "line 2: its name is '/tmp/x'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_line(folder, text, message):
    with pytest.raises(InputError, match=message):
        cases(folder, text)


def test_a_table_that_is_none_is_refused(folder):
    (folder / "cases.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a table in UTF-8"):
        cases_of_table(folder / "cases.csv", REGISTER, {})
    with pytest.raises(InputError, match="there is no such file"):
        cases_of_table(folder / "none.csv", REGISTER, {})


def test_a_fixed_image_cannot_be_given_twice(folder):
    with pytest.raises(InputError, match="has a column 'fixed', and --fixed is given, too"):
        cases(folder, "fixed,moving\na.nii.gz,b.nii.gz\n", fixed=folder / "a.nii.gz")


def test_a_folder_gives_its_images(folder):
    found = cases_of_folder(folder, REGISTER, {"mode": "fast"}, folder / "a.nii.gz")
    assert [case.name for case in found] == ["a", "b", "c", "mask"]
    assert all(case.settings["mode"] == "fast" for case in found)
    (folder / "a.nii").touch()
    with pytest.raises(InputError, match="would have the same output, 'a'"):
        cases_of_folder(folder, REGISTER, {}, folder / "a.nii.gz")


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no images"):
        cases_of_folder(tmp_path, SEGMENT, {}, None)


@pytest.fixture
def data_set(tmp_path):
    """A BIDS data set of two subjects, one with two sessions, and files that are no T1-weighted images."""
    images = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_run-1_T1w.nii")
    for name in (*images, "sub-01/anat/sub-01_T2w.nii.gz", "sub-01/anat/sub-01_T1w.json", "derivatives/x/y_T1w.nii"):
        path = tmp_path / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "study" / "dataset_description.json").write_text('{"Name": "Study", "BIDSVersion": "1.8.0"}')
    return tmp_path / "study"


def test_bids_images_are_found_and_results_named_as_derivatives(data_set):
    assert is_bids(data_set)
    first, second = cases_of_bids(data_set, REGISTER, {}, Path("brain.nii.gz"))
    assert (first.name, second.name) == ("sub-01/anat", "sub-02/ses-a/anat")
    assert (first.title, second.title) == ("sub-01", "sub-02_ses-a_run-1")
    assert first.file_name("warped.nii.gz") == "sub-01_space-brain_desc-warped_T1w.nii.gz"
    assert first.file_name("transform.h5") == "sub-01_from-T1w_to-brain_mode-image_xfm.h5"
    assert second.file_name("moving_labels.nii.gz") == "sub-02_ses-a_run-1_desc-slsfgr_dseg.nii.gz"
    # Two files of one folder need descriptions of their own: BIDS' validator refuses ambiguous sidecars.
    assert first.file_name("fixed_labels.nii.gz") == "sub-01_space-brain_desc-fixed_dseg.nii.gz"
    assert second.file_name("report.html") == "sub-02_ses-a_run-1_report.html"


def test_derivatives_say_where_they_come_from(data_set, tmp_path):
    write_data_set(data_set, tmp_path / "out", SEGMENT, None)
    description = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert (description["DatasetType"], description["GeneratedBy"][0]["Name"]) == ("derivative", "SLSFGR")
    assert "17\tLeft hippocampus\t#dcd814" in (tmp_path / "out" / "desc-slsfgr_dseg.tsv").read_text().splitlines()


def test_a_data_set_without_t1_weighted_images_is_refused(data_set):
    for path in data_set.glob("sub-*/**/*T1w.nii*"):
        path.unlink()
    with pytest.raises(InputError, match="without T1-weighted images"):
        cases_of_bids(data_set, SEGMENT, {}, None)
