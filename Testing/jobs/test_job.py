"""Jobs: passed through a folder without loss, and done by a process that ends with its parent."""

import json
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import affine_matrix, empty_image, filled, half_head, head_image, transformed

from SLSFGRLib import InputError
from SLSFGRLib.io.transforms import transform_from_parts
from SLSFGRLib.jobs.exchange import load_values, save_values
from SLSFGRLib.jobs.job import JobResult, RegistrationJob, SegmentationJob, load_job, save_job
from SLSFGRLib.models.loading import default_model
from SLSFGRLib.models.model import Model, ModelSettings
from SLSFGRLib.registration.result import RegistrationResult
from SLSFGRLib.spatial.affine import Affine
from SLSFGRLib.spatial.composite import affine_then_field
from SLSFGRLib.spatial.grid import grid_of_image

COMMAND = (sys.executable, "-m", "SLSFGRLib.jobs.worker")


@pytest.fixture
def pair():
    image = lambda: empty_image((24, 28, 26), spacing=(7.0, 7.0, 7.0), centre=(3, -4, 5))  # noqa: E731
    return head_image(image())[0], head_image(image(), affine_matrix(shift=(9.0, 4.0, -6.0)))[0]


@pytest.fixture
def half_heads():
    """As ``pair``, smaller: the library resamples images to 1 mm."""
    return half_head(), half_head((9.0, 4.0, -6.0))


def composite_on(image):
    grid = grid_of_image(image)
    field = torch.randn(1, 3, *grid.shape, generator=torch.Generator().manual_seed(0))
    return affine_then_field(Affine.from_parts(np.diag([1.1, 0.9, 1.0]), (3.0, 4.0, 5.0)), field, grid)


def same_place(first, second):
    return all(getattr(first, get)() == getattr(second, get)() for get in ("GetSize", "GetOrigin", "GetDirection"))


def test_images_transforms_and_values_come_through_a_folder_unchanged(tmp_path):
    image = empty_image(direction=np.diag([1.0, -1.0, 1.0]), origin=(-3.25, 7.5, 11.0))
    values = np.random.default_rng(0).integers(-500, 3000, image.GetSize()[::-1]).astype(np.int16)
    image = filled(image, values)
    transform = composite_on(image)
    save_values({"image": image, "transform": transform, "mode": "fast", "none": None}, tmp_path / "values")
    loaded = load_values(tmp_path / "values")
    assert (loaded["mode"], loaded["none"]) == ("fast", None)
    assert same_place(loaded["image"], image)
    assert loaded["image"].GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(loaded["image"]), values)
    points = np.random.default_rng(1).uniform(0, 30, (50, 3))
    again = transform_from_parts(loaded["transform"])
    np.testing.assert_allclose(transformed(again, points), transformed(transform, points), atol=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(0, 4000, (60, 70, 80)).astype(np.uint16),
        np.random.default_rng(1).normal(0, 1000, (60, 70, 80)).astype(np.float32),
        np.random.default_rng(2).normal(0, 1000, (60, 70, 80)),
        np.arange(336000, dtype=np.int64).reshape(60, 70, 80) << 40,
        np.full((60, 70, 80), np.nan),
        np.full((60, 70, 80), 1e300),
    ],
    ids=lambda values: f"{values.dtype}",
)
def test_no_voxel_changes_whatever_its_type(tmp_path, values):
    save_values({"image": sitk.GetImageFromArray(values)}, tmp_path / "values")
    loaded = sitk.GetArrayFromImage(load_values(tmp_path / "values")["image"])
    assert loaded.dtype == values.dtype
    np.testing.assert_array_equal(loaded, values)


def test_an_image_takes_the_bytes_of_its_values_not_of_its_type_and_a_label_map_hardly_any(tmp_path):
    noise = np.random.default_rng(0).integers(-1000, 3000, (60, 200, 400))  # two pieces
    labels = np.zeros(noise.shape, np.uint16)
    labels[20:40, 50:150, 100:300] = 17
    images = {"double": noise.astype(float), "long": noise, "half": noise + 0.5, "short": noise.astype(np.int16)}
    images["labels"] = labels
    save_values({name: sitk.GetImageFromArray(array) for name, array in images.items()}, tmp_path / "values")
    size = {name: (tmp_path / "values" / f"{name}.raw").stat().st_size / noise.size for name in images}
    assert (size["double"], size["long"], size["half"], size["short"]) == (2.0, 2.0, 4.0, 2.0)
    assert size["labels"] < 0.05
    for name, image in load_values(tmp_path / "values").items():
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(image), images[name], err_msg=name)


def test_an_image_that_the_other_process_has_is_not_written_again(tmp_path, pair):
    fixed, moving = pair
    before = {"fixed": fixed, "moving": moving, "mode": "fast"}
    save_values({"fixed": fixed, "moving": sitk.Image(moving), "mode": "fast"}, tmp_path / "values", before)
    assert sorted(path.name for path in (tmp_path / "values").iterdir()) == ["index.json", "moving.raw"]
    there = {"fixed": sitk.Image(fixed), "moving": sitk.Image(moving)}
    assert load_values(tmp_path / "values", there)["fixed"] is there["fixed"]


