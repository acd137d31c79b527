"""Choose a device, and go on without a card whose memory is full. No card is needed: a faked one reports for it."""

import pytest
import torch

from SLSFGRLib.errors import InputError
from SLSFGRLib.runtime.devices import CARD_IS_FULL, MIN_CUDA_MEMORY, choose_device, describe_device, with_cpu_fallback

FULL = torch.cuda.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture
def no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def card(monkeypatch):
    """A machine with two cards, with 8 GB free."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8_000_000_000, 12_000_000_000))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


class Work:
    """Work that notes where it was done, and for which a card is too small."""

    def __init__(self, error=FULL):
        self.error = error
        self.devices = []

    def __call__(self, device, notes):
        self.devices.append(device.type)
        if device.type == "cuda":
            notes.append("from the card")
            raise self.error
        return notes


def test_auto_takes_the_cpu_where_there_is_no_card(no_card):
    assert choose_device("auto") == torch.device("cpu")


def test_auto_takes_a_card_with_enough_free_memory(card, monkeypatch):
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (MIN_CUDA_MEMORY - 1, 12_000_000_000))
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_named_device_is_taken(card, name):
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:first", "cudaX", ""])
def test_unknown_device_is_refused(card, name):
    with pytest.raises(InputError, match="there is no such device; use auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_absent_card_is_refused(card, monkeypatch):
    with pytest.raises(InputError, match="device 'cuda:2': there are only 2 CUDA devices"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'cuda': PyTorch finds no CUDA device here; use auto or cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(("count", "text"), [(1, "cpu (1 thread)"), (2, "cpu (2 threads)")])
def test_description_of_the_cpu_has_its_threads(monkeypatch, count, text):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    assert describe_device(torch.device("cpu")) == text


def test_work_gets_the_device_and_an_empty_list_of_notes(no_card):
    assert with_cpu_fallback("cpu", lambda device, notes: (device, notes)) == (torch.device("cpu"), [])


def test_auto_continues_on_the_cpu_with_a_note_when_the_card_is_full(card):
    work = Work()
    # The notes of the first attempt are no part of the result.
    assert with_cpu_fallback("auto", work) == [CARD_IS_FULL]
    assert work.devices == ["cuda", "cpu"]


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_named_card_that_is_full_is_an_input_error_of_one_sentence(card, name):
    work = Work()
    with pytest.raises(InputError) as error:
        with_cpu_fallback(name, work)
    assert str(error.value) == f"device '{name}': its memory is too small; use auto or cpu."
    assert work.devices == ["cuda"]


def test_other_error_of_a_card_is_passed_on(card):
    work = Work(RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        with_cpu_fallback("auto", work)
    assert work.devices == ["cuda"]


@pytest.mark.parametrize(
    "shortage",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")],
    ids=["Python", "torch"],
)
@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_shortage_of_the_computers_memory_is_an_input_error_of_one_sentence(card, name, shortage):
    def work(device, notes):
        raise torch.cuda.OutOfMemoryError if device.type == "cuda" else shortage

    with pytest.raises(InputError) as error:
        with_cpu_fallback(name, work)
    assert str(error.value) == (
        "the memory of this computer is too small for these images; close other programs, or crop the images."
    )
    assert error.value.__cause__ is shortage


@pytest.mark.parametrize("error", [InputError("the image is empty."), RuntimeError("sizes differ"), KeyError("a")])
def test_other_errors_on_the_cpu_are_passed_on(no_card, error):
    def work(device, notes):
        raise error

    with pytest.raises(type(error)) as found:
        with_cpu_fallback("cpu", work)
    assert found.value is error
