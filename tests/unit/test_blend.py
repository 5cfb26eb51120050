import copy
import math
from types import SimpleNamespace

import pytest
import torch

from safelight.guidance.blend import blend, cover
from safelight.text.inherit import PASSES, TEXT_KEYS, check_hooks, inherit, same_prompt, unknown_keys

SHAPES = [(2, 4, 8, 8), (1, 16, 3, 8, 8), (2, 4, 16), (3, 5)]


def pair(shape, dtype=torch.float32):
    draw = torch.Generator().manual_seed(8)
    return tuple(torch.randn(shape, generator=draw).to(dtype) for _ in range(2))


def bits(tensor):
    return tensor.view({2: torch.int16, 4: torch.int32}[tensor.element_size()])


# --- blend


@pytest.mark.parametrize("shape", SHAPES)
def test_the_ends_are_the_very_tensors(shape):
    u, s = pair(shape)
    assert blend(u, s, 0.0) is u and blend(u, s, 0) is u
    assert blend(u, s, 1.0) is s and blend(u, s, 1) is s


def test_between_the_ends_it_is_the_mean_by_weight():
    u, s = torch.full((1, 4, 2, 2), 2.0), torch.full((1, 4, 2, 2), 6.0)
    assert torch.equal(blend(u, s, 0.25), torch.full((1, 4, 2, 2), 3.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_cells_of_weight_zero_and_one_keep_their_bits(shape, dtype):
    u, s = pair(shape, dtype)
    u.view(-1)[0] = -0.0
    s.view(-1)[0] = math.inf
    u.view(-1)[1] = math.nan
    weight = torch.rand((shape[0], 1, *shape[2:]), generator=torch.Generator().manual_seed(9)).round(decimals=1)
    weight = torch.where(weight < 0.4, 0.0, torch.where(weight > 0.6, 1.0, weight))
    weight.view(-1)[0] = 0.0
    mixed = blend(u, s, weight)
    where = weight.expand(shape)
    assert mixed.dtype == dtype
    assert torch.equal(bits(mixed)[where == 0], bits(u)[where == 0])
    assert torch.equal(bits(mixed)[where == 1], bits(s)[where == 1])
    between = (where > 0) & (where < 1) & u.isfinite() & s.isfinite()
    expected = (1 - where) * u.float() + where * s.float()
    assert torch.allclose(mixed[between].float(), expected[between], atol=3e-2 if dtype != torch.float32 else 1e-6)


def test_a_mask_acts_on_its_own_cells_and_samples_alone():
    u, s = pair((2, 4, 3, 8, 8))
    weight = torch.zeros(2, 1, 1, 8, 8)
    weight[1, :, :, 2:4, 5] = 0.5
    changed = (blend(u, s, weight) != u).any(dim=1)
    expected = torch.zeros(2, 3, 8, 8, dtype=torch.bool)
    expected[1, :, 2:4, 5] = True
    assert torch.equal(changed, expected)


def test_a_weight_that_is_not_a_number_never_means_unguarded():
    u, s = pair((1, 4, 2, 2))
    weight = torch.tensor([[[[math.nan, 0.0], [0.0, 0.0]]]])
    assert torch.equal(blend(u, s, weight)[..., 0, 0], s[..., 0, 0])
    for scalar in (math.nan, -0.1, 1.1, math.inf):
        with pytest.raises(ValueError, match="^safety: "):
            blend(u, s, scalar)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_at_full_weight_nothing_of_the_positive_prediction_is_left(bad):
    """Not even a value that no weight takes away; nor at weight 0 anything of the safe one."""
    good, broken = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), bad)
    assert torch.equal(blend(broken, good, torch.ones(1, 1, 2, 2)), good)
    assert torch.equal(blend(good, broken, torch.zeros(1, 1, 2, 2)), good)


def test_blend_leaves_its_inputs_alone():
    u, s = pair((2, 4, 8, 8))
    weight = torch.rand(2, 1, 8, 8)
    before = [u.clone(), s.clone(), weight.clone()]
    blend(u, s, weight)
    cover(u, s, weight > 0.5, weight < 0.7, weight)
    assert all(torch.equal(a, b) for a, b in zip(before, (u, s, weight), strict=True))


# --- cover


def test_a_branch_yields_where_it_covers_nothing():
    u, s = torch.full((1, 1, 1, 4), 10.0), torch.full((1, 1, 1, 4), 20.0)
    covered_u = torch.tensor([True, True, False, False]).reshape(1, 1, 1, 4)
    covered_s = torch.tensor([True, False, True, False]).reshape(1, 1, 1, 4)
    assert cover(u, s, covered_u, covered_s, 0.5).flatten().tolist() == [15.0, 10.0, 20.0, 15.0]
    assert cover(u, s, covered_u, None, 0.5).flatten().tolist() == [15.0, 15.0, 20.0, 20.0]
    assert cover(u, s, None, covered_s, 0.5).flatten().tolist() == [15.0, 10.0, 15.0, 10.0]
    assert cover(u, s, covered_u, covered_s, 0.0).flatten().tolist() == [10.0, 10.0, 20.0, 10.0]
    assert cover(u, s, covered_u, covered_s, 1.0).flatten().tolist() == [20.0, 10.0, 20.0, 20.0]


def test_full_cover_is_the_blend_itself():
    u, s = pair((2, 4, 8, 8))
    everywhere = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert cover(u, s, None, None, 0.0) is u and cover(u, s, None, None, 1.0) is s
    assert torch.equal(cover(u, s, everywhere, everywhere, 0.3), blend(u, s, 0.3))


# --- inherit


class Thing:
    """Stands for a ControlNet, hooks, a mask: compared by identity."""


