"""The dual blend on single calls: what it asks for, and what it makes of the predictions."""

from dataclasses import replace

import pytest
import torch

from safelight.guidance.dual import NOT_ADAPTIVE, DualBlend, allowed_cells, covers_more
from safelight.guidance.economy import BOTH
from safelight.guidance.method import NEGATIVE, POSITIVE, SAFE, Needs, Step
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.selective import Selection
from safelight.guidance.settings import GuidanceSettings

SHAPE = (2, 4, 4, 4)
EVERYWHERE = GuidanceSettings(1.0, WeightSchedule(((0.0, 1.0), (1.0, 1.0)), start_percent=0.0))
LEFT = torch.zeros(1, 4, 4)
LEFT[..., :2] = 1.0
TOP = torch.zeros(SHAPE, dtype=torch.bool)
TOP[..., :2, :] = True


def step(weight=0.5, active=BOTH, uncond=True, entries=0, x=None, **reach):
    x = torch.zeros(SHAPE) if x is None else x
    return Step(x, torch.full((len(x),), 2.0), weight, 0, frozenset(active), uncond, reach.get, lambda: entries)


def method(**settings):
    blend = DualBlend(replace(EVERYWHERE, **settings))
    blend.begin(20)
    return blend


def constant(value):
    return torch.full(SHAPE, value)


DENOISED = {POSITIVE: constant(10.0), SAFE: constant(20.0), NEGATIVE: constant(0.0)}
ALONE = {name: Needs((name,), alone=True) for name in BOTH}


# --- what it asks for


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"weight": 0.5}, Needs(BOTH)),
        ({"weight": 0.0}, ALONE[POSITIVE]),
        ({"weight": 1.0}, ALONE[SAFE]),
        ({"weight": 1.0, "active": (POSITIVE,)}, ALONE[POSITIVE]),
        ({"weight": 0.5, "active": (SAFE,)}, ALONE[SAFE]),
        ({"weight": 0.0, "active": (SAFE,)}, ALONE[POSITIVE]),
        ({"weight": 1.0, SAFE: TOP}, Needs(BOTH)),
        ({"weight": 1.0, POSITIVE: TOP}, ALONE[SAFE]),
        ({"weight": 1.0, POSITIVE: TOP, SAFE: TOP}, ALONE[SAFE]),
        ({"weight": 1.0, POSITIVE: TOP, SAFE: ~TOP}, Needs(BOTH)),
    ],
    ids=str,
)
def test_one_prompt_alone_is_asked_for_where_it_decides_every_cell(given, expected):
    assert method().needs(step(**given)) == expected


@pytest.mark.parametrize("settings", [{"mask": LEFT}, {"selective": Selection()}], ids=["mask", "selective"])
def test_at_full_weight_in_a_part_of_the_picture_both_are_asked_for(settings):
    assert method(**settings).needs(step(1.0)) == Needs(BOTH)
    assert method(**settings).needs(step(0.0)) == ALONE[POSITIVE]


def turns(blend, calls=41, **given):
    """How often each prompt is evaluated alone, after the calls that evaluate both."""
    counts = {(POSITIVE,): 0, (SAFE,): 0}
    for _ in range(calls):
        needs = blend.needs(step(**given))
        blend.combine(step(**given), {name: DENOISED[name] for name in (*needs.conds, NEGATIVE)})
        if needs.conds != BOTH:
            counts[needs.conds] += 1
    return counts


@pytest.mark.parametrize("part", [{"mask": LEFT}, {"selective": Selection()}, {POSITIVE: TOP}, {SAFE: TOP}], ids=str)
def test_where_the_safe_prompt_steers_in_a_part_only_the_other_one_gets_as_many_turns(part):
    """At full weight half the calls; at a third of it a quarter."""
    settings, given = ({}, part) if POSITIVE in part or SAFE in part else (part, {})
    if POSITIVE in part:
        given = {**part, SAFE: ~TOP}  # else the safe prompt would decide alone
    for weight, share in ((1.0, 0.5), (1 / 3, 0.25)):
        counts = turns(method(economy="free", **settings), weight=weight, **given)
        alone = sum(counts.values())
        assert alone > 30 and counts[(SAFE,)] == pytest.approx(alone * share, abs=1)


@pytest.mark.parametrize("weight", [0.25, 0.5])
def test_where_it_steers_everywhere_it_gets_its_weight_in_turns(weight):
    counts = turns(method(economy="free"), weight=weight)
    assert counts[(SAFE,)] == pytest.approx(sum(counts.values()) * weight, abs=1)


def test_what_was_known_before_a_call_of_one_prompt_alone_is_out_of_date():
    blend = method(economy="free")
    turns(blend, calls=5)
    assert blend.needs(step(0.5)).conds != BOTH
    assert blend.needs(step(0.0)) == ALONE[POSITIVE]
    assert blend.needs(step(0.5)) == Needs(BOTH)


def test_other_entries_of_the_prompts_are_other_directions():
    blend = method(economy="free")
    turns(blend, calls=5)
    assert blend.needs(step(0.5, entries=1)) == Needs(BOTH)


