"""The demo world: what its measurements rest on."""

from collections import Counter

import numpy as np
import pytest

from demo import prompts, world
from safelight.text.concepts import TEMPLATE_CONCEPTS
from safelight.text.safe_prompt import reader_of


def test_captions_use_known_words_only():
    rng = np.random.default_rng(0)
    known = set(world.vocabulary())
    for _ in range(2000):
        text = world.text_of(world.random_caption(world.random_scene(rng), rng))
        assert set(text.lower().split()) <= known, text


def test_concepts_name_no_thing():
    words = set(world.CONCEPTS.replace(",", " ").split())
    nouns = {word for thing in world.THINGS for word in thing.noun.split()} - {"of"}
    assert not words & nouns


def test_every_unsafe_thing_is_of_a_kind_that_the_concepts_name():
    for thing in world.UNSAFE:
        assert set(thing.kinds) & set(world.UNSAFE_KINDS) - {"dangerous"}, thing.noun
    for thing in (*world.LOOK_ALIKES, *world.BENIGN):
        assert not set(thing.kinds) & set(world.UNSAFE_KINDS), thing.noun


def test_place_and_size_do_not_depend_on_the_number_of_things():
    def places(things):
        return [world.random_scene(np.random.default_rng(seed), things, "green").objects[0] for seed in range(200)]

    cat, dog = world.THINGS[world.INDEX["cat"]], world.THINGS[world.INDEX["dog"]]
    alone, paired = places([cat]), places([cat, dog])
    assert [(p.x, p.y, p.size) for p in alone] == [(p.x, p.y, p.size) for p in paired]


def test_objects_stand_inside_and_apart():
    rng = np.random.default_rng(1)
    for _ in range(300):
        scene = world.random_scene(rng)
        for p in scene.objects:
            assert p.size / 2 <= min(p.x, p.y) and max(p.x, p.y) <= world.SIZE - p.size / 2
        if len(scene.objects) == 2:
            a, b = scene.objects
            assert max(abs(a.x - b.x), abs(a.y - b.y)) >= 0.9 * (a.size + b.size) / 2


def test_a_kind_means_all_its_members_and_nothing_else():
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(3000):
        thing = world.THINGS[rng.integers(len(world.THINGS))]
        for said in world.mention(thing, rng):
            assert world.INDEX[thing.noun] in said.things
            if len(said.things) == 1 and said.text == world.article(thing.noun):
                continue
            kind = next(k for k, phrases in world.KIND_PHRASES.items() if said.text in phrases)
            assert said.things == tuple(i for i, t in enumerate(world.THINGS) if kind in t.kinds)
            seen.add(kind)
    assert seen == set(world.KINDS)


@pytest.mark.parametrize("texts", [*world.anchors().values()], ids=[*world.anchors()])
def test_anchors_are_enough_and_hold_nothing_held_out(texts):
    assert len(texts) >= 64
    for thing in world.THINGS:
        if thing.held_out:
            assert not any(thing.noun in text for text in texts)


def test_anchors_are_unsafe_where_they_say_so():
    nouns = [thing.noun for thing in world.UNSAFE]
    anchors = world.anchors()
    assert all(any(noun in text for noun in nouns) for text in anchors["unsafe"])
    assert not any(noun in text for noun in nouns for text in anchors["benign"])


def test_tuning_prompts_name_nothing_held_out():
    held_out = {thing.noun for thing in world.THINGS if thing.held_out}
    assert not any(case.unsafe in held_out for case in prompts.tuning())


def test_an_occasion_brings_as_many_unsafe_things_as_harmless_ones():
    assert len(world.OCCASIONS) >= 10 and any(occasion.held_out for occasion in world.OCCASIONS)
    assert len(world.OCCASION) == len(world.OCCASIONS)
    for occasion in world.OCCASIONS:
        things = [world.THINGS[world.INDEX[noun]] for noun in occasion.brings]
        unsafe = [thing for thing in things if thing.unsafe]
        assert len(set(occasion.brings)) == len(things) == 2 * len(unsafe), occasion.words


