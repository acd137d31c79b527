"""Acceleration on a GPU, as far as a CPU can test it."""

import pytest
import torch

from SLSFGRLib.networks import SLSFGRNetwork
from SLSFGRLib.training import acceleration
from SLSFGRLib.training.acceleration import compile_parts, mixed_precision
from SLSFGRLib.training.methods.semi_supervised_losses import Example, pair_losses

CPU, GPU = torch.device("cpu"), torch.device("cuda")
STRUCTURES = 3


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = SLSFGRNetwork(STRUCTURES, channels=(4, 6, 8, 8), matching_channels=4)
    for refinement in network.refinements:
        torch.nn.init.normal_(refinement.layers[-1].weight, std=0.3)
    return network


def example(seed):
    draw = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 1, 16, 24, 16, generator=draw)
    labels = torch.rand(1, STRUCTURES + 1, 16, 24, 16, generator=draw).mul(9.0).softmax(dim=1)
    return Example(image, image, labels)


@pytest.mark.parametrize(("can", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_uses_bfloat16_if_it_can(can, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: can)
    # Otherwise torch refuses to be asked without a GPU.
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    with mixed_precision(GPU):
        assert torch.is_autocast_enabled("cuda") == can
        assert not can or torch.get_autocast_dtype("cuda") == expected


def test_mixed_precision_gives_nearly_the_same_losses_and_float32_fields(network, monkeypatch):
    # oneDNN's bfloat16 gradients of small convolutions on a CPU read memory that nothing wrote: now and then NaN.
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    moving, fixed = example(0), example(1)
    whole = pair_losses(network, moving, fixed, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        half = pair_losses(network, moving, fixed, 1.0)
        fields = network(moving.image, fixed.image)
        assert network.segment(fixed.image).dtype == torch.bfloat16
    assert all(field.dtype == torch.float32 for field in fields)
    for name, loss in whole.items():
        assert half[name].dtype == torch.float32, name
        assert float(half[name].detach()) == pytest.approx(float(loss.detach()), rel=0.03), name
    sum(half.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.dtype == torch.float32, name


@pytest.fixture
def compiled(monkeypatch):
    """Which functions are to be compiled; nothing is."""
    seen = []
    monkeypatch.setattr(torch, "compile", lambda function: seen.append(function.__self__) or function)
    return seen


@pytest.mark.parametrize(("device", "triton"), [(CPU, object()), (GPU, None)])
def test_nothing_is_compiled_elsewhere(network, compiled, monkeypatch, device, triton):
    monkeypatch.setattr(acceleration, "find_spec", lambda name: triton)
    compile_parts(network, device)
    assert compiled == []


def test_compiled_parts_give_what_they_gave_before(network, monkeypatch):
    monkeypatch.setattr(acceleration, "find_spec", lambda name: object())
    compile_whole = torch.compile
    # Inductor needs a compiler, which a test's machine may lack; this back end traces alike and runs as it is.
    monkeypatch.setattr(torch, "compile", lambda function: compile_whole(function, backend="aot_eager"))
    image = example(2).image
    before = network.segment(image)
    compile_parts(network, GPU)
    after = network.segment(image)
    torch.testing.assert_close(after, before)
    after.square().mean().backward()
    assert network.segmenter.logits.weight.grad.abs().max() > 0
