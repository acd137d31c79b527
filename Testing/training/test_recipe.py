"""Reading recipes, and what is refused in them."""

import sys
from dataclasses import replace

import pytest
from training_runs import changed

from SLSFGRLib.cli import main
from SLSFGRLib.errors import InputError
from SLSFGRLib.io.resources import resource_path
from SLSFGRLib.training import Recipe, read_recipe
from SLSFGRLib.training.sections import Augmentation

SEMI_SUPERVISED = """
[model]
network = "sl_sfgr"
[model.network_options]
structures = 30
channels = [4, 6, 8, 8]
matching_channels = 4
[supervision]
segmentation_steps = 2
[training]
method = "semi_supervised"
"""
SHARES = ("t1_share", "t2_share", "pd_share", "flair_share", "random_share")
WEAKLY_SUPERVISED = """
[model]
network = "hu_local"
pair_steps = 0
[model.network_options]
channels = [4, 6]
matching_channels = 4
[data]
training_maps = ["*.nii.gz"]
[training]
method = "weakly_supervised"
"""


def write_recipe(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def refused(folder, text):
    """What is said of a recipe behind its name."""
    path = write_recipe(folder, text)
    with pytest.raises(InputError) as error:
        read_recipe(path)
    return str(error.value).removeprefix(f"{path}: ")


def test_entries_that_are_left_out_have_defaults(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, "[model]\nsimilarity = 'ncc'\n[training]\nsteps = 7\n"))
    assert (recipe.name, recipe.folder) == ("recipe", tmp_path)
    assert recipe.model.similarity == "ncc"
    assert recipe.model.level_weights == (0.3, 0.6, 1.0)
    assert recipe.augmentation == Augmentation()
    assert (recipe.training.steps, recipe.training.seed) == (7, 0)


def test_numbers_and_lists_have_the_types_of_their_entries(tmp_path):
    text = "name = 'a'\n[model]\nroughness = 2\nlevel_weights = [1, 0.5, 2]\nnetwork_options = {channels = [2, 3, 4]}\n"
    recipe = read_recipe(write_recipe(tmp_path, text))
    assert recipe.name == "a"
    assert isinstance(recipe.model.roughness, float)
    assert recipe.model.level_weights == (1.0, 0.5, 2.0)
    assert recipe.model.network_options == {"channels": [2, 3, 4]}


