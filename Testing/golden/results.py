"""Read the results that a command wrote."""

import json
from types import SimpleNamespace

import SimpleITK as sitk


def read_results(folder):
    """Return the report, the transforms and the images of a registration by their names in the library."""
    return SimpleNamespace(
        report=json.loads((folder / "report.json").read_text()),
        transform=sitk.ReadTransform(str(folder / "transform.h5")),
        inverse_transform=sitk.ReadTransform(str(folder / "inverse_transform.h5")),
        **{
            name: sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("warped", "fixed_labels", "moving_labels")
        },
    )
