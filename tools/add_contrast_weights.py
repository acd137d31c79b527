"""Give a segmentation model weights of its own for other contrasts than T1.

``python -m tools.add_contrast_weights MODEL CONTRASTS OUTPUT``; both models have networks of the same form.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from SLSFGRLib.models.loading import load_model

from .build_template import write_checksum


def main() -> None:
    """Read both, join them, write the result with its checksum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model file, or sl_sfgr; its other weights are kept")
    parser.add_argument(
        "contrasts",
        help="a model file of slsfgr train, by Resources/Recipes/sl_sfgr_5_contrasts.toml, or a model that has such "
        "weights beside others, as sl_sfgr",
    )
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    given = load_model(arguments.contrasts)
    network = given.network if given.other_contrasts is None else given.other_contrasts
    replace(load_model(arguments.model), other_contrasts=network).save(arguments.output)
    write_checksum(arguments.output)


if __name__ == "__main__":
    main()