def test_a_transform_of_another_kind_is_refused(tmp_path):
    with pytest.raises(TypeError, match="BSpline"):
        save_values({"transform": sitk.BSplineTransform(3)}, tmp_path / "values")


def test_a_job_is_the_same_after_it_was_saved(tmp_path, pair):
    start = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    save_job(
        RegistrationJob(*pair, "fast", "cpu", start, False, "a.pt", True, "rigid", fixed_lesion=pair[0] > 50),
        tmp_path / "register",
    )
    job = load_job(tmp_path / "register")
    assert isinstance(job, RegistrationJob)
    assert (job.transform, job.fixed_mask) == ("rigid", None)
    assert same_place(job.fixed_lesion, pair[0])
    assert job.initial_transform.IsLinear()
    assert (job.mode, job.device, job.start_from_segmentation, job.jacobian) == ("fast", "cpu", False, True)
    assert job.model == "a.pt"
    assert job.initial_transform.TransformPoint((0.0, 0.0, 0.0)) == (1.0, 2.0, 3.0)
    save_job(SegmentationJob(moving=pair[1]), tmp_path / "segment")
    job = load_job(tmp_path / "segment")
    assert job.fixed is None
    assert same_place(job.moving, pair[1])


def test_a_job_with_a_model_registers_with_it_or_names_the_file(tmp_path, pair):
    given = {}

    def register(fixed, moving, **options):
        given.update(options)
        return RegistrationResult(fixed, None, None)

    library = SimpleNamespace(register=register)
    settings = ModelSettings(network="hu", network_options={"channels": [3, 4], "global_channels": [3]}, pair_steps=0)
    Model("multimodal", settings, settings.build()).save(tmp_path / "model.pt")
    RegistrationJob(*pair, model=str(tmp_path / "model.pt")).run(library=library)
    assert given["model"].name == "multimodal"
    given.clear()
    RegistrationJob(*pair).run(library=library)
    assert "model" not in given
    with pytest.raises(InputError, match=r"none\.pt: there is no such model file"):
        RegistrationJob(*pair, model=str(tmp_path / "none.pt")).run(library=library)


def test_jacobian_is_the_change_of_volume_in_mm_whatever_the_direction():
    image = empty_image((12, 10, 11), direction=np.diag([-1.0, 1.0, 1.0]))
    linear = sitk.AffineTransform(3)
    linear.SetMatrix(np.diag([1.2, 0.9, 1.1]).flatten().tolist())
    found = SimpleNamespace(
        warped=image, transform=linear, inverse_transform=linear, fixed_labels=None, moving_labels=None, report={}
    )
    library = SimpleNamespace(register=lambda *images, **options: found)
    result = RegistrationJob(image, image, jacobian=True).run(library=library)
    assert same_place(result.jacobian, image)
    np.testing.assert_allclose(sitk.GetArrayFromImage(result.jacobian), 1.2 * 0.9 * 1.1, rtol=1e-5)


def test_segmentation_job_segments_what_is_there_and_its_progress_runs_through_both(pair):
    steps = []

    def segment(image, device, progress):
        progress(0.5, "Segmenting")
        return sitk.Cast(image > 50, sitk.sitkUInt16)

    library = SimpleNamespace(segment=segment)
    result = SegmentationJob(*pair, device="cpu").run(lambda *step: steps.append(step), library)
    assert steps == [(0.25, "Segmenting"), (0.75, "Segmenting")]
    assert same_place(result.fixed_labels, pair[0])
    assert same_place(result.moving_labels, pair[1])
    assert SegmentationJob(moving=pair[1]).run(library=SimpleNamespace(segment=lambda image, *_: image)).warped is None


def test_segmentation_job_reports_volumes_by_structure_and_how_they_came_about(pair):
    def segment(image, device, progress):
        return sitk.Cast(image > 50, sitk.sitkUInt16) * 16

    report = SegmentationJob(moving=pair[1], device="cpu").run(library=SimpleNamespace(segment=segment)).report
    voxels = int((sitk.GetArrayFromImage(pair[1]) > 50).sum())
    assert report["volumes_ml"]["moving"]["Brain stem"] == pytest.approx(voxels * 7.0**3 / 1000.0)
    assert report["volumes_ml"]["moving"]["Left thalamus"] == 0.0
    assert "fixed" not in report["volumes_ml"]
    assert report["device"].startswith("cpu (")
    assert report["seconds"]["total"] > 0.0
    assert {"slsfgr"} <= report["versions"].keys()
    assert report["models"] == [default_model().description("segmentation")]


