"""A stand-in for ``SLSFGRLib.jobs.worker``: gives a result at once, or fails in a known way.

``python panel_workers.py HOW FOLDER`` behaves as HOW says, and sends the same messages as the worker.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import SimpleITK as sitk

from SLSFGRLib.io import resources
from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.jobs import worker
from SLSFGRLib.jobs.job import JobResult, RegistrationJob, load_job
from SLSFGRLib.jobs.worker import _end_with_standard_input, _sole_writer_to_standard_output
from SLSFGRLib.report.results import report_and_page

REPORT = {
    "mode": "standard",
    "device": "cpu (2 threads)",
    "seconds": {"total": 14.2, "stages": {}},
    "dice_before": 0.614,
    "dice_after": 0.842,
    "folding_percent": 0.0,
    "models": [{"role": "segmentation", "name": "sl_sfgr", "version": "1", "sha256": "abc"}],
    "versions": {"slsfgr": "0.1.0"},
}

# Spread of a network's last weights that makes it sure of what it finds.
SURE = 30.0


def result_of(job, draws=False):
    """Move the moving image 5 mm to the left, and find three structures by intensity.

    :param draws: whether the report's page is the library's, which takes seconds: drawing it loads torch.
    """
    labels = [None if image is None else labelled(image) for image in (job.fixed, job.moving)]
    volumes = {name: volumes_ml(image) for name, image in zip(("fixed", "moving"), labels, strict=True) if image}
    report = REPORT | {"volumes_ml": volumes}
    if not isinstance(job, RegistrationJob):
        report = {name: report[name] for name in ("device", "seconds", "models", "versions", "volumes_ml")}
        return JobResult(fixed_labels=labels[0], moving_labels=labels[1], report=report)
    forward, backward = (sitk.TranslationTransform(3, (shift, 0.0, 0.0)) for shift in (-5.0, 5.0))
    warped = sitk.Resample(job.moving, job.fixed, forward, sitk.sitkLinear, 0.0, job.moving.GetPixelID())
    jacobian = sitk.Cast(job.fixed, sitk.sitkFloat32) * 0 + 1 if job.jacobian else None
    report |= {"mode": job.mode}
    result = JobResult(warped, forward, backward, *labels, jacobian, report)
    if not job.names:
        return result
    if not draws:
        return replace(result, page=f"<p>{' to '.join(job.names)}</p>")
    return replace(result, page=report_and_page(result, job.fixed, job.moving, *job.names)[1])


def labelled(image):
    """Label voxels 2, 17 or 53 by rising intensity; 0 where the intensity is low."""
    image = sitk.Cast(image, sitk.sitkFloat32)
    top = float(sitk.GetArrayViewFromImage(image).max())
    bands = ((0.2, 0.5, 2), (0.5, 0.8, 17), (0.8, 1.01, 53))
    parts = [sitk.BinaryThreshold(image, low * top, high * top - 1e-3, number) for low, high, number in bands]
    return sitk.Cast(parts[0] + parts[1] + parts[2], sitk.sitkUInt16)


def volumes_ml(labels):
    """Return the volume of each structure in mL, without loading torch."""
    voxel = np.prod(labels.GetSpacing()) / 1000.0
    array = sitk.GetArrayViewFromImage(labels)
    return {item.name: float((array == item.number).sum() * voxel) for item in read_label_table()}


def install_models(folder, with_network):
    """Have the real library find a small untrained network, or none, whatever is installed."""
    bundled = resources.resource_path
    resources.resource_path = lambda *parts: folder.joinpath(*parts[1:]) if parts[0] == "Models" else bundled(*parts)
    if with_network:
        import torch

        from SLSFGRLib.models.model import Model, ModelSettings

        torch.manual_seed(0)
        settings = ModelSettings(
            "sl_sfgr", {"structures": len(read_label_table()), "channels": [4, 6, 8, 8], "matching_channels": 4}
        )
        network = settings.build()
        # Where an untrained network is as sure of one structure as of another, label maps take long.
        torch.nn.init.normal_(network.segmenter.logits.weight, std=SURE)
        folder.mkdir()
        weights = folder / "sl_sfgr.pt"
        Model("small", settings, network).save(weights)
        checksum = hashlib.sha256(weights.read_bytes()).hexdigest()
        weights.with_name("sl_sfgr.pt.sha256").write_text(f"{checksum}  {weights.name}\n")


def main(how, folder):
    if how == "launched":  # as Slicer's launcher does, which stands between the panel and the process that works
        sys.exit(subprocess.call([sys.executable, __file__, "endless", str(folder)]))
    if how in ("registers_only", "small_network"):
        install_models(folder / "Models", how == "small_network")
        worker.main(folder)
    send = _sole_writer_to_standard_output()
    send(pid=os.getpid())
    (folder / "pid").write_text(str(os.getpid()))
    # As the worker does; else it would wait for ever when a test fails.
    threading.Thread(target=_end_with_standard_input, args=(folder,), daemon=True).start()
    job, number = None, 0
    while True:
        while not (folder / "job").exists():
            time.sleep(0.005)
        job, number = load_job(folder / "job", job), number + 1
        shutil.rmtree(folder / "job")
        do(job, how, number, folder, send)


def do(job, how, number, folder, send):
    """Do one job.

    :param number: of the job in this process.
    """
    send(fraction=0.42, message="Deforming")
    print("a warning of some library", flush=True)
    if how == "endless" or (how == "endless_second" and number == 2):
        time.sleep(600)
    elif how == "refuse" or (how == "refuse_first" and number == 1):
        send(error="the moving image: every voxel has the value 0; there is nothing to register.")
        return
    elif how == "crash":
        os.abort()
    elif how == "noted":
        REPORT["notes"] = ["The heads hardly overlap."]
    elif how in ("rigid", "draws_page"):
        REPORT.update(transform="rigid", transform_reason="both images show one head.")
    result_of(job, draws=how == "draws_page").save(folder / "result")
    send(done=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
