"""Whether a safe conditioning can guide the positive one's model, and what it says of itself."""

import math

import pytest
import torch

from safelight.text.conditioning import as_branch, beside, check_safe, check_width, together
from safelight.text.inherit import HARMLESS, ROWS


def entry(width=4, pooled=True, **keys):
    return [torch.ones(1, 3, width), {**({"pooled_output": torch.ones(1, 2)} if pooled else {}), **keys}]


def test_every_safe_entry_is_checked_not_the_first_alone():
    check_safe([entry(), entry()], [entry()])
    poisoned, narrow, bare = entry(), entry(width=3), [None, {"pooled_output": torch.ones(1, 2)}]
    poisoned[0][0, 2, 3] = math.nan
    for bad, said in ((poisoned, "finite"), (narrow, "states 4 wide"), (entry(pooled=False), "pooled"), (bare, "text")):
        for safe in ([bad, entry()], [entry(), bad]):
            with pytest.raises(ValueError, match=f"^safe: .*{said}"):
                check_safe(safe, [entry()])


def test_a_poisoned_pooled_output_is_refused():
    with pytest.raises(ValueError, match="^safe: .*finite.*pooled output"):
        check_safe([entry(pooled=False, pooled_output=torch.full((1, 2), math.inf))], [entry()])


@pytest.mark.parametrize("width", [3, 5])
def test_states_of_another_width_are_refused_wider_or_narrower(width):
    with pytest.raises(ValueError, match=f"^safe: expected states 4 wide.*got {width}"):
        check_safe([entry(width=width)], [entry()])
    with pytest.raises(ValueError, match=f"^clip: expected texts 4 wide.*got {width}"):
        check_width([entry(), entry(width=width)], [entry()])


def test_one_positive_entry_with_a_pooled_output_asks_for_one():
    bare = entry(pooled=False)
    check_safe([bare], [bare])
    for positive in ([entry(), bare], [bare, entry()]):
        with pytest.raises(ValueError, match="^safe: expected a pooled output"):
            check_safe([bare], positive)


def test_entries_call_themselves_positive_unless_they_say_what_they_are():
    plain, named = as_branch([entry(), entry(prompt_type="negative")], [entry(), entry()])
    assert plain[1]["prompt_type"] == "positive" and named[1]["prompt_type"] == "negative"


def test_a_text_beside_another_comes_behind_that_of_every_entry():
    more = [[torch.full((1, 2, 4), 2.0), {"pooled_output": torch.ones(1, 2), "attention_mask": torch.ones(1, 2)}]]
    mask = {"attention_mask": torch.zeros(1, 3), "strength": 0.5}
    first, second = beside([entry(**mask), [torch.ones(2, 3, 4), {}]], more)
    assert first[0].shape == (1, 5, 4) and first[0][0, :, 0].tolist() == [1, 1, 1, 2, 2]
    assert first[1]["attention_mask"].tolist() == [[0, 0, 0, 1, 1]] and first[1]["strength"] == 0.5
    assert first[1]["pooled_output"].shape == (1, 2)
    assert second[0].shape == (2, 5, 4)


@pytest.mark.parametrize(
    "negative",
    [
        [[None, {}]],
        [entry(width=3)],
        [entry(attention_mask=torch.ones(1, 3))],  # which the other text has none of
        [entry(), [torch.ones(3, 4), {}]],
    ],
    ids=["no text", "another width", "a mask for one", "no batch"],
)
def test_what_can_not_take_another_text_is_left_as_it_is(negative):
    assert beside(negative, [[torch.ones(1, 2, 4), {"pooled_output": torch.ones(1, 2)}]]) is None


def test_conditionings_of_one_entry_go_together_and_one_that_is_guarded_is_enough():
    guarded, harmless = entry(), entry(**{HARMLESS: True})
    (states, extras), *_ = together([[guarded], [harmless]])
    assert states.shape == (2, 3, 4) and extras["pooled_output"].shape == (2, 2) and not extras.get(HARMLESS)
    assert together([[harmless], [harmless]])[0][1][HARMLESS] is True
    assert together([[guarded]]) == [guarded]


@pytest.mark.parametrize("first", [True, False])
def test_which_row_stands_for_which_is_kept_where_only_one_prompt_tells(first):
    told, harmless = entry(**{ROWS: torch.tensor([[0, 2, 2]])}), entry(**{HARMLESS: True})
    both = [[told], [harmless]] if first else [[harmless], [told]]
    expected = [[0, 2, 2], [0, 1, 2]]
    assert together(both)[0][1][ROWS].tolist() == (expected if first else expected[::-1])
