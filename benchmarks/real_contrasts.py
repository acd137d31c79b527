"""Register real T2 and FLAIR images of two people: ``python -m benchmarks.real_contrasts --output DIR``.

``like/`` registers two people's images of one contrast, ``unlike/`` a T1 image to another person's T2 or FLAIR. Nobody
has labelled these images. The labels are those that ``slsfgr segment`` finds in the T1 image of the same head, brought
to the image by a rigid transform, so that what a system finds in T2 or FLAIR does not decide about its own score.
"""

from __future__ import annotations

from pathlib import Path

from .data import BRAINS, DATA, Pair
from .experiment import arguments, run
from .processes import isolated

HEADS, PATIENTS = DATA / "heads", DATA / "patients"
FILES = {"t1": "T1W", "t2": "T2W", "flair": "FLAIR"}
# T1, T2 and FLAIR of one head each, of one session.
PEOPLE = {
    "patient": {"t1": HEADS / "patient_t1.nii.gz", "t2": HEADS / "patient_t2.nii.gz"},
    **{
        number: {name: PATIENTS / f"{number}_1_{file}.nii.gz" for name, file in FILES.items()}
        for number in ("01", "04")
    },
    "07": {name: PATIENTS / f"stripped_07_{name.upper()}.nii.gz" for name in ("t1", "t2", "flair")},
    "1012": {"t1": BRAINS / "1012_t1.nii.gz"},
    "icbm152": {"t1": HEADS / "icbm152_t1.nii.gz"},
}
LIKE = (
    ("t2", "patient", "07"),
    ("t2", "01", "07"),
    ("t2", "07", "04"),
    ("t2", "patient", "01"),
    ("flair", "01", "07"),
    ("flair", "07", "04"),
)
UNLIKE = (
    ("t2", "07", "icbm152"),
    ("t2", "patient", "1012"),
    ("t2", "01", "icbm152"),
    ("t2", "04", "1012"),
    ("flair", "07", "icbm152"),
    ("flair", "01", "1012"),
    ("flair", "04", "icbm152"),
)


def main() -> None:
    """Run the experiment."""
    parser = arguments(__doc__, "slsfgr-fast,slsfgr-standard")
    given = parser.parse_args()
    cases = {}
    for kind, pairs in (("like", LIKE), ("unlike", UNLIKE)):
        for contrast, fixed, moving in pairs:
            images = (fixed, contrast), (moving, contrast if kind == "like" else "t1")
            paths = [PEOPLE[person][name] for person, name in images]
            labels = [_labels(given.output / "labels", person, name) for person, name in images]
            cases[f"{kind}/{contrast}-{fixed}-{moving}"] = Pair(*paths, *labels)
    run(given, cases, "benchmarks.score:registration")


def _labels(folder: Path, person: str, contrast: str) -> Path:
    """Return the label map of an image, which is made on first use."""
    path = folder / f"{person}_{contrast}.nii.gz"
    if not path.exists():
        isolated("benchmarks.real_contrasts:make_labels", PEOPLE[person]["t1"], PEOPLE[person][contrast], path)
    return path


def make_labels(t1: Path, image: Path, path: Path) -> None:
    """Write the structures of a T1 image on the grid of another image of the same head."""
    import SimpleITK as sitk

    import SLSFGRLib

    from .image_variants import write
    from .score import EXTRACEREBRAL_CSF

    first, other = sitk.ReadImage(str(t1)), sitk.ReadImage(str(image))
    labels = SLSFGRLib.segment(first)
    if image != t1:
        transform = SLSFGRLib.register(other, first, mode="fast", transform="rigid").transform
        labels = sitk.Resample(labels, other, transform, sitk.sitkNearestNeighbor)
    write(sitk.Mask(labels, labels != EXTRACEREBRAL_CSF), path)


if __name__ == "__main__":
    main()
