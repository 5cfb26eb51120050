"""The memory of an economical blend: what is evaluated when, and what it makes of one prompt's prediction."""

from __future__ import annotations

import pytest
import torch

from safelight.guidance.economy import ALLOWED, BOTH, SAFE, WRITTEN, Memory

SHAPE = (2, 4, 3, 3)


def turns(memory: Memory, weights: list[float], based: bool = True) -> list[str]:
    """The turns of a run with these weights; the predictions do not matter."""
    found = []
    for weight in weights:
        turn = memory.turn(weight, based)
        nothing = torch.zeros(SHAPE)
        if turn == BOTH:
            memory.keep(nothing, nothing, nothing, 1.0)
        else:
            memory.complete(turn, nothing, nothing, 1.0, based)
        found.append(turn)
    return found


@pytest.mark.parametrize("mode", ALLOWED)
@pytest.mark.parametrize("steps", [10, 20, 30, 50])
@pytest.mark.parametrize("based", [True, False])
def test_rows_beyond_a_stock_run_are_the_share_that_is_allowed(mode, steps, based):
    both = turns(Memory(ALLOWED[mode], steps), [0.5] * steps, based).count(BOTH)
    assert both == max(1, int(ALLOWED[mode] * steps * (2 if based else 1) + 1e-9))


def test_a_short_run_evaluates_both_once_and_first():
    found = turns(Memory(0.05, 4), [0.5] * 4)
    assert found[0] == BOTH
    assert BOTH not in found[1:]


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5, 0.6, 0.9])
def test_the_safe_prompts_turns_are_its_weight_in_calls_and_evenly_spread(weight):
    found = turns(Memory(0.0, 1), [weight] * 201)[1:]
    at = [i for i, turn in enumerate(found) if turn == SAFE]
    assert len(at) == pytest.approx(200 * weight, abs=1)
    gaps = [b - a for a, b in zip(at, at[1:], strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_turns_follow_a_weight_that_changes():
    found = turns(Memory(0.0, 1), [0.5] + [0.1] * 100 + [0.9] * 100)[1:]
    assert found[:100].count(SAFE) == pytest.approx(10, abs=1)
    assert found[100:].count(SAFE) == pytest.approx(90, abs=1)


@pytest.mark.parametrize("based", [True, False])
def test_directions_that_keep_still_in_noise_units_give_the_exact_predictions(based):
    """D_c = base + sigma d_c with d_c constant: whatever is evaluated, both are known."""
    d_u, d_s = torch.randn(SHAPE), torch.randn(SHAPE)
    memory = Memory(0.0, 1)
    memory.turn(0.5, based)
    memory.keep(1.0 + 8.0 * d_u, 1.0 + 8.0 * d_s, torch.ones(SHAPE), 8.0)
    for sigma in (5.0, 2.0, 2.5, 0.3):
        base = torch.full(SHAPE, sigma)
        turn = memory.turn(0.5, based)
        alone = base + sigma * (d_s if turn == SAFE else d_u)
        written, safe = memory.complete(turn, alone, base, sigma, based)
        torch.testing.assert_close(written, base + sigma * d_u)
        torch.testing.assert_close(safe, base + sigma * d_s)


@pytest.mark.parametrize("turn", [WRITTEN, SAFE])
@pytest.mark.parametrize(("based", "share"), [(True, 0.5), (False, 0.75)])
def test_what_is_evaluated_stands_and_the_other_takes_its_share_of_the_change(turn, based, share):
    memory = Memory(0.0, 1)
    base = torch.zeros(SHAPE)
    memory.keep(base, base, base, 2.0)
    change = torch.randn(SHAPE)
    written, safe = memory.complete(turn, change, base, 2.0, based)
    evaluated, other = (safe, written) if turn == SAFE else (written, safe)
    assert torch.equal(evaluated, change)
    torch.testing.assert_close(other, share * change)


def test_both_are_evaluated_again_where_what_is_known_no_longer_holds():
    memory = Memory(0.0, 1)
    zero = torch.zeros(SHAPE)
    for call, (based, kind, forgets) in enumerate([(True, "a", False), (True, "a", False), (True, "b", False),
                                                   (True, "b", False), (False, "b", False), (False, "b", False),
                                                   (False, "b", True)]):  # fmt: skip
        if forgets:
            memory.forget()
        turn = memory.turn(0.5, based, kind)
        assert (turn == BOTH) == (call in (0, 2, 4, 6)), call
        if turn == BOTH:
            memory.keep(zero, zero, zero, 1.0)
        else:
            memory.complete(turn, zero, zero, 1.0, based)
