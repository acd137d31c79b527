"""Segment real brains and score them by manual labels: ``python -m benchmarks.segmentation --output DIR``.

The manual labels follow Neuromorphometrics' protocol; they are merged to the structures that both they and we have.
"""

from __future__ import annotations

from pathlib import Path

from .data import BRAINS, Brain
from .experiment import arguments, run
from .processes import isolated

CONDITIONS = ("plain", "t2", "thick", "thick-at-1mm", "turned")


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, "slsfgr")
    parser.add_argument("--count", type=int, help="only the first so many brains")
    parser.add_argument("--condition", choices=CONDITIONS, default="plain", help="see image_variants.py")
    given = parser.parse_args()
    names = sorted(path.name.removesuffix("_t1.nii.gz") for path in BRAINS.glob("*_t1.nii.gz"))[: given.count]
    folder = given.output / given.condition
    brains = {f"{given.condition}/{name}": _made(name, given.condition, folder) for name in names}
    run(given, brains, "benchmarks.score:segmentation")


def _made(name: str, condition: str, folder: Path) -> Brain:
    """Return a brain in some condition with its labels, both made on first use."""
    brain = Brain(folder / f"{name}.nrrd", folder / f"{name}_labels.nrrd")
    if not brain.labels.exists():
        isolated("benchmarks.segmentation:make", name, condition, brain)
    return brain


def make(name: str, condition: str, brain: Brain) -> None:
    """Write a brain in some condition with its labels; runs in a process of its own."""
    import SimpleITK as sitk

    from .image_variants import VARIANTS, write
    from .label_protocols import manual_structures

    image = sitk.ReadImage(str(BRAINS / f"{name}_t1.nii.gz"))
    labels = manual_structures(sitk.ReadImage(str(BRAINS / f"{name}_labels.nii.gz")))
    for made, path in zip(VARIANTS[condition](image, labels), (brain.image, brain.labels), strict=True):
        write(made, path)


if __name__ == "__main__":
    main()