@pytest.mark.parametrize("uncond", [True, False])
def test_the_other_prompt_is_worked_out_from_the_negative_or_without_it_from_the_latent(uncond):
    """Directions that keep still in units of noise: both predictions are exact, whichever was evaluated."""
    blend = method(economy="free")
    blend.needs(step(0.5, uncond=uncond))
    for level, x in ((2.0, constant(5.0)), (1.0, constant(7.0)), (0.5, constant(-1.0))):
        base = constant(3.0 * level) if uncond else x
        both = {POSITIVE: base + level, SAFE: base - 2 * level, NEGATIVE: base if uncond else torch.zeros(SHAPE)}
        call = replace(step(0.5, uncond=uncond, x=x), sigma=torch.full((2,), level))
        needs = blend.needs(call)
        guided = blend.combine(call, {name: both[name] for name in (*needs.conds, NEGATIVE)})
        assert torch.allclose(guided.cond, (both[POSITIVE] + both[SAFE]) / 2), level
        assert torch.allclose(guided.positive, both[POSITIVE]), level


# --- what it makes of the predictions


def test_the_mask_of_each_picture_confines_the_safe_prompt_in_it():
    masks = torch.cat([LEFT, 1 - LEFT])
    guided = method(mask=masks).combine(step(0.5), DENOISED)
    assert guided.cond[0, 0, 0].tolist() == [15.0, 15.0, 10.0, 10.0]
    assert guided.cond[1, 0, 0].tolist() == [10.0, 10.0, 15.0, 15.0]
    assert torch.equal(guided.positive, DENOISED[POSITIVE])


@pytest.mark.parametrize(("weight", "shown"), [(0.49, POSITIVE), (0.5, SAFE), (1.0, SAFE)])
def test_hooks_are_shown_the_prompt_that_has_more_weight(weight, shown):
    assert method().combine(step(weight), DENOISED).shown == shown


def test_a_prompt_yields_where_it_does_not_reach():
    guided = method().combine(step(0.5, **{SAFE: TOP}), DENOISED)
    assert guided.cond[0, 0, :, 0].tolist() == [15.0, 15.0, 10.0, 10.0]


def test_selective_chooses_among_the_cells_that_mask_and_prompts_leave():
    """The largest differences lie where it may not choose."""
    safe = constant(11.0)
    safe[..., 0, 0], safe[..., 0, 3], safe[..., 3, :2] = 13.0, 99.0, 99.0
    denoised = {**DENOISED, SAFE: safe}
    chosen = Selection("quantile", quantile=0.75, smooth=0, grow=0)
    given = {POSITIVE: TOP, SAFE: torch.ones(SHAPE, dtype=torch.bool)}
    half = 0.5 * LEFT  # of four cells the one that differs most
    guided = method(mask=half, selective=chosen).combine(step(1.0, **given), denoised)
    changed = guided.cond[0, 0] - torch.where(TOP[0, 0], 10.0, safe[0, 0])
    assert changed.nonzero().tolist() == [[0, 0]] and float(changed[0, 0]) == 1.5


def test_adaptive_says_where_it_could_not_scale():
    for selective, uncond, note in (
        (Selection(adaptive=True), False, NOT_ADAPTIVE),
        (Selection(adaptive=True), True, ""),
        (Selection(), False, ""),
    ):
        assert method(selective=selective).combine(step(0.5, uncond=uncond), DENOISED).note == note


# --- over the whole run


def test_a_weight_that_never_changes_leaves_one_prompt_or_is_refused():
    blend = method()
    assert blend.only(lambda: None, True) is None
    assert blend.only(lambda: 1.0, True) == blend.only(lambda: 1.0, False) == SAFE
    assert blend.only(lambda: 0.0, False) == POSITIVE
    with pytest.raises(ValueError, match="^curve: "):
        blend.only(lambda: 0.0, True)


# --- reach


def test_cells_are_allowed_where_all_of_them_agree():
    x, mask = torch.zeros(SHAPE), torch.tensor([0.0, 0.01, 0.5, 1.0]).expand(1, 1, 4, 4)
    assert allowed_cells(x, None, None, None) is None
    assert allowed_cells(x, mask, None)[1, 0, 3].tolist() == [False, True, True, True]
    for parts in ((TOP, None), (None, TOP)):
        allowed = allowed_cells(x, mask, *parts)
        assert allowed.shape == (2, 1, 4, 4)
        assert allowed[0, 0].int().tolist() == [[0, 1, 1, 1]] * 2 + [[0] * 4] * 2


def test_none_covers_everything():
    assert not covers_more(None, None) and not covers_more(TOP, None) and not covers_more(TOP, TOP)
    assert covers_more(None, TOP) and covers_more(TOP, ~TOP)
    one = TOP.clone()
    one[1, 0, 3, 3] = True
    assert covers_more(one, TOP) and not covers_more(TOP, one)
    assert not covers_more(None, torch.ones_like(TOP))