@pytest.mark.parametrize("path", sorted(resource_path("Recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_bundled_recipe_can_be_read_and_built(path):
    recipe = read_recipe(path)
    recipe.model.build()
    recipe.model.objective()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model\n", "is not a TOML file: "),
        ("[optimiser]\n", "optimiser: is unknown; allowed: name, model, data, "),
        ("[model]\nfacter = 2\n", "model.facter: is unknown; allowed: network, network_options, factor, "),
        ("[model]\nfactor = 2.5\n", "model.factor: must be 1, 2, 4 or 8, not 2.5."),
        ("[model]\npyramid = [3]\n", "model.pyramid.0: must be 1, 2, 4 or 8, not 3."),
        ("[model]\npyramid = [2, 4]\n", "model: pyramid: must be falling numbers out of 1, 2, 4, 8."),
        ("[model]\nrounds = 0\n", "model.rounds: must be greater than or equal to 1, not 0."),
        ("[model]\nroughness = '1'\n", "model.roughness: must be a valid number, not '1'."),
        ("[model]\nroughness = nan\n", "model.roughness: must be a finite number, not nan."),
        ("[model]\nlevel_weights = [1, 2]\n", "model.level_weights: must have at least 3 items, not 2."),
        ("[model]\npenalty = 'none'\n", "model.penalty: must be 'tv', 'gradient' or 'bending', not 'none'."),
        ("[model.network_options]\nx = 1\n", "model: network 'li_fan': does not take these options: "),
        ("[data]\ntraining = 'a.nii'\n", "data.training: must be a valid list, not 'a.nii'."),
        ("[data]\nalign_cases = 1\n", "data.align_cases: must be a valid boolean, not 1."),
        ("[synthesis]\nflip_chance = 2\n", "synthesis.flip_chance: must be less than or equal to 1, not 2."),
        ("[training]\nsteps = true\n", "training.steps: must be a valid integer, not True."),
        ("[training]\nmethod = 'x'\n", "training.method: must be 'self_supervised', 'semi_supervised', 'weakly_"),
        ("[training]\nfrozen = ['x']\n", "training.frozen: the network has no part 'x'; use some of encode_fine, "),
        ("training = 3\n", "training: must be a table, not 3."),
    ],
)
def test_mistake_in_a_recipe_is_named(tmp_path, text, message):
    assert refused(tmp_path, text).startswith(message)


def test_all_mistakes_are_named_at_once(tmp_path):
    found = refused(tmp_path, "[data]\ntrain = ['a']\n[augmentation]\nscale = -1\n[training]\nsteps = 2.5\n")
    parts = found.split("; ")
    assert parts[0] == "data.train: is unknown"
    assert parts[2:] == [
        "augmentation.scale: must be greater than or equal to 0, not -1",
        "training.steps: must be a valid integer, not 2.5.",
    ]


def test_all_contradictions_are_named_at_once(tmp_path):
    more = "[supervision]\nshape = [8, 12, 9]\n[weak_supervision]\nfeature_steps = 1\n"
    assert refused(tmp_path, WEAKLY_SUPERVISED + more) == (
        "supervision.shape: must be three multiples of 4, not [8, 12, 9]; "
        "weak_supervision.feature_steps: must be 0 while feature_weight is 0."
    )


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("supervision", {"shape": (80, 96, 84)}, r"supervision\.shape: must be three multiples of 8"),
        ("model", {"network_options": {"structures": 3}}, r"model\.network_options: structures must be 30"),
        ("model", {"network": "li_fan", "network_options": {}}, r"model\.network: 'li_fan' cannot be trained"),
        (
            "training",
            {"frozen": ("encoder", "segmenter")},
            "segmentation_steps: must be 0 while encoder and",
        ),
        ("training", {"frozen": ("decoder",)}, r"no part 'decoder'; use some of encoder, segmenter, adapters, refine"),
    ],
)
def test_contradiction_of_a_semi_supervised_recipe_is_named(tmp_path, section, values, message):
    recipe = read_recipe(write_recipe(tmp_path, SEMI_SUPERVISED))
    with pytest.raises(InputError, match=message):
        changed(recipe, section, **values)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("weak_supervision", {"labels_per_step": 0}, "labels_per_step: must be greater than or equal to 1, not 0"),
        ("weak_supervision", {"label_weight": 0.0}, "one of label_weight and similarity_weight must be above 0"),
        ("weak_supervision", {"similarity_weight": -1.0}, "similarity_weight: must be greater than or equal to 0"),
        ("weak_supervision", {"label_measure": "jaccard"}, "label_measure: must be 'dice', 'cross_entropy' or 'mean_"),
        ("weak_supervision", {"scales": ()}, "scales: must have at least 1 item"),
        (
            "synthesis",
            dict.fromkeys(SHARES, 0.0),
            "one of",
        ),
        ("model", {"pair_steps": 5}, r"model\.pair_steps: must be 0 for weakly_supervised"),
        ("data", {"training_maps": ()}, "data: has neither training_cases and training_maps"),
        ("data", {"training_cases": ("*.toml",)}, "data: has both training_cases and training_maps"),
    ],
)
def test_contradiction_of_a_weakly_supervised_recipe_is_named(tmp_path, section, values, message):
    recipe = read_recipe(write_recipe(tmp_path, WEAKLY_SUPERVISED))
    with pytest.raises(InputError, match=message):
        changed(recipe, section, **values)


def test_missing_recipe_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.toml: there is no such recipe"):
        read_recipe(tmp_path / "nothing.toml")


def test_pattern_without_a_file_is_named(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, "[data]\ntraining = ['brain_*.nii.gz']\n"))
    with pytest.raises(InputError, match=r"brain_\*\.nii\.gz: no file matches this pattern of \[data\] training"):
        recipe.files("training")


def test_environment_variable_stands_for_a_folder(tmp_path, monkeypatch):
    data = tmp_path / "images [1]"
    data.mkdir()
    for name in "ba":
        (data / f"head_{name}.nii.gz").touch()
    recipe = read_recipe(write_recipe(tmp_path, "[data]\ntraining = ['${HEADS}/head_*.nii.gz']\n"))
    monkeypatch.delenv("HEADS", raising=False)
    with pytest.raises(InputError, match="the environment variable HEADS is not set"):
        recipe.files("training")
    monkeypatch.setenv("HEADS", str(data))
    assert recipe.files("training") == [data / "head_a.nii.gz", data / "head_b.nii.gz"]


def test_a_recipe_can_be_made_without_a_file(tmp_path):
    recipe = Recipe("mine", tmp_path)
    assert recipe == replace(recipe)
    with pytest.raises(InputError, match=r"^training\.steps: must be greater than or equal to 1, not 0\.$"):
        changed(recipe, "training", steps=0)


def test_a_sentence_says_that_pydantic_is_missing(tmp_path, monkeypatch, capsys):
    # What needs pydantic is loaded once more.
    for name in [name for name in sys.modules if name.startswith("SLSFGRLib.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    assert main(["train", str(write_recipe(tmp_path, "")), "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "training needs the package pydantic; install it: pip install 'slsfgr[train]'." in said
    assert len(said.strip().splitlines()) == 1
