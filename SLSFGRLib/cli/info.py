"""Show the installed versions and the device that would be used."""

from __future__ import annotations

import argparse
import os
import platform

SHARED_OPTIONS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``slsfgr info``: none."""


def run(arguments: argparse.Namespace) -> None:
    """Run ``slsfgr info``."""
    import SimpleITK as sitk
    import torch

    from ..io.resources import resource_path
    from ..models.model import NETWORKS
    from ..runtime.devices import choose_device, describe_device
    from ..version import VERSION

    models = sorted(path.stem for path in resource_path("Models").glob("*.pt"))
    recipes = sorted(path.name for path in resource_path("Recipes").glob("*.toml"))
    rows = {
        "slsfgr": VERSION,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "PyTorch": torch.__version__,
        "SimpleITK": sitk.__version__,
        "CPU cores": str(os.cpu_count()),
        "Device": describe_device(choose_device()),
        "Networks": ", ".join(NETWORKS),
        "Bundled models": ", ".join(models) or "none",
        "Recipes": ", ".join(recipes) or "none",
        "Resources": str(resource_path()),
    }
    for name, value in rows.items():
        print(f"{name + ':':18s} {value}")
