"""The words of docs/develop/glossary.md: old ones must not return to what has been rewritten."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# Files and folders without old words; take none out.
CLEAN = (
    "benchmarks",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs",
    "README.md",
    "Resources/Models",
    "Resources/Recipes",
    "Resources/report",
    "SLSFGR",
    "SLSFGRLib",
    "Testing",
    "tools",
)
# These list the old words.
EXCEPT = ("docs/develop/glossary.md", "Testing/test_words.py")
# An old phrase as a regular expression, in lower case and with spaces for underscores, and what to say instead.
OLD = {
    r"\bbrightness(es)?\b|structurebrightness|brightnessmap": "intensity",
    r"\b(un)?likeness(es)?\b|likeness": "similarity, dissimilarity",
    r"\bmean brains?\b|\bmean of many brains\b": "population template",
    r"\bdrawn to\b": "template-guided, averaged with, regularised towards",
    r"\bby way of\b|\bway by the mean\b": "via the template",
    r"\bthe way back\b": "inverse",
    r"\bships\b|\bwhich ship\b|\bthat ship\b|\bshipped\b": "bundled, pretrained",
    r"\btold (by|softly|apart by|in full)\b": "estimated from",
    r"\b(go|goes|went|gone|lead|leads) (\w+ )?(\w+ )?astray\b": "fails, diverges",
    r"\bmislead(s|ing)?\b|\bmisled\b": "fails",
    r"\bcarr(y|ies|ied) (\w+ )?over\b|\bcarried[ -](over|labels)\b": "warped; propagated labels, label propagation",
    r"\bdolls?\b": "phantom",
    r"\blearn(s|ed|ing)? on (the|this|each|one|a) (very )?pair\b|\bpair learning\b(?! rate)": "instance optimisation",
    r"\bhalf the digits\b": "mixed precision",
    r"\buneven coil\b": "bias field",
    r"\bfluid, gr[ea]y and white\b": "CSF, GM and WM",
    r"\bsecond look\b|\blooked at again\b": "two-pass segmentation",
    r"\bvoxels a side\b": "downsampling factor, along each axis",
    r"\bborder that stays still\b|\bstill border\b": "zero displacement boundary condition",
    r"\bskull away\b|\bskull removed\b|\bbrain alone is left\b": "skull-stripped",
    r"\bright answer\b": "ground truth",
    r"\bmade alike\b|\bas alike as\b": "contrast-matched",
    r"\bto be blamed\b|\banew\b|\bwhole or not at all\b|\bhas its say\b": "plain words",
}
# What someone from the field searches for.
TERMS = ("template", "bias field", "instance optimisation", "tissue probability map", "label propagation")


def files_of(part):
    path = REPOSITORY / part
    files = [path] if path.is_file() else path.rglob("*")
    return sorted(file for file in files if file.suffix in (".md", ".py", ".toml", ".html", ".css", ".ui"))


def old_words(text):
    """Each old phrase in a text: the number of its line, the phrase, and what to say instead.

    A phrase may go on in the next line, also behind the sign of a comment.
    """
    plain = text.lower().replace("_", " ")
    joined = re.sub(r"\s*\n[\s#|>*]*", lambda match: "\n" * match.group().count("\n"), plain)
    for pattern, instead in OLD.items():
        for match in re.finditer(pattern.replace(" ", r"\s+"), joined):
            yield joined.count("\n", 0, match.start()) + 1, " ".join(match.group().split()), instead


@pytest.mark.parametrize("part", CLEAN)
def test_no_old_words(part):
    files = files_of(part)
    assert files
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {phrase!r}; use: {instead}"
        for path in files
        if str(path.relative_to(REPOSITORY)) not in EXCEPT
        for line, phrase, instead in old_words(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize("term", TERMS)
def test_terms_of_the_field_are_found(term):
    pages = [path for path in files_of("docs") if str(path.relative_to(REPOSITORY)) not in EXCEPT]
    assert any(term in path.read_text(encoding="utf-8").lower() for path in pages)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The bias\nfield is modelled. Membership is told.", []),
        ("one\n\n    two # of\n# its brightness", [(4, "brightness")]),
        ("LEAST_LIKENESS = 0.9", [(1, "likeness")]),
        ("The labels are carried\n    # over.", [(1, "carried over")]),
        ("class StructureBrightness:", [(1, "structurebrightness")]),
    ],
)
def test_old_words_are_found_where_they_stand(text, expected):
    assert [(line, phrase) for line, phrase, _ in old_words(text)] == expected