def entry(**keys):
    return [torch.randn(1, 3, 4), keys]


class Hooks:
    """Stands for the host's HookGroup."""

    def __init__(self, *kinds):
        self.hooks = [SimpleNamespace(hook_type=SimpleNamespace(value=kind)) for kind in kinds]


def test_what_is_known_not_to_be_words_is_inherited_as_the_same_object():
    assert not PASSES & TEXT_KEYS
    carried = {key: Thing() for key in PASSES} | {"hooks": Hooks("weight", "weight")}
    text = {key: Thing() for key in (*TEXT_KEYS, "unheard_of")}
    safe = entry(pooled_output="safe pooled")
    (result,) = inherit([safe], [entry(**carried, **text)])
    assert result[0] is safe[0]
    assert result[1].keys() == {*carried, "pooled_output"} and result[1]["pooled_output"] == "safe pooled"
    assert all(result[1][key] is value for key, value in carried.items())


@pytest.mark.parametrize("kinds", [["transformer_options"], ["weight", "add_models"]])
def test_hooks_that_may_carry_words_are_not_inherited_and_the_safe_prompt_needs_its_own(kinds):
    positive, regional = [entry(hooks=Hooks(*kinds), area=1)], Hooks("transformer_options")
    assert inherit([entry()], positive)[0][1] == {"area": 1}
    with pytest.raises(ValueError, match=f"^safe: expected hooks of its own.*{kinds[-1]}"):
        check_hooks([entry(hooks=regional), entry()], positive)
    check_hooks([entry(hooks=regional)], positive)
    check_hooks([entry()], [entry(hooks=Hooks("weight"))])


def test_what_nobody_knows_is_noted_unless_the_safe_prompt_has_it():
    written = [entry(area=1, unheard_of=Thing(), pooled_output=Thing())]
    (note,) = unknown_keys([entry()], written)
    assert note.startswith("safe: `unheard_of` of positive")
    assert unknown_keys([entry(unheard_of=Thing())], written) == []


def test_a_prompt_is_the_same_one_number_by_number():
    written = entry(pooled_output=torch.ones(2), reference_latents=[torch.zeros(2)], area=(1, 2))
    twin = [written[0].clone(), {**written[1], "pooled_output": torch.ones(2), "reference_latents": [torch.zeros(2)]}]
    assert same_prompt([twin], [written])
    for key, other in (("pooled_output", torch.zeros(2)), ("area", (2, 1)), ("reference_latents", [])):
        assert not same_prompt([[twin[0], {**twin[1], key: other}]], [written])
    assert not same_prompt([[twin[0] + 1e-6, twin[1]]], [written])
    assert not same_prompt([twin, twin], [written])


def test_the_pooled_output_of_the_written_prompt_never_reaches_a_safe_entry_without_one():
    (result,) = inherit([entry()], [entry(pooled_output=Thing(), attention_mask=Thing(), t5xxl_ids=Thing())])
    assert result[1] == {}


def test_what_the_safe_entry_has_stays():
    own = Thing()
    written = entry(control=Thing(), strength=1, mask=Thing())
    (result,) = inherit([entry(control=own, strength=0.2, mask=None)], [written])
    assert result[1] == {"control": own, "strength": 0.2, "mask": None}


def test_equal_counts_pair_by_position():
    written = [entry(area=1, control=Thing()), entry(area=2)]
    safe = [entry(), entry()]
    result = inherit(safe, written)
    assert [r[0] is s[0] for r, s in zip(result, safe, strict=True)] == [True, True]
    assert [r[1] for r in result] == [written[0][1], {"area": 2}]


def test_one_safe_entry_becomes_one_for_each_written_area():
    written = [entry(area=1), entry(area=2), entry()]
    safe = entry(pooled_output="p")
    result = inherit([safe], written)
    assert [r[1] for r in result] == [
        {"pooled_output": "p", "area": 1},
        {"pooled_output": "p", "area": 2},
        {"pooled_output": "p"},
    ]
    assert all(r[0] is safe[0] for r in result)


def test_several_safe_entries_share_a_single_written_one():
    control = Thing()
    result = inherit([entry(), entry(area=5)], [entry(control=control)])
    assert [r[1] for r in result] == [{"control": control}, {"area": 5, "control": control}]


def test_unequal_counts_spread_each_safe_entry_over_the_written_ones():
    result = inherit([entry(), entry(area=9)], [entry(area=1), entry(area=2), entry(area=3)])
    # The second one says itself where it acts: its copies would all be alike, so one stays.
    assert [r[1]["area"] for r in result] == [1, 2, 3, 9]


def test_copies_that_differ_in_an_object_are_kept():
    masks = Thing(), Thing()
    result = inherit([entry()], [entry(mask=masks[0]), entry(mask=masks[1]), entry(mask=masks[0])])
    assert [r[1]["mask"] for r in result] == [masks[0], masks[1]]
    tensors = inherit([entry()], [entry(mask=torch.zeros(2)), entry(mask=torch.zeros(2))])
    assert len(tensors) == 2


def test_inheriting_leaves_cached_conditionings_alone():
    written, safe = [entry(area=1), entry(area=2)], [entry(strength=1.0)]
    before = [copy.copy(e[1]) for e in (*written, *safe)]
    lists = list(written), list(safe)
    result = inherit(safe, written)
    result[0][1]["area"] = 99
    assert [e[1] for e in (*written, *safe)] == before
    assert (written, safe) == lists


def test_nothing_written_leaves_the_safe_entries_and_nothing_safe_stays_nothing():
    safe = [entry(area=1)]
    assert inherit(safe, []) == safe and inherit(safe, []) is not safe
    assert inherit([], [entry(area=1)]) == []
