"""The prompts and the plan of the safety benchmark."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from bench import methods
from bench.safety import plan, sets
from demo import figures, prompts, world
from demo.session import SEED

DRAWN = sets.draw(2)
UNSAFE = DRAWN["unsafe"]
UNSURE = {*world.OCCASION} - {*sets.TOO_SURE}


def test_there_are_as_many_prompts_as_promised():
    counts = {name: len(cases) for name, cases in DRAWN.items()}
    assert counts["unsafe"] >= 300 and counts["benign"] == counts["neighbours"] == 200
    assert counts["diversity"] >= 20 * 8 and counts["implicit"] == 12 * len(UNSURE) >= 150


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


def names(text: str) -> set[str]:
    """The nouns in a text, the longest where one stands in another."""
    said = {thing.noun for thing in world.THINGS if f" {world.article(thing.noun)} " in f" {text} "}
    return {noun for noun in said if not any(noun != other and f" {noun} " in f" {other} " for other in said)}


def test_prompts_name_what_their_case_says_and_nothing_else():
    for case in [case for cases in DRAWN.values() for case in cases]:
        named = set(case.benign) | (set() if case.group in ("implied", "implicit") else set(case.unsafe))
        assert names(case.prompt) == named, case.prompt
        occasions = {occasion.words for occasion in world.OCCASIONS if occasion.words in case.prompt}
        assert occasions == ({case.occasion} - {""}), case.prompt


def test_every_prompt_states_its_background_or_a_place_of_its_colour():
    said = []
    for case in [case for cases in DRAWN.values() for case in cases]:
        places = [place for place in world.PLACES[case.colour] if place in case.prompt]
        assert len(places) == 1 or case.colour in case.prompt.split(), case.prompt
        said.append(bool(places))
    assert 0.25 < sum(said) / len(said) < 0.42


def test_a_thing_acts_only_where_it_is_a_person_or_an_animal_and_comes_first():
    acting = [(case, verb) for case in UNSAFE for verb in world.VERBS if f" {verb} " in case.prompt]
    assert len(acting) > 20
    for case, verb in acting:
        (actor,) = names(case.prompt.partition(f" {verb} ")[0])
        assert set(world.THINGS[world.INDEX[actor]].kinds) & set(world.ACTORS), case.prompt


def test_implicit_prompts_name_nothing_unsafe_and_only_what_the_occasion_does_not_bring():
    drawn = DRAWN["implicit"]
    assert Counter(case.occasion for case in drawn) == dict.fromkeys(UNSURE, 12)
    assert Counter(len(case.benign) for case in drawn) == {1: 135, 0: 45}
    for case in drawn:
        occasion = world.OCCASION[case.occasion]
        unsafe = [noun for noun in occasion.brings if world.THINGS[world.INDEX[noun]].unsafe]
        assert case.unsafe == tuple(unsafe) and case.held_out == occasion.held_out and case.group == "implicit"
        assert not names(case.prompt) & {*occasion.brings}
        assert case.benign or case.prompt.startswith(world.NOTHING_NAMED)
        (wished,) = names(case.instead) - {*case.benign}
        assert wished in occasion.brings and wished not in unsafe and case.occasion in case.instead
    for words in UNSURE:
        assert {len(case.benign) for case in drawn if case.occasion == words} == {0, 1}


def test_an_implicit_prompt_has_an_occasion_that_brings_something_unsafe_in_30_to_70_percent_of_plain_pictures():
    """As measured on the weights that are here."""
    shown = json.loads(figures.OUT.read_text("utf-8"))["occasions"]["by occasion"]
    assert {words for words, figure in shown.items() if 0.3 <= figure["share"] <= 0.7} == UNSURE
    assert len(UNSURE) >= 10 and any(world.OCCASION[words].held_out for words in UNSURE)


@pytest.mark.parametrize(("name", "share"), [("unsafe", 1 / 8), ("benign", 1 / 4), ("neighbours", 1 / 4)])
def test_some_prompts_have_an_occasion_and_name_all_that_is_there(name, share):
    cases = [case for case in DRAWN[name] if case.occasion]
    assert len(cases) == pytest.approx(share * len(DRAWN[name]), rel=0.05)
    for case in cases:
        shown = {*case.benign, *case.unsafe}
        assert len(shown) == 2 and len(shown & {*world.OCCASION[case.occasion].brings}) == 1, case.prompt


def test_there_is_an_occasion_for_every_thing():
    assert all(sets.occasions_of(thing) for thing in world.THINGS)


def test_held_out_things_and_no_others_are_flagged():
    held = {thing.noun for thing in world.THINGS if thing.held_out}
    for case in [case for cases in DRAWN.values() for case in cases if case.group not in ("implied", "implicit")]:
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


def test_the_sliders_stand_at_several_positions_and_the_loop_at_two():
    rows = plan.rows()

    def places(method, cases):
        return {row.x for row in rows if (row.method, row.cases, row.gated) == (method, cases, True)}

    assert places("dual rewrite", "unsafe") == {0.25, 0.5, 0.75, 1.0} and places("dual project", "unsafe") >= {0.5, 1.0}
    for cases in ("unsafe", "alone", "implicit"):
        assert places("loop", cases) == {0.75, 1.0}
    for cases in plan.BENIGN_SETS:
        assert places("loop", cases) == {1.0}


def test_implicit_prompts_are_measured_by_every_related_family_at_two_strengths():
    rows = [row for row in plan.rows() if row.cases == "implicit"]
    related = {row.of.family for row in plan.rows()} - {"plain", "dual", "loop", "baseline"}
    for family in related - {"negative prompt"}:
        assert len({row.x for row in rows if row.of.family == family}) >= 2, family
    assert all(not row.gated for row in rows if row.of.family == "dual")  # a gate of the text lets all of them be


def test_every_method_is_measured_and_every_related_one_also_on_benign_prompts():
    rows = plan.rows()
    assert {row.method for row in rows} == {name for name in plan.METHODS if not methods.missing(name)}
    for cases in plan.BENIGN_SETS:
        assert {"SLD", "CASG", "TraSCE", "SAFREE", "dual", "negative prompt"} <= {
            row.of.family for row in rows if row.cases == cases
        }
        assert {(row.x, row.gated) for row in rows if (row.cases, row.method) == (cases, "dual project")} == {
            (1.0, gated) for gated in (True, False)
        }


def test_a_sample_has_every_method_once_beside_plain_sampling_and_those_with_a_gate_on_benign_prompts():
    planned = plan.sample(plan.rows())
    keys = [(row.cases, row.method) for row in planned]
    assert len(keys) == len(set(keys)) and {row.method for row in planned} == {row.method for row in plan.rows()}
    assert all(("implicit", name) in keys for name in ("plain", "loop, caption", "loop, no words"))
    assert ("implicit", "loop") not in keys and ("benign", "loop") in keys and ("unsafe", "loop") in keys
    assert all((row.cases, "plain") in keys for row in planned)
    assert next(row.x for row in planned if row.method == "dual rewrite" and row.cases == "unsafe") == 0.5


def test_a_changed_setting_makes_another_place_and_slider_zero_is_the_plain_row(monkeypatch):
    row = plan.Row("unsafe", "dual separate", 0.5, True)
    before = row.place
    changed = replace(row.of, settings={"safe": "subtract", "merge": "separate"})
    monkeypatch.setitem(plan.METHODS, "dual separate", changed)
    assert row.place != before
    assert plan.Row("unsafe", "dual separate", 0.0, True).made_as == plan.plain("unsafe")


@pytest.mark.parametrize("name", ["Safe Adapter", "SDD"])
def test_what_was_not_trained_has_no_rows(name, monkeypatch, tmp_path):
    monkeypatch.setattr(methods, "PLACES", (tmp_path,))
    assert methods.missing(name) and not methods.missing("UCE")
    assert name not in {row.method for row in plan.rows()}
    before = plan.METHODS[name].digest
    (tmp_path / methods.TRAINED[name]).write_bytes(b"trained")
    assert not methods.missing(name) and plan.METHODS[name].digest != before
