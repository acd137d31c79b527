"""Training of brain extraction on synthetic images of whole heads."""

import torch
from phantoms import generator
from training_runs import changed

from SLSFGRLib.io.label_table import read_label_table
from SLSFGRLib.models.loading import load_model
from SLSFGRLib.networks.brain_extraction import CLASSES
from SLSFGRLib.training import Trainer, read_recipe
from SLSFGRLib.training.methods.brain_extraction import target

RECIPE = """
name = "phantom"
[model]
network = "brain_extraction"
factor = 4
pair_steps = 0
[model.network_options]
channels = [6, 8, 8]
[data]
training_maps = ["phantom_[ab].npz"]
validation_maps = ["phantom_[cd].npz"]
[synthesis]
t1_share = 1.0
random_share = 0.0
rotation_degrees = 5.0
large_rotation_chance = 0.0
cut_chance = 0.0
slice_chance = 0.0
strip_chance = 0.0
outside_chance = 0.5
[supervision]
shape = [48, 48, 48]
[training]
method = "brain_extraction"
seed = 1
steps = 40
learning_rate = 2e-2
validate_every = 20
"""


def test_classes_of_labels_are_brain_csf_and_all_else():
    csf = next(number for number, row in enumerate(read_label_table(), 1) if row.name == "Cerebrospinal fluid")
    labels = torch.tensor([0, 0, 0, 0, csf, csf, 1, 2], dtype=torch.uint8).view(8, 1, 1, 1)
    assert target(labels).flatten().tolist() == [0.5, 0.25, 0.25]
    assert CLASSES == ("outside", "csf", "brain")


def test_brain_is_learned(label_map_folder, tmp_path):
    (label_map_folder / "brain.toml").write_text(RECIPE)
    recipe = changed(read_recipe(label_map_folder / "brain.toml"), "supervision", shape=(32, 32, 32))
    trainer = Trainer(recipe, tmp_path)
    trainer.run()
    first, last = trainer.rows[0], trainer.rows[-1]
    # Measured: 0.63.
    assert last["training_extraction"] < 0.7 * first["training_extraction"]
    assert last["validation_dice"] > first["validation_dice"]
    assert load_model(str(tmp_path / "model.pt")).settings.network == "brain_extraction"


def test_fields_of_view_differ(label_map_folder, tmp_path):
    (label_map_folder / "brain.toml").write_text(RECIPE)
    trainer = Trainer(read_recipe(label_map_folder / "brain.toml"), tmp_path)
    shapes = {tuple(trainer.method._synthesiser(generator(seed)).shape) for seed in range(20)}
    assert {size for shape in shapes for size in shape} == {24, 32, 40, 48}
    assert len(shapes) > 8
