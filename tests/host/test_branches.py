"""Which entries of which conditioning take part in a call, and which cells they reach."""

from __future__ import annotations

import pytest
import torch

from safelight.engine.branches import (
    always_active,
    always_everywhere,
    any_active,
    branch,
    covered,
    is_active,
    positive_pair,
    safe_pair,
    tag_branch,
)

RANGE, PLACE = {"start_percent": 0.2}, {"area": (4, 4, 0, 0)}


@pytest.mark.parametrize(
    ("entries", "active", "everywhere"),
    [
        ([{}], True, True),
        ([RANGE], False, False),
        ([{"end_percent": 0.9}], False, False),
        ([{"clip_start_percent": 0.0}], False, False),
        ([PLACE], True, False),
        ([{"mask": 1}], True, False),
        ([RANGE, PLACE], True, False),  # one is always there, but not everywhere; the other way round neither
        ([{**RANGE, **PLACE}], False, False),
        ([RANGE, {}], True, True),
        ([{}, PLACE], True, True),
        ([], False, False),
    ],
    ids=str,
)
def test_one_entry_that_is_always_there_is_enough(entries, active, everywhere):
    assert always_active(entries) == active
    assert always_everywhere(entries) == everywhere


def test_an_entry_takes_part_at_both_ends_of_its_range_as_in_the_host():
    entry = {"timestep_start": 8.0, "timestep_end": 2.0}
    assert [is_active(entry, sigma) for sigma in (8.1, 8.0, 5.0, 2.0, 1.9)] == [False, True, True, True, False]
    late = {"timestep_end": 2.0}
    assert any_active([entry, late], 9.0) and not any_active([entry, late], 1.0) and not any_active([], 5.0)


# --- the host's copies ---------------------------------------------------------------------------------------------


def conds():
    """Three conditionings, each with the copies that the host makes for the areas of the two others."""
    tagged = tag_branch({name: [{"of": name, "area": name}] for name in ("positive", "safe", "negative")})
    copies = {name: [{**e, "of": name} for other, (e,) in tagged.items() if other != name] for name in tagged}
    return {name: [*tagged[name], *copies[name]] for name in tagged}


def areas(entries):
    return [entry["area"] for entry in entries]


def test_a_pair_has_the_entries_of_a_stock_run_of_the_two():
    positive, negative = positive_pair(conds())
    assert areas(positive) == ["positive", "negative"] and areas(negative) == ["negative", "positive"]
    assert {entry["of"] for entry in positive} == {"positive"} and {entry["of"] for entry in negative} == {"negative"}
    assert areas(branch(conds(), "safe")) == ["safe", "negative"]
    safe, negative = safe_pair(conds())
    assert areas(safe) == ["safe", "negative"] and areas(negative) == ["negative", "safe"]


def test_an_area_that_the_safe_prompt_shares_has_its_opposite_under_either_tag():
    """The host makes one copy for two equal areas, and it bears the positive prompt's tag."""
    shared = conds()
    for entries in shared.values():
        for entry in entries:
            entry["area"] = "both" if entry["area"] in ("positive", "safe") else entry["area"]
    shared["negative"] = [entry for entry in shared["negative"] if entry["safelight_branch"] != "safe"]
    assert areas(safe_pair(shared)[1]) == ["negative", "both"]


def test_without_a_negative_there_is_none_in_the_pair():
    for negative in ({}, {"negative": None}):
        given = {**{name: entries for name, entries in conds().items() if name != "negative"}, **negative}
        assert positive_pair(given)[1] is None and safe_pair(given)[1] is None


# --- reach -----------------------------------------------------------------------------------------------------------

X, SIGMA = torch.zeros(1, 4, 8, 8), torch.tensor([5.0])


def prepared(**keys):
    """An entry as the host prepares it."""
    return {"model_conds": {}, "uuid": None, **keys}


def half(columns, strength=1.0):
    mask = torch.zeros(1, 8, 8)
    mask[..., columns] = 1.0
    return prepared(mask=mask, mask_strength=strength)


def columns_of(reach):
    assert reach.shape == X.shape and torch.equal(reach, reach[:1, :1, :1].expand(X.shape))
    return reach[0, 0, 0].int().tolist()


def test_the_reach_is_that_of_all_masks_together_however_weak():
    left, middle = half(slice(0, 3), strength=0.01), half(slice(2, 5))
    for entries in ([left, middle], [middle, left]):
        assert columns_of(covered(entries, X, SIGMA)) == [1] * 5 + [0] * 3
    assert columns_of(covered([left], X, SIGMA)) == [1] * 3 + [0] * 5


def test_an_area_reaches_where_it_lies():
    """The host feathers its inner edges over 8 cells; they are reached all the same."""
    x = torch.zeros(1, 4, 24, 24)
    expected = torch.zeros(24, 24, dtype=torch.bool)
    expected[8:17, 4:14] = True
    assert torch.equal(covered([prepared(area=(9, 10, 8, 4), strength=1.0)], x, SIGMA), expected.expand(x.shape))


def test_one_entry_without_a_place_reaches_everywhere():
    for whole in (prepared(), {**half(slice(0, 3)), "default": True}):
        assert covered([half(slice(0, 3)), whole], X, SIGMA) is None
        assert covered([whole, half(slice(0, 3))], X, SIGMA) is None


def test_only_entries_that_take_part_reach_anything():
    early = {"timestep_end": 6.0}
    assert columns_of(covered([{**prepared(), **early}, half(slice(0, 3))], X, SIGMA)) == [1] * 3 + [0] * 5
    assert columns_of(covered([{**half(slice(3, 8)), **early}, half(slice(0, 3))], X, SIGMA)) == [1] * 3 + [0] * 5
    assert not covered([{**prepared(), **early}], X, SIGMA).any()
