"""What frames of a strip take from one another: rows that are the same bit for bit, of one noise level at a time."""

from __future__ import annotations

import pytest
import torch

from safelight.engine.run_record import RunRecord
from safelight.engine.shared_rows import SharedRows

COND, UNCOND = 0, 1
NAN = float("nan")


def rows(*values):
    """A row [2, 2] for each value."""
    return torch.stack([torch.full((2, 2), value) for value in values])


@pytest.fixture
def ask():
    """A call with a row for each value of x: its answer. record: what was counted; evaluated: the rows of every call
    that was not known."""
    memory, record, evaluated = SharedRows(), RunRecord(), []

    def network(x, timestep, c_crossattn, **_):
        return x * 2 + c_crossattn + timestep[:, None, None] + len(x) / 1000

    def inner(apply_model, args):
        evaluated.append(args["input"][:, 0, 0].tolist())
        record.rows += len(args["input"])
        return apply_model(args["input"], args["timestep"], **args["c"])

    wrapper = memory.before(inner, None, record)

    def call(x, texts, sigmas=1.0, kinds=None, **more):
        sigmas = sigmas if isinstance(sigmas, list) else [sigmas] * len(x)
        c = {"c_crossattn": rows(*texts), "transformer_options": {"uuids": [object()]}, **more}
        args = {"input": rows(*x), "timestep": torch.tensor(sigmas), "c": c}
        return wrapper(network, {**args, "cond_or_uncond": kinds or [COND] * len(x)})

    call.record, call.evaluated = record, evaluated
    return call


def test_rows_that_are_known_are_answered_and_counted_in_any_order_and_number(ask):
    answer = ask([1.0, 2.0, 1.0], [5.0, 5.0, 6.0])
    assert torch.equal(ask([1.0, 1.0], [6.0, 5.0]), answer[[2, 0]])
    assert torch.equal(ask([2.0], [5.0]), answer[[1]])
    assert ask.evaluated == [[1.0, 2.0, 1.0]]
    assert ask.record.remembered_rows == 3 == ask.record.rows


@pytest.mark.parametrize(
    "other",
    [{"x": [1.0000001]}, {"x": [-0.0]}, {"texts": [6.0]}, {"sigmas": 1.0000001}, {"kinds": [UNCOND]}],
    ids=str,
)
def test_a_row_that_differs_in_a_bit_is_another(ask, other):
    given = {"x": [0.0 if other.get("x") == [-0.0] else 1.0], "texts": [5.0]}
    ask(**given)
    ask(**{**given, **other})
    assert len(ask.evaluated) == 2 and ask.record.remembered_rows == 0


def test_a_further_conditioning_counts_too(ask):
    for value in (1.0, 2.0, 1.0):
        ask([1.0], [5.0], y=rows(value))
    assert len(ask.evaluated) == 2 and ask.record.remembered_rows == 1


def test_rows_of_a_call_may_have_noise_levels_of_their_own(ask):
    ask([1.0, 1.0], [5.0, 5.0], sigmas=[1.0, 2.0])
    ask([1.0, 1.0], [5.0, 5.0], sigmas=[1.0, 3.0])
    assert len(ask.evaluated) == 2 and ask.record.remembered_rows == 0


def test_another_noise_level_forgets(ask):
    for sigma in (1.0, 2.0, 1.0):
        ask([1.0], [5.0], sigmas=sigma)
    assert len(ask.evaluated) == 3 and ask.record.remembered_rows == 0


def test_a_call_of_which_only_some_rows_are_known_is_evaluated_whole_and_known_from_then_on(ask):
    first = ask([1.0, 2.0], [5.0, 5.0])
    second = ask([1.0, 3.0, 2.0], [5.0, 5.0, 5.0])
    assert ask.evaluated[1] == [1.0, 3.0, 2.0] and ask.record.remembered_rows == 0
    assert not torch.equal(second[0], first[0]), "the last bits are those of its own call"
    assert torch.equal(ask([3.0, 1.0], [5.0, 5.0]), second[[1, 0]])
    assert len(ask.evaluated) == 2 and ask.record.remembered_rows == 2


def test_a_latent_of_nan_is_known_and_a_noise_level_of_nan_never_is(ask):
    answer = ask([NAN, 1.0], [5.0, 5.0])
    assert torch.equal(ask([1.0], [5.0]), answer[[1]]) and ask([NAN], [5.0]).isnan().all()
    assert len(ask.evaluated) == 1 and ask.record.remembered_rows == 2
    for _ in range(2):
        ask([1.0], [5.0], sigmas=NAN)
    assert len(ask.evaluated) == 3 and ask.record.remembered_rows == 2


@pytest.mark.parametrize(
    "more",
    [{"y": rows(1.0)}, {"control": {"middle": [rows(1.0, 1.0)]}}, {"frames": 2}],
    ids=["of another length", "a ControlNet's", "a number"],
)
def test_what_is_not_told_row_by_row_is_evaluated_each_time(ask, more):
    for _ in range(2):
        ask([1.0, 2.0], [5.0, 5.0], **more)
    assert len(ask.evaluated) == 2 and ask.record.remembered_rows == 0
    ask([1.0, 2.0], [5.0, 5.0])
    assert len(ask.evaluated) == 3, "nor is it taken for the call without it"
