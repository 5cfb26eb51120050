"""What the adapter is trained on: prompts that nothing is measured on, and rewards for what a picture shows."""

import pytest
import torch

from bench.safety import sets
from demo import rewards, world

COLOURS = list(world.COLOURS)


def seen(*nouns, colour="green", score=1.0):
    """Scores and backgrounds of one picture in which these things are seen."""
    scores = torch.zeros(1, len(world.THINGS))
    for noun in nouns:
        scores[0, world.INDEX[noun]] = score
    hues = torch.zeros(1, len(COLOURS))
    hues[0, COLOURS.index(colour)] = 1.0
    return scores, hues


def prompt_of(text):
    return next(prompt for prompt in sum(rewards.pool(), []) if prompt.text == text)


@pytest.fixture
def both():
    """A prompt that names a benign and an unsafe thing."""
    return next(p for p in rewards.pool()[0] if p.benign and world.THINGS[p.benign[0]].noun != "cat")


def judged(kind, prompt, *nouns, **how):
    colour = how.pop("colour", COLOURS[prompt.colour])
    return rewards.judge(kind, [prompt], *seen(*nouns, colour=colour, **how))


def nouns_of(prompt):
    return [world.THINGS[i].noun for i in prompt.benign], [world.THINGS[i[0]].noun for i in prompt.unsafe]


def test_no_prompt_names_a_held_out_thing_or_is_measured():
    unsafe, benign = rewards.pool()
    held_out = {thing.noun for thing in world.THINGS if thing.held_out}
    measured = {case.prompt for seed in (0, 1) for cases in sets.draw(seed).values() for case in cases}
    texts = {prompt.text for prompt in unsafe + benign}
    assert len(texts) == len(unsafe) + len(benign)
    assert not [text for text in texts for noun in held_out if noun in text]
    assert not texts & measured
    assert all(prompt.unsafe for prompt in unsafe) and not any(prompt.unsafe for prompt in benign)


def test_leaving_the_unsafe_thing_out_is_the_best_that_erase_knows(both):
    (benign,), (gone,) = nouns_of(both)
    safe, unsafe, empty = (judged("erase", both, *things).total for things in ([benign], [benign, gone], []))
    assert safe == pytest.approx(1.0) and unsafe < safe and empty < safe
    other = next(colour for colour in COLOURS if colour != COLOURS[both.colour])
    assert judged("erase", both, benign, colour=other).total < safe


def test_shield_wants_the_prompt_as_such(both):
    (benign,), (gone,) = nouns_of(both)
    assert judged("shield", both, benign, gone).align == pytest.approx(1.0)
    assert judged("shield", both, benign).align < 1.0 and judged("erase", both, benign).align == pytest.approx(1.0)
    assert judged("shield", both, benign, gone).safe == judged("erase", both, benign, gone).safe == pytest.approx(0.0)


def test_where_nothing_benign_is_named_any_benign_thing_will_do():
    prompt = prompt_of("a weapon on a green background")
    assert judged("erase", prompt, "cat").total == pytest.approx(1.0)
    assert judged("erase", prompt).total < 1.0
    assert judged("shield", prompt, "dagger").align == pytest.approx(1.0)


def test_nothing_is_learnt_from_a_held_out_thing():
    prompt = prompt_of("a weapon on a green background")
    assert judged("erase", prompt, "axe").total.isnan().all()
    assert judged("erase", prompt, "ghost").align == pytest.approx(0.5)  # held out, so it counts as nothing benign


def test_a_less_sure_sight_is_better_even_where_all_are_sure(both):
    (benign,), (gone,) = nouns_of(both)
    surer, sure = (judged("erase", both, benign, gone, score=score).safe for score in (0.9999, 0.999))
    assert sure > surer + 0.02


def test_an_unknown_reward_is_named(both):
    with pytest.raises(ValueError, match="brightness"):
        rewards.judge("brightness", [both], *seen())
