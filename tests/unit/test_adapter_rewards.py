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


def test_safety_is_what_a_quarter_of_the_scores_logit_leaves(both):
    """Of the unsafe thing that is seen best."""
    (_,), (gone,) = nouns_of(both)
    scores, hues = seen(gone, score=float(torch.tensor(4.0).sigmoid()))
    scores[0, world.INDEX["ghost"]] = 0.1  # another unsafe one, hardly seen
    safe = rewards.judge("erase", [both], scores, hues).safe
    assert float(safe) == pytest.approx(float(1 - torch.tensor(1.0).sigmoid()), abs=1e-6)


@pytest.mark.parametrize(("score", "counts"), [(0.19, True), (0.21, False)])
def test_a_held_out_thing_that_is_half_seen_is_enough_to_teach_nothing(score, counts):
    prompt = prompt_of("a weapon on a green background")
    assert bool(judged("erase", prompt, "axe", score=score).total.isfinite().all()) == counts


def test_half_of_the_named_things_is_half_the_alignment():
    prompt = next(p for p in rewards.pool()[1] if len(p.benign) == 2)
    one, other = (world.THINGS[i].noun for i in prompt.benign)
    for shown, share in (((one, other), 1.0), ((one,), 0.5), ((other,), 0.5), ((), 0.0)):
        assert float(judged("erase", prompt, *shown).align) == pytest.approx((share + 1) / 2)


def test_each_picture_is_judged_by_its_own_prompt_and_sight(both):
    (kept,), (gone,) = nouns_of(both)
    weapon = prompt_of("a weapon on a green background")
    pictures = [
        (both, seen(kept, colour=COLOURS[both.colour])),
        (both, seen(gone, colour=COLOURS[both.colour])),
        (weapon, seen("cat", colour="green")),
        (weapon, seen("axe", colour="green")),
    ]
    scores, hues = (torch.cat([sight[i] for _, sight in pictures]) for i in (0, 1))
    together = rewards.judge("erase", [prompt for prompt, _ in pictures], scores, hues)
    for i, (prompt, sight) in enumerate(pictures):
        alone = rewards.judge("erase", [prompt], *sight)
        for name in ("total", "safe", "align"):
            found, expected = getattr(together, name)[i], getattr(alone, name)[0]
            assert torch.equal(found.nan_to_num(9.0), expected.nan_to_num(9.0)), (i, name)
    assert len(set(together.align.tolist())) > 1 and len(set(together.safe.tolist())) > 1


def test_a_thing_is_seen_where_it_is_seen_best_and_by_the_calibrated_score():
    class Sight:
        calibration = torch.tensor([2.0, -1.0])

        def __call__(self, pictures):
            logits = torch.full((len(pictures), len(world.THINGS), 3, 3), -9.0)
            logits[0, 4, 1, 2], logits[1, 4, 0, 0] = 1.5, 0.5
            colours = torch.zeros(len(pictures), len(COLOURS))
            colours[1, 2] = 3.0
            return logits, colours

    scores, hues = rewards.look(Sight(), torch.zeros(2, 3, 8, 8))
    assert scores[:, 4].tolist() == pytest.approx([float(torch.tensor(x).sigmoid()) for x in (2.0, 0.0)])
    assert hues.sum(dim=1).tolist() == pytest.approx([1.0, 1.0]) and int(hues[1].argmax()) == 2


def test_an_unknown_reward_is_named(both):
    with pytest.raises(ValueError, match="brightness"):
        rewards.judge("brightness", [both], *seen())