def test_provenance_is_flat_text_with_none_for_what_the_report_does_not_say():
    models = [
        {"role": "segmentation", "name": "sl_sfgr", "version": "1", "sha256": "abc"},
        {"role": "template", "name": "template", "version": "2", "sha256": "def"},
    ]
    report = {"mode": "fast", "models": models, "dice_after": 0.5, "folding_percent": 0.0}
    notes = JobResult(report=report).provenance()
    assert notes["Mode"] == "fast"
    assert notes["Model"] == "sl_sfgr (segmentation); template (template)"
    assert notes["ModelSHA256"] == "abc; def"
    assert (notes["DiceAfter"], notes["FoldingPercent"]) == ("0.5", "0.0")
    assert notes["DiceBefore"] == notes["Device"] == notes["Version"] == "none"
    for report in ({}, {"models": []}):
        notes = JobResult(report=report).provenance()
        assert (notes["Model"], notes["ModelSHA256"]) == ("none", "none")
    untrained = [{"role": "registration", "name": "li_fan", "version": "1", "sha256": None}]
    notes = JobResult(report={"models": untrained}).provenance()
    assert (notes["Model"], notes["ModelSHA256"]) == ("li_fan (registration)", "None")


@pytest.fixture(scope="module")
def shared_worker(tmp_path_factory):
    """The folder of a worker, the process, which takes seconds to load torch, and what it sends first."""
    folder = tmp_path_factory.mktemp("worker")
    process = start(folder)
    yield folder, process, process.stdout.readline()
    process.communicate()


@pytest.fixture
def worker(shared_worker):
    """The folder and the process, without results of an earlier test."""
    folder, process, _ = shared_worker
    shutil.rmtree(folder / "result", ignore_errors=True)
    return folder, process


def messages_of_job(process):
    """Read what a worker sends about one job."""
    messages = []
    while not messages or not messages[-1].keys() & {"done", "error"}:
        messages.append(json.loads(process.stdout.readline()))
    return messages


def start(folder, **options):
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, str(folder)], stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options)


def hand_over(job, folder):
    save_job(job, folder / "unfinished")
    (folder / "unfinished").rename(folder / "job")


def test_a_worker_first_sends_its_process_number(shared_worker):
    _, process, first = shared_worker
    assert json.loads(first) == {"pid": process.pid}


def test_worker_sends_its_progress_and_writes_the_result(worker, half_heads):
    folder, process = worker
    hand_over(RegistrationJob(*half_heads, "fast", "cpu", transform="deformable"), folder)
    messages = messages_of_job(process)
    assert messages[-1] == {"done": True}
    fractions = [message["fraction"] for message in messages[:-1]]
    assert fractions == sorted(fractions)
    assert "Deforming" in {message["message"] for message in messages[:-1]}
    result = JobResult.load(folder / "result")
    assert same_place(result.warped, half_heads[0])
    assert result.report["mode"] == "fast"
    moved = transformed(transform_from_parts(result.transform), [[3.0, -4.0, 5.0]])[0]
    np.testing.assert_allclose(moved, (-6.0, -8.0, 11.0), atol=1.5)


def test_worker_sends_bad_input_as_one_sentence(worker, pair):
    folder, process = worker
    hand_over(RegistrationJob(*pair, mode="slow"), folder)
    assert "there is no such mode" in messages_of_job(process)[-1]["error"]
    assert not (folder / "result").exists()


def test_a_job_that_is_too_large_to_read_is_reported_once_and_the_next_is_done(worker, pair):
    folder, process = worker
    save_job(RegistrationJob(*pair, mode="slow"), folder / "unfinished")
    index = folder / "unfinished" / "index.json"
    job = json.loads(index.read_text())
    job["fixed"][1]["shape"] = [300000, 300000, 300000]
    index.write_text(json.dumps(job))
    (folder / "unfinished").rename(folder / "job")
    assert "memory of this computer is too small" in messages_of_job(process)[-1]["error"]
    hand_over(RegistrationJob(*pair, mode="slow"), folder)
    assert "there is no such mode" in messages_of_job(process)[-1]["error"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the files of another process")
def test_a_result_that_the_disk_cannot_hold_is_reported_and_the_process_goes_on(worker, half_heads):
    import resource

    folder, process = worker
    limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (10000, limits[1]))
    for mode, problem in (("fast", f"the disk of {folder.parent} is full"), ("slow", "there is no such mode")):
        hand_over(RegistrationJob(*half_heads, mode=mode, device="cpu", transform="rigid"), folder)
        assert problem in messages_of_job(process)[-1]["error"]
        assert not (folder / "result").exists()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)


def test_worker_ends_when_nobody_listens_any_more(tmp_path):
    folder = tmp_path / "SLSFGR-1"
    folder.mkdir()
    process = start(folder)
    process.stdout.readline()
    process.stdin.close()
    begin = time.perf_counter()
    process.wait(5)
    assert time.perf_counter() - begin < 1.0
    assert not folder.exists()
