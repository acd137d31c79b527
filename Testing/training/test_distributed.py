"""Several processes: the same training as in one, resumed in either direction, ended with one message."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from training_runs import changed, prepared, state_of

from SLSFGRLib.errors import InputError
from SLSFGRLib.training import Trainer, distributed, read_recipe, trainer
from SLSFGRLib.training.distributed import ProcessLostError

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
name = "tiny"
[model]
factor = 4
similarity = "ncc"
penalty = "gradient"
roughness = 0.1
[model.network_options]
channels = [2, 3, 4]
diffeomorphic = true
[data]
training = ["head_[ab].nii.gz"]
validation = ["head_c.nii.gz", "head_d.nii.gz", "head_e.nii.gz"]
[training]
seed = 3
steps = 8
batch = 2
learning_rate = 5e-3
validate_every = 4
"""


@pytest.fixture(scope="module")
def recipe(head_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several processes")
    # Three validation images, which two processes cannot share equally.
    for name, source in zip("abcde", "abcab", strict=True):
        (folder / f"head_{name}.nii.gz").write_bytes((head_folder / f"head_{source}.nii.gz").read_bytes())
    (folder / "recipe.toml").write_text(RECIPE)
    return read_recipe(folder / "recipe.toml")


@contextmanager
def two_processes(recipe, folder, *options):
    """Start the documented command with two processes on this machine, and end it in any case."""
    # Some containers cannot look up their own name, so torchrun is given an address.
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc_per_node", "2"]
    training = ["-m", "SLSFGRLib", "train", str(recipe.folder / "recipe.toml"), "--output", str(folder)]
    job = subprocess.Popen(
        [sys.executable, *torchrun, *training, "--device", "cpu", *options],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    try:
        yield job
    finally:
        job.terminate()
        job.wait()


def train_and_keep(recipe, folder, copy, step):
    """Train in this process, and keep a copy of the folder at a step."""

    def keep(fraction, message):
        if round(fraction * recipe.training.steps) == step + 1:
            shutil.copytree(folder, copy)

    Trainer(recipe, folder, "cpu").run(keep)
    assert state_of(copy / "checkpoint.pt")["step"] == step


def assert_same_curve(first, second):
    expected, found = (state_of(folder / "checkpoint.pt")["rows"] for folder in (first, second))
    assert len(found) == 2
    for one, other in zip(expected, found, strict=True):
        assert other == pytest.approx(one, rel=1e-4), one["step"]


@pytest.mark.slow
def test_two_processes_train_as_one_and_each_resumes_the_other_s_checkpoint(recipe, tmp_path):
    whole, first_one, first_two = (tmp_path / name for name in ("whole", "first one", "first two"))
    whole.mkdir()
    train_and_keep(recipe, whole, first_one, 4)
    with two_processes(recipe, first_one, "--resume", "--quiet") as job:
        output, errors = job.communicate(timeout=240)
    assert output.split("\n") == [str(first_one / "model.pt"), ""], errors
    assert_same_curve(whole, first_one)
    names = ["checkpoint.pt", "curve.csv", "curve.png", "model.pt", "samples.png"]
    assert sorted(path.name for path in first_one.iterdir()) == names

    with two_processes(recipe, first_two) as job:
        kill_second_process_after_first_checkpoint(job, first_two)
        _, errors = job.communicate(timeout=120)
    said = [line for line in errors.splitlines() if line.startswith("slsfgr:")]
    assert len(said) == 1, errors
    assert said[0].endswith(f"continue from the last checkpoint in {first_two} with --resume.")
    assert job.returncode != 0
    assert state_of(first_two / "checkpoint.pt")["step"] < 8
    resumed = Trainer(recipe, first_two, "cpu")
    resumed.resume()
    resumed.run()
    assert_same_curve(whole, first_two)


def kill_second_process_after_first_checkpoint(job, folder):
    while not (folder / "checkpoint.pt").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.01)
    for child in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split():
        if b"\0LOCAL_RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            os.kill(int(child), signal.SIGKILL)
            return
    raise AssertionError("there is no second process")


def test_a_request_to_end_does_not_cut_off_the_message_about_a_lost_process():
    previous = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(ProcessLostError, match="another process of this training has ended"), distributed._others():
            raise RuntimeError("Connection closed by peer")
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_gradients_of_a_step_s_examples_are_averaged(recipe, tmp_path):
    run = prepared(recipe, tmp_path)
    weight, seeds = next(run.network.parameters()), []

    def losses(step, generator):
        seeds.append(generator.initial_seed())
        return {"registration": len(seeds) * 1e-3 * weight.sum()}

    run.method.losses, run.step = losses, 7
    assert len(run._learn()) == 2
    torch.testing.assert_close(weight.grad, torch.full_like(weight, 1.5e-3))
    first = 3 * trainer.SEED_STRIDE + 7 * 2
    assert seeds == [first, first + 1]


def test_a_step_that_processes_cannot_share_is_refused(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "process_count", lambda: 3)
    with pytest.raises(InputError, match=r"training\.batch is 2, which 3 processes cannot share equally; set it to"):
        Trainer(recipe, tmp_path, "cpu")
    Trainer(changed(recipe, "training", batch=6), tmp_path, "cpu")


def test_what_has_a_gradient_in_one_process_gets_it_in_all(monkeypatch):
    both, other_s, nobody_s = parameters = [torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(3)]
    frozen = torch.nn.Parameter(torch.zeros(4), requires_grad=False)
    both.grad = torch.full((2, 3), 1.0)
    # What the other process holds: which of the three have gradients, and these.
    theirs = torch.cat([torch.tensor([1.0, 1.0, 0.0]), torch.full((6,), 0.5), torch.full((6,), 2.0), torch.zeros(6)])
    monkeypatch.setattr(distributed, "process_count", lambda: 2)
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda sums: sums.add_(theirs))
    distributed.add_up_gradients([*parameters, frozen])
    assert torch.equal(both.grad, torch.full((2, 3), 1.5))
    assert torch.equal(other_s.grad, torch.full((2, 3), 2.0))
    assert nobody_s.grad is None
    assert frozen.grad is None


@pytest.mark.parametrize(
    ("device", "number", "expected"),
    [
        ("auto", 1, "cuda:1"),
        ("cuda", 0, "cuda:0"),
        ("cpu", 5, "cpu"),
        ("cuda:1", 0, "--device cuda:1 is one card"),
        ("auto", 2, "there are 2 CUDA devices here, fewer than processes; give torchrun --nproc_per_node 2"),
    ],
)
def test_each_process_has_a_card_of_its_own(device, number, expected, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", str(number))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    try:
        found = distributed._own_device(device)
    except InputError as error:
        found = str(error)
    assert found.startswith(expected)
