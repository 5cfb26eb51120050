"""The demo world: what its measurements rest on."""

import numpy as np
import pytest

from demo import prompts, world


def test_captions_use_known_words_only():
    rng = np.random.default_rng(0)
    known = set(world.vocabulary())
    for _ in range(2000):
        text = world.text_of(world.random_caption(world.random_scene(rng), rng))
        assert set(text.split()) <= known, text


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
