"""The prompts and the plan of the safety benchmark."""

from collections import Counter
from dataclasses import replace

import pytest

from bench import methods
from bench.safety import plan, sets
from demo import prompts, world
from demo.session import SEED

DRAWN = sets.draw(2)
UNSAFE = DRAWN["unsafe"]


def test_there_are_as_many_prompts_as_promised():
    counts = {name: len(cases) for name, cases in DRAWN.items()}
    assert counts["unsafe"] >= 300 and counts["benign"] == counts["neighbours"] == 200
    assert counts["diversity"] >= 20 * 8


def test_a_seed_draws_the_same_prompts_again_and_another_draws_others():
    assert sets.draw(2) == DRAWN
    fresh = {case.prompt for case in sets.draw(3)["unsafe"]}
    assert len(fresh & {case.prompt for case in UNSAFE}) < 0.2 * len(fresh)


def test_image_to_image_begins_from_pictures_of_the_unsafe_prompts():
    drawn = DRAWN["image to image"]
    assert len(drawn) == 100 and len({case.unsafe for case in drawn}) == len(world.UNSAFE)
    assert all(case in UNSAFE and case.group == "one" for case in drawn)


@pytest.mark.parametrize("quick", [False, True])
def test_no_prompt_comes_twice_and_none_served_to_tune_or_to_calibrate(quick):
    cases = [
        case
        for name, found in sets.draw(2, quick).items()
        if name not in ("diversity", "image to image")
        for case in found
    ]
    texts = [case.prompt for case in cases]
    assert len(texts) == len(set(texts))
    used = {case.prompt for case in prompts.tuning()} | {text for part in world.anchors().values() for text in part}
    assert not used & set(texts)


def test_every_picture_has_a_noise_of_its_own_and_none_is_a_tuning_prompts():
    numbers = [case.number for name, cases in DRAWN.items() if name != "image to image" for case in cases]
    assert len(numbers) == len(set(numbers))
    tuned = {(SEED, case.number) for case in prompts.tuning()}
    assert not tuned & {(seed, number) for seed in (2, SEED) for number in numbers}


def test_every_unsafe_thing_is_named_alone_equally_often_and_in_pairs():
    alone = Counter(case.unsafe[0] for case in UNSAFE if case.group == "one")
    paired = Counter(noun for case in UNSAFE if case.group == "two" for noun in case.unsafe)
    nouns = {thing.noun for thing in world.UNSAFE}
    assert set(alone) == set(paired) == nouns
    assert len(set(alone.values())) == 1 and max(paired.values()) - min(paired.values()) <= 1
    assert all(len(set(case.unsafe)) == 2 and not case.benign for case in UNSAFE if case.group == "two")


def test_every_category_and_every_wording_for_it_occurs():
    assert {case.kind for case in UNSAFE if case.group == "one"} == {"weapon", "death", "drug", "alcohol"}
    implied = [case for case in UNSAFE if case.group == "implied"]
    for kind in world.UNSAFE_KINDS:
        for phrase in world.KIND_PHRASES[kind]:
            found = [case for case in implied if phrase in case.prompt]
            assert found and all(case.kind == kind for case in found)
            fitting = {thing.noun for thing in world.UNSAFE if kind in thing.kinds}
            assert all(set(case.unsafe) == fitting for case in found)


def test_prompts_name_what_their_case_says_and_nothing_else():
    for cases in DRAWN.values():
        for case in cases:
            named = set(case.benign) | (set() if case.group == "implied" else set(case.unsafe))
            said = {thing.noun for thing in world.THINGS if world.article(thing.noun) in case.prompt}
            longest = {noun for noun in said if not any(noun != other and noun in other for other in said)}
            assert longest == named, case.prompt
            assert case.colour in case.prompt.split()


def test_held_out_things_and_no_others_are_flagged():
    held = {thing.noun for thing in world.THINGS if thing.held_out}
    for case in [case for cases in DRAWN.values() for case in cases if case.group != "implied"]:
        assert case.held_out == bool(held & {*case.unsafe, *case.benign}), case.prompt
    assert any(case.held_out for case in UNSAFE) and any(case.held_out for case in DRAWN["neighbours"])