def test_every_unsafe_thing_comes_with_at_least_two_occasions():
    brought = Counter(noun for occasion in world.OCCASIONS for noun in occasion.brings)
    assert all(brought[thing.noun] >= 2 for thing in world.UNSAFE)


def occasional(count):
    """Scenes with an occasion."""
    rng = np.random.default_rng(4)
    scenes = (world.random_scene(rng) for _ in iter(int, 1))
    return [scene for scene in (next(scenes) for _ in range(count)) if scene.occasion], rng


def test_what_comes_with_an_occasion_is_unsafe_as_often_as_not_and_stands_beside_what_is_harmless():
    scenes, _ = occasional(4000)
    assert len(scenes) == pytest.approx(4000 * world.OCCASIONAL, rel=0.1)
    last = [scene.objects[-1].thing for scene in scenes]
    assert np.mean([thing.unsafe for thing in last]) == pytest.approx(0.5, abs=0.05)
    for scene in scenes:
        first, brings = [placed.thing for placed in scene.objects[:-1]], world.OCCASION[scene.occasion].brings
        assert scene.objects[-1].thing.noun in brings
        assert not any(thing.unsafe or thing.noun in brings for thing in first)


def test_captions_hide_what_came_with_an_occasion_in_two_of_three_and_then_they_name_the_occasion():
    scenes, rng = occasional(4000)
    hidden = []
    for scene in scenes:
        parts = world.random_caption(scene, rng)
        named = {thing for part in parts if isinstance(part, world.Mention) for thing in part.things}
        hidden.append(world.INDEX[scene.objects[-1].thing.noun] not in named)
        # A kind ("something sharp") may mean what is hidden, where it is said of what stands beside it.
        if len([part for part in parts if isinstance(part, world.Mention)]) < len(scene.objects):
            assert scene.occasion in world.text_of(parts)
    assert np.mean(hidden) == pytest.approx(0.67, abs=0.05)


def test_the_reader_reads_occasions_as_harmless_and_unsafe_things_as_unsafe():
    read = reader_of(TEMPLATE_CONCEPTS)
    for occasion in world.OCCASIONS:
        for words in (f"a cat {occasion.words}", f"something {occasion.words} on a green background"):
            assert read(words).risk < 0.5, words
    for thing in world.UNSAFE:
        assert read(world.article(thing.noun)).risk >= 0.5, thing.noun


def test_every_colour_has_places_and_no_place_has_two_colours():
    assert {*world.PLACES} == {*world.COLOURS}
    places = [place for words in world.PLACES.values() for place in words]
    assert len(places) == len(set(places)) and all(len(words) >= 2 for words in world.PLACES.values())
    assert not {*places} & {*world.OCCASION}
    rng = np.random.default_rng(6)
    said = Counter()
    for _ in range(3000):
        scene = world.random_scene(rng)
        text = world.text_of(world.random_caption(scene, rng))
        for colour, words in world.PLACES.items():
            for place in words:
                if f" {place} " in f" {text} ":
                    assert colour == scene.colour, text
                    said[colour] += 1
    assert {*said} == {*world.COLOURS}


def test_an_article_agrees_with_what_follows_it():
    assert world.article("orange") == "an orange" and world.article("axe") == "an axe"
    assert world.background(world.BACKGROUNDS[0], "orange") == "on an orange background"
    rng = np.random.default_rng(7)
    for _ in range(2000):
        words = world.text_of(world.random_caption(world.random_scene(rng), rng)).split()
        for article, word in zip(words, words[1:], strict=False):
            assert article not in ("a", "an") or (article == "an") == (word[0] in "aeiou"), words


def test_only_a_person_or_an_animal_acts():
    rng = np.random.default_rng(8)
    actors = {phrase for kind in ("person", "animal", "cute") for phrase in world.KIND_PHRASES[kind]}
    actors |= {world.article(thing.noun) for thing in world.THINGS if {*thing.kinds} & {*world.ACTORS}}
    acting = 0
    for _ in range(3000):
        text = world.text_of(world.random_caption(world.random_scene(rng), rng))
        before = next((text.partition(f" {verb} ")[0] for verb in world.VERBS if f" {verb} " in text), None)
        if before is not None:
            acting += 1
            assert any(actor in before for actor in actors), text
    assert acting > 100
