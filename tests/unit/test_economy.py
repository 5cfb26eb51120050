"""The memory of an economical blend: what is evaluated when, and what it makes of one prompt's prediction."""

from __future__ import annotations

import pytest
import torch

from safelight.guidance.blend import POSITIVE, SAFE
from safelight.guidance.economy import ALLOWED, BOTH, Memory

SHAPE = (2, 4, 3, 3)


def selections(memory: Memory, weights: list[float], has_uncond: bool = True) -> list[tuple[str, ...]]:
    """What is evaluated on each call of a run with these weights; the predictions do not matter."""
    selected = []
    for weight in weights:
        names = memory.select(weight, has_uncond)
        nothing = torch.zeros(SHAPE)
        if names == BOTH:
            memory.store(nothing, nothing, nothing, 1.0)
        else:
            memory.reconstruct(names[0], nothing, nothing, 1.0, has_uncond)
        selected.append(names)
    return selected


@pytest.mark.parametrize("mode", ALLOWED)
@pytest.mark.parametrize("steps", [10, 20, 30, 50])
@pytest.mark.parametrize("has_uncond", [True, False])
def test_rows_beyond_a_stock_run_are_the_share_that_is_allowed(mode, steps, has_uncond):
    both = selections(Memory(ALLOWED[mode], steps), [0.5] * steps, has_uncond).count(BOTH)
    assert both == max(1, int(ALLOWED[mode] * steps * (2 if has_uncond else 1) + 1e-9))


def test_a_short_run_evaluates_both_once_and_first():
    selected = selections(Memory(0.05, 4), [0.5] * 4)
    assert selected[0] == BOTH
    assert BOTH not in selected[1:]


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5, 0.6, 0.9])
def test_the_safe_prompts_turns_are_its_weight_in_calls_and_evenly_spread(weight):
    selected = selections(Memory(0.0, 1), [weight] * 201)[1:]
    at = [i for i, names in enumerate(selected) if names == (SAFE,)]
    assert len(at) == pytest.approx(200 * weight, abs=1)
    gaps = [b - a for a, b in zip(at, at[1:], strict=False)]
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5, 0.6, 0.9])
def test_the_safe_prompts_turns_are_never_more_than_half_a_call_from_their_share(weight):
    selected = selections(Memory(0.0, 1), [weight] * 201)[1:]
    for calls in range(1, 201):
        assert abs(selected[:calls].count((SAFE,)) - weight * calls) <= 0.5 + 1e-9, calls


def test_at_equal_weight_the_safe_prompt_goes_first():
    assert selections(Memory(0.0, 1), [0.5] * 4)[1:] == [(SAFE,), (POSITIVE,), (SAFE,)]


def test_a_tenth_or_a_twentieth_of_the_rows_may_come_on_top():
    assert ALLOWED == {"balanced": 0.1, "free": 0.05}


def test_turns_follow_a_weight_that_changes():
    selected = selections(Memory(0.0, 1), [0.5] + [0.1] * 100 + [0.9] * 100)[1:]
    assert selected[:100].count((SAFE,)) == pytest.approx(10, abs=1)
    assert selected[100:].count((SAFE,)) == pytest.approx(90, abs=1)


@pytest.mark.parametrize("has_uncond", [True, False])
def test_directions_that_keep_still_in_noise_units_give_the_exact_predictions(has_uncond):
    """D_c = base + sigma d_c with d_c constant: whatever is evaluated, both are known."""
    d_u, d_s = torch.randn(SHAPE), torch.randn(SHAPE)
    memory = Memory(0.0, 1)
    memory.select(0.5, has_uncond)
    memory.store(1.0 + 8.0 * d_u, 1.0 + 8.0 * d_s, torch.ones(SHAPE), 8.0)
    for sigma in (5.0, 2.0, 2.5, 0.3):
        base = torch.full(SHAPE, sigma)
        (evaluated,) = memory.select(0.5, has_uncond)
        alone = base + sigma * (d_s if evaluated == SAFE else d_u)
        cond, safe = memory.reconstruct(evaluated, alone, base, sigma, has_uncond)
        torch.testing.assert_close(cond, base + sigma * d_u)
        torch.testing.assert_close(safe, base + sigma * d_s)


@pytest.mark.parametrize("name", [POSITIVE, SAFE])
@pytest.mark.parametrize(("has_uncond", "share"), [(True, 0.5), (False, 0.75)])
def test_what_is_evaluated_stands_and_the_other_takes_its_share_of_the_change(name, has_uncond, share):
    memory = Memory(0.0, 1)
    base = torch.zeros(SHAPE)
    memory.store(base, base, base, 2.0)
    change = torch.randn(SHAPE)
    cond, safe = memory.reconstruct(name, change, base, 2.0, has_uncond)
    evaluated, other = (safe, cond) if name == SAFE else (cond, safe)
    assert torch.equal(evaluated, change)
    torch.testing.assert_close(other, share * change)


def test_both_are_evaluated_again_where_what_is_known_no_longer_holds():
    memory = Memory(0.0, 1)
    zero = torch.zeros(SHAPE)
    for call, (has_uncond, kind, forgets) in enumerate(
        [
            (True, "a", False),
            (True, "a", False),
            (True, "b", False),
            (True, "b", False),
            (False, "b", False),
            (False, "b", False),
            (False, "b", True),
        ]
    ):
        if forgets:
            memory.invalidate()
        names = memory.select(0.5, has_uncond, kind)
        assert (names == BOTH) == (call in (0, 2, 4, 6)), call
        if names == BOTH:
            memory.store(zero, zero, zero, 1.0)
        else:
            memory.reconstruct(names[0], zero, zero, 1.0, has_uncond)