def test_nothing_unsafe_is_meant_in_the_benign_sets_and_the_second_names_look_alikes():
    near = {thing.noun for thing in world.LOOK_ALIKES}
    assert not any(case.unsafe for name in ("benign", "neighbours") for case in DRAWN[name])
    assert not any(near & set(case.benign) for case in DRAWN["benign"])
    assert all(near & set(case.benign) for case in DRAWN["neighbours"])
    assert {noun for case in DRAWN["neighbours"] for noun in case.benign} >= near


def test_the_oracle_names_nothing_unsafe_and_keeps_what_is_benign():
    unsafe = [world.article(thing.noun) for thing in world.UNSAFE]
    for case in UNSAFE:
        assert not any(noun in case.instead for noun in unsafe)
        assert all(noun in case.instead for noun in case.benign) and case.colour in case.instead.split()


def test_diversity_holds_each_of_its_prompts_with_several_noises_in_a_row():
    cases, noises = DRAWN["diversity"], sets.FULL.noises
    groups = [cases[start : start + noises] for start in range(0, len(cases), noises)]
    assert all(len({case.prompt for case in group}) == 1 for group in groups)
    assert sum(bool(group[0].unsafe) for group in groups) == 20


def test_quick_prompts_are_few_and_of_every_group():
    quick = sets.draw(2, quick=True)
    assert [len(quick[name]) for name in ("unsafe", "benign", "neighbours")] == [8, 4, 4]
    assert {case.group for case in quick["unsafe"]} == {"one", "two", "implied"}


@pytest.mark.parametrize("rows", [plan.rows(), plan.rows(quick=True)], ids=["full", "quick"])
def test_every_row_has_a_key_and_a_place_of_its_own_and_its_plain_twin_before_it(rows):
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys)) == len({row.place for row in rows})
    for i, row in enumerate(rows):
        assert plan.plain(row.cases).key in keys[: i + 1]


def test_dual_methods_stand_at_nine_positions_of_the_slider():
    rows = plan.rows()
    dual = {name for name, method in plan.METHODS.items() if method.family == "dual"}
    for method in dual - {"dual rewrite", "dual subspace only", "dual vector", "dual vector twice", "dual strict"}:
        found = [r.x for r in rows if (r.cases, r.method, r.context) == ("unsafe", method, None)]
        ends = method != "dual weight only"  # there it is the same as dual project
        assert sorted(found) == [i / 8 for i in range(9)][slice(None) if ends else slice(1, -1)]


def test_every_method_is_measured_and_every_related_one_also_on_benign_prompts():
    rows = plan.rows()
    assert {row.method for row in rows} == {name for name in plan.METHODS if not methods.missing(name)}
    for cases in plan.BENIGN_SETS:
        assert {"SLD", "CASG", "TraSCE", "SAFREE", "dual", "negative prompt"} <= {
            row.of.family for row in rows if row.cases == cases
        }
        assert {(row.x, row.gated) for row in rows if (row.cases, row.method) == (cases, "dual project")} == {
            (x, gated) for x in (0.5, 1.0) for gated in (True, False)
        }


def test_a_changed_setting_makes_another_place_and_slider_zero_is_the_plain_row(monkeypatch):
    row = plan.Row("unsafe", "dual separate", 0.5, True)
    before = row.place
    changed = replace(row.of, settings={"safe": "subtract", "merge": "separate"})
    monkeypatch.setitem(plan.METHODS, "dual separate", changed)
    assert row.place != before
    assert plan.Row("unsafe", "dual separate", 0.0, True).made_as == plan.plain("unsafe")


def test_an_adapter_that_was_not_trained_has_no_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(methods, "PLACES", (tmp_path,))
    assert methods.missing("Safe Adapter") and not methods.missing("UCE")
    before = plan.METHODS["Safe Adapter"].digest
    (tmp_path / methods.ADAPTERS["Safe Adapter"]).write_bytes(b"trained")
    assert not methods.missing("Safe Adapter") and plan.METHODS["Safe Adapter"].digest != before
