"""Work on two things at once."""

import threading
import time

import pytest
import torch

from SLSFGRLib.runtime.parallel import both, in_background


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request, monkeypatch):
    """Run every test with one thread and with two."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return request.param


def test_both_results_are_returned_in_order():
    assert both(lambda first, second: (first, second), ("a", 1), ("b", 2)) == (("a", 1), ("b", 2))


def test_both_calls_run_at_once_if_there_are_two_threads(threads):
    if threads == 1:
        assert both(lambda _: threading.get_ident(), (0,), (1,)) == (threading.get_ident(),) * 2
        return
    meeting = threading.Barrier(2, timeout=10.0)
    # Neither call could pass the barrier alone.
    assert sorted(both(lambda _: meeting.wait(), (0,), (1,))) == [0, 1]


@pytest.mark.parametrize("failing", ["first", "second"])
def test_error_of_either_call_is_passed_on(failing):
    def work(name):
        if name == failing:
            raise ValueError(name)
        return name

    with pytest.raises(ValueError, match=failing):
        both(work, ("first",), ("second",))


def test_second_call_has_ended_when_the_error_of_the_first_is_passed_on():
    ended = []

    def work(name):
        if name == "first":
            raise ValueError(name)
        time.sleep(0.2)
        ended.append(name)

    with pytest.raises(ValueError, match="first"):
        both(work, ("first",), ("second",))
    assert ended == ["second"]


def test_there_are_no_gradients_in_either_call_and_those_of_the_caller_are_kept():
    weight = torch.ones(3, requires_grad=True)
    first, second = both(lambda factor: factor * weight, (2.0,), (3.0,))
    assert not first.requires_grad
    assert not second.requires_grad
    assert (2.0 * weight).requires_grad
    assert not in_background(lambda: 2.0 * weight).result().requires_grad


def test_work_in_the_background_returns_its_result_or_its_error():
    assert in_background(lambda first, second: first + second, 1, 2).result() == 3
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 // 0).result()
