"""Library, command and Slicer's child process: one pair has one result."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from golden.measures import brain_points, mapped
from golden.results import read_results
from SLSFGRLib import register, volumes
from SLSFGRLib.io.transforms import transform_from_parts
from SLSFGRLib.jobs.job import RegistrationJob
from SLSFGRLib.jobs.process import JobProcess

pytestmark = pytest.mark.slow

MODE, SIZE = "fast", 0.5
# Of a report: what differs from run to run, and what only the command or only Slicer adds.
SECONDS, FILE_NAMES, VOLUMES = {"seconds"}, {"fixed", "moving"}, {"volumes_ml"}
WORKER = [sys.executable, "-m", "SLSFGRLib.jobs.worker"]
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def files(pair, tmp_path_factory):
    """The pair as files, of half of its size, which takes a quarter of the time."""
    folder = tmp_path_factory.mktemp("pair")
    paths = {name: folder / f"{name}.nii.gz" for name in ("fixed", "moving")}
    for name, path in paths.items():
        image = sitk.BinShrink(getattr(pair, name), [2, 2, 2])
        image.SetSpacing([SIZE * step for step in image.GetSpacing()])
        image.SetOrigin([SIZE * place for place in image.GetOrigin()])
        sitk.WriteImage(image, str(path))
    return paths


@pytest.fixture(scope="module")
def images(files):
    return {name: sitk.ReadImage(str(path)) for name, path in files.items()}


@pytest.fixture(scope="module")
def by_library(images):
    return register(images["fixed"], images["moving"], mode=MODE)


@pytest.fixture(scope="module")
def environment():
    """Other processes use as many threads as this one: sums depend on it in the last digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
        yield dict(os.environ)


@pytest.fixture(scope="module")
def by_command(files, environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("command") / "result"
    command = [sys.executable, "-m", "SLSFGRLib", "register", files["fixed"], files["moving"]]
    subprocess.run([*command, "--mode", MODE, "--output", folder, "--quiet"], check=True, env=environment)
    return read_results(folder)


@pytest.fixture(scope="module")
def by_slicer(images, environment, tmp_path_factory):
    """What the process gives that Slicer's panel starts, waits for and reads from."""
    process, ends = JobProcess(tmp_path_factory.mktemp("slicer"), WORKER), []
    process.start(
        RegistrationJob(images["fixed"], images["moving"], mode=MODE),
        on_progress=lambda fraction, message: None,
        on_log=lambda text: None,
        on_end=lambda *end: ends.append(end),
    )
    latest = time.monotonic() + PATIENCE_SECONDS
    while not ends and time.monotonic() < latest:
        process.poll()
        time.sleep(0.05)
    process.discard()
    ((result, problem),) = ends
    assert problem == ""
    transforms = {name: transform_from_parts(getattr(result, name)) for name in ("transform", "inverse_transform")}
    return replace(result, **transforms)


@pytest.fixture(scope="module", params=["by_command", "by_slicer"])
def other(request):
    return request.getfixturevalue(request.param)


def without(report, keys):
    """A report as JSON has it, without some of its entries."""
    return {key: value for key, value in json.loads(json.dumps(report)).items() if key not in keys}


def test_the_command_reports_what_the_library_reports(by_library, by_command, files):
    assert by_command.report.keys() == by_library.report.keys() | FILE_NAMES
    assert without(by_command.report, SECONDS | FILE_NAMES) == without(by_library.report, SECONDS)
    assert {name: by_command.report[name] for name in files} == {name: str(path) for name, path in files.items()}


def test_slicers_process_reports_what_the_library_reports(by_library, by_slicer):
    assert by_slicer.report.keys() == by_library.report.keys() | VOLUMES
    assert without(by_slicer.report, SECONDS | VOLUMES) == without(by_library.report, SECONDS)


def test_slicers_process_adds_the_volumes_that_the_library_finds(by_library, by_slicer):
    maps = {"fixed": by_library.fixed_labels, "moving": by_library.moving_labels}
    expected = {
        image: {structure.name: structure.volume_mm3 / 1000.0 for structure in volumes(labels)}
        for image, labels in maps.items()
    }
    assert by_slicer.report["volumes_ml"] == expected
    assert all(len(column) == 30 for column in expected.values())


def test_the_transforms_are_the_same(by_library, other, pair):
    points = SIZE * brain_points(pair.fixed_labels)
    for name in ("transform", "inverse_transform"):
        one, two = (mapped(getattr(result, name), points) for result in (by_library, other))
        # The command's files hold rounded displacements; Slicer's travel as 32-bit floats.
        np.testing.assert_allclose(two, one, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["warped", "fixed_labels", "moving_labels"])
def test_the_images_are_the_same(by_library, other, name):
    one, two = (sitk.GetArrayViewFromImage(getattr(result, name)) for result in (by_library, other))
    assert one.any()
    assert np.array_equal(one, two)
