"""Fixtures of the training tests."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import affine_matrix, empty_image, head_image, numbers_image, rotation_about

from SLSFGRLib.synthesis import load_label_maps


@pytest.fixture
def pictures():
    """The pictures of a training are drawn."""


@pytest.fixture(autouse=True)
def without_pictures(request, monkeypatch):
    """Trainings draw no pictures, which takes a second after each validation, unless a test asks for ``pictures``."""
    if "pictures" not in request.fixturenames:
        for name in ("draw_curve", "draw_samples"):
            monkeypatch.setattr(f"SLSFGRLib.training.trainer.{name}", lambda *_: None)


@pytest.fixture(scope="session")
def label_map_folder(tmp_path_factory):
    """Label maps of four phantoms of 5 cm, each of another shape, as images and in compact form."""
    folder = tmp_path_factory.mktemp("label maps")
    for number, name in enumerate("abcd"):
        linear = 3.2 * rotation_about((1, number, 2), 4 * number) @ np.diag([1, 1 + 0.03 * number, 1 - 0.03 * number])
        image = folder / f"phantom_{name}.nii.gz"
        sitk.WriteImage(numbers_image((44, 52, 42), matrix=affine_matrix(linear)), str(image))
        load_label_maps([image], folder / name)
        (compact,) = (folder / name).iterdir()
        compact.rename(folder / f"phantom_{name}.npz")
    return folder


@pytest.fixture(scope="session")
def head_folder(tmp_path_factory):
    """Images of three heads of 5 cm, which take no time to align."""
    folder = tmp_path_factory.mktemp("heads")
    for number, name in enumerate("abc"):
        matrix = affine_matrix(3.0 * rotation_about((1, number, 2), 4 * number) @ np.diag([1, 1 + 0.05 * number, 1]))
        image = head_image(
            empty_image((20, 24, 21), (3, 3, 3), centre=(10 * number, 0, 0)),
            matrix @ affine_matrix(shift=(-10 * number, 0, 0)),
        )
        sitk.WriteImage(image[0], str(folder / f"head_{name}.nii.gz"))
    return folder
