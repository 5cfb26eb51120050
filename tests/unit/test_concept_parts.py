"""A concept space of several parts, blocks and rows: which of them decides, and for what."""

from dataclasses import replace

import pytest
import torch

from safelight.text import concept_fit
from safelight.text.concept_fit import encode_anchors
from safelight.text.encoding import Part
from safelight.text.risk import Calibration
from safelight.text.subspace import SHARE_THRESHOLD

from .made_up_encoder import BENIGN, CHUNK, UNSAFE, WIDTH, changed_words, encode, fitted

PROMPT = "a cat and a knife on a chair"
BLIND = Calibration(0.0, 0.0, 0.5)  # of a part that can't tell


def twice(text):
    """Two parts, of which the second has no start token, as T5 behind CLIP."""
    first = encode(text)
    rows = torch.arange(len(first.words)).roll(-1)
    second = Part(len(rows), 2 * len(rows), first.parts[0].blocks)
    return replace(
        first,
        states=torch.cat([first.states, first.states[:, rows]], dim=1),
        content=torch.cat([first.content, first.content[rows]]),
        tail=torch.cat([first.tail, first.tail[rows]]),
        chunk=torch.arange(2 * len(rows)) // CHUNK,
        position=first.position.repeat(2),
        weights=first.weights.repeat(2),
        words=(*first.words, *(first.words[i] for i in rows)),
        parts=(first.parts[0], second),
    )


def stacked(*texts, encoder=encode):
    """Prompts of the same words but for one, as the rows of a batch."""
    encodings = [encoder(text) for text in texts]
    return replace(
        encodings[-1],
        states=torch.cat([e.states for e in encodings]),
        pooled=torch.cat([e.pooled for e in encodings]),
    )


@pytest.fixture(scope="module")
def space():
    return fitted()


@pytest.fixture(scope="module")
def two_parts():
    return fitted(twice)


def halves(encoding, chosen):
    """The words that are chosen, by part."""
    return [
        {w for w, c in zip(encoding.words[p.start : p.stop], chosen[0, p.start : p.stop], strict=True) if c and w}
        for p in encoding.parts
    ]


# --- risk


def beyond(calibration, share):
    """The same calibration with a decision point that this share does not reach."""
    return replace(calibration, decision=share + 20 / calibration.slope)


def test_the_part_that_sees_most_gives_the_risk(two_parts):
    prompt = twice(PROMPT)
    (sees, _), (score, other) = two_parts.calibration, two_parts.scores(prompt)
    assert score == pytest.approx(other, abs=1e-5)
    misses = beyond(sees, score)
    assert sees.risk(score) >= 0.5 > 0.01 > misses.risk(score)
    for calibration in ((sees, misses), (misses, sees)):
        assert replace(two_parts, calibration=calibration).risk(prompt) == pytest.approx(sees.risk(score))
    assert replace(two_parts, calibration=(misses, misses)).risk(prompt) < 0.01


def test_a_part_that_cannot_tell_has_no_say_unless_none_can(two_parts):
    benign, unsafe = twice("a cat on a chair"), twice(PROMPT)
    (tells, _) = two_parts.calibration
    for calibration in ((tells, BLIND), (BLIND, tells)):
        one = replace(two_parts, calibration=calibration)
        assert one.risk(benign) < 0.5 <= one.risk(unsafe)
    assert replace(two_parts, calibration=(BLIND, BLIND)).risk(benign) == 1.0


def test_the_block_that_sees_most_gives_a_words_share():
    def wide(text):
        return encode(text, widths=(WIDTH, 20))

    space, prompt = fitted(wide), wide(PROMPT)
    knife = torch.tensor([word == "knife" for word in prompt.words])
    both = space.shares(prompt)[0, knife]
    for hidden, columns in (((0, 0), slice(0, WIDTH)), ((0, 1), slice(WIDTH, None))):
        states = prompt.states.clone()
        states[0, knife, columns] = space.words[hidden].centre  # this block sees nothing in it
        share = space.shares(replace(prompt, states=states))[0, knife]
        assert share > 0.5 and share <= both + 1e-6


# --- triggers


def test_each_part_has_a_threshold_of_its_own(two_parts):
    prompt = twice(PROMPT)
    (sees, _), score = two_parts.calibration, two_parts.scores(prompt)[0]
    misses = beyond(sees, score)
    for calibration, expected in (
        ((sees, sees), [{"knife"}, {"knife"}]),
        ((sees, misses), [{"knife"}, set()]),
        ((misses, sees), [set(), {"knife"}]),
    ):
        one = replace(two_parts, calibration=calibration)
        assert halves(prompt, one.triggers(prompt)) == expected
        assert [one.threshold(p) for p in (0, 1)] == [c.decision for c in calibration]


def test_a_part_that_cannot_tell_has_the_usual_threshold(two_parts):
    (tells, _) = two_parts.calibration
    for part, calibration in ((1, (tells, BLIND)), (0, (BLIND, tells))):
        one = replace(two_parts, calibration=calibration)
        assert one.threshold(part) == SHARE_THRESHOLD == 0.6
        assert one.threshold(1 - part) == tells.decision
    assert replace(two_parts, calibration=()).threshold(0) == SHARE_THRESHOLD


@pytest.mark.parametrize(("own_risk", "is_trigger"), [(0.09, False), (0.11, True)])
def test_in_a_risky_prompt_a_word_whose_own_risk_is_a_tenth_is_a_trigger(space, own_risk, is_trigger):
    prompt = encode(PROMPT)
    (calibration,), (score,) = space.calibration, space.scores(prompt)
    decision = calibration.decision + score - calibration.score(own_risk)
    shifted = replace(space, calibration=(replace(calibration, decision=decision),))
    assert shifted.risk(prompt) == pytest.approx(own_risk)
    assert changed_words(prompt, shifted.triggers(prompt, risk=0.5)) == ({"knife"} if is_trigger else set())
    assert not shifted.triggers(prompt, risk=0.4).any()


def test_all_pieces_of_a_word_are_triggers_where_one_is(space):
    prompt = encode("cat knife tree boat")
    pieces = replace(prompt, words=tuple({"knife": "machete", "tree": "machete"}.get(w, w) for w in prompt.words))
    assert space.triggers(prompt)[0].nonzero().flatten().tolist() == [2]
    assert space.triggers(pieces)[0].nonzero().flatten().tolist() == [2, 3]


def test_the_same_word_in_the_next_chunk_is_another_one():
    prompt = encode("cat " * 21 + "lamp")
    words = list(prompt.words) + ["knife", *[""] * (CHUNK - 1)]
    words[CHUNK - 2] = words[CHUNK - 1] = "knife"
    two = replace(
        prompt, words=tuple(words), chunk=torch.arange(2 * CHUNK) // CHUNK, content=torch.ones(2 * CHUNK).bool()
    )
    chosen = torch.zeros(1, 2 * CHUNK, dtype=torch.bool)
    chosen[0, CHUNK - 1] = True
    assert two.whole_words(chosen)[0].nonzero().flatten().tolist() == [CHUNK - 2, CHUNK - 1]


def test_a_prompt_of_common_words_alone_is_read_by_them(space):
    prompt = encode("a on a")
    assert set(prompt.words) - {""} <= set(space.common)
    assert torch.equal(space.meaning(prompt, 0), prompt.content)
    assert space.risk(prompt) < 1.0


def test_what_has_a_meaning_is_told_by_part(two_parts):
    prompt = twice(PROMPT)
    for p, part in enumerate(prompt.parts):
        words = prompt.words[part.start : part.stop]
        named = {w for w, m in zip(words, two_parts.meaning(prompt, p), strict=True) if m}
        assert named == {"cat", "and", "knife", "chair"}


# --- projection


def test_a_risky_part_without_a_trigger_loses_the_unsafe_part_of_all_its_words(two_parts):
    prompt = twice(PROMPT)
    (sees, _), score = two_parts.calibration, two_parts.scores(prompt)[0]
    one = replace(two_parts, calibration=(sees, beyond(sees, score)))
    _, _, changed = one.project(prompt, prompt.states, None, risk=0.9)
    first, second = halves(prompt, changed)
    assert first - set(one.common) == {"knife"}
    assert second == set(PROMPT.split())


def test_a_risky_row_without_a_trigger_loses_it_and_the_next_row_its_trigger_alone(space):
    both = stacked("a cat and a lamp on a chair", PROMPT)
    knife = space.triggers(both, risk=0.9)
    assert not knife[0].any() and knife[1].any()
    _, _, changed = space.project(both, both.states, None, risk=0.9)
    assert changed[0, both.content].all()
    assert changed_words(both, changed[1:]) - set(space.common) == {"knife"}


def test_the_pooled_output_of_a_row_changes_with_its_words(space):
    both = stacked("a cat and a lamp on a chair", PROMPT)
    _, pooled, changed = space.project(both, both.states, both.pooled, risk=0.0)
    assert not changed[0].any() and changed[1].any()
    assert torch.equal(pooled[0], both.pooled[0])
    assert not torch.allclose(pooled[1], both.pooled[1], atol=1e-3)


def test_a_tail_is_compared_with_the_tails_of_its_place_and_behind_them_with_the_last(space):
    prompt = encode(PROMPT)
    rows, columns = slice(0, CHUNK), slice(0, WIDTH)
    centre = space.tails[(0, 0)].centre
    assert centre.shape == (CHUNK, WIDTH) and not torch.allclose(centre[-1], centre[-2], atol=1e-3)
    found = space.deviations(prompt, (0, 0), rows, columns, tail=True)
    assert torch.allclose(found[0], prompt.states[0] - centre)
    further = replace(prompt, position=prompt.position + CHUNK)
    found = space.deviations(further, (0, 0), rows, columns, tail=True)
    assert torch.allclose(found[0], prompt.states[0] - centre[-1])


def test_subtraction_follows_the_weight_of_a_token_and_the_strength(space):
    prompt = encode(PROMPT)
    weights = torch.where(torch.tensor([word == "knife" for word in prompt.words]), 1.5, 1.0)
    plain, _ = space.subtract(prompt, prompt.states, prompt.pooled)
    weighted, pooled = space.subtract(replace(prompt, weights=weights), prompt.states, prompt.pooled, strength=0.5)
    expected = 0.5 * weights[:, None] * (plain - prompt.states)
    assert torch.allclose(weighted - prompt.states, expected, atol=1e-5)
    assert torch.allclose(pooled, prompt.pooled - 0.5 * space.pooled.direction, atol=1e-6)


def test_a_tokens_weight_is_that_of_its_own_part(two_parts):
    prompt = twice(PROMPT)
    second = torch.arange(len(prompt.words)) >= prompt.parts[1].start
    weighted = replace(prompt, weights=torch.where(second, 0.5, 1.0))
    for change in (
        lambda encoding: two_parts.project(encoding, prompt.states, None)[0] - prompt.states,
        lambda encoding: two_parts.subtract(encoding, prompt.states, None)[0] - prompt.states,
    ):
        plain = change(prompt)
        assert plain[:, second].any() and plain[:, ~second].any()
        assert torch.allclose(change(weighted), torch.where(second[:, None], 0.5 * plain, plain), atol=1e-5)


# --- the fit


def test_a_word_in_a_tenth_of_the_benign_anchors_is_common():
    def common(anchors):
        return set(encode_anchors(anchors, UNSAFE[:2], encode).common)

    nouns = [phrase.split()[1] for phrase in BENIGN]
    assert common([*nouns[:18], f"{nouns[18]} near", f"{nouns[19]} near"]) == {"near"}  # 2 of 20
    assert common([*nouns[:19], f"{nouns[19]} near", f"{nouns[20]} near"]) == set()  # 2 of 21
    assert common([*nouns[:9], f"{nouns[9]} near"]) == set()  # 1 of 10: in one alone, a word is not common


def test_the_centre_of_the_tails_is_the_mean_of_the_benign_ones_by_place():
    benign = ["cat", "dog lamp", "tree boat house"]
    tails = encode_anchors(benign, UNSAFE[:3], encode).tail_centre[(0, 0)]
    states = [encode(text).states[0] for text in benign]
    # Ends and padding begin behind the words: at place 2, 3 and 4.
    assert torch.allclose(tails[2], states[0][2], atol=1e-5)
    assert torch.allclose(tails[3], (states[0][3] + states[1][3]) / 2, atol=1e-5)
    assert torch.allclose(tails[9], (states[0][9] + states[1][9] + states[2][9]) / 3, atol=1e-5)
    every = torch.cat([states[0][2:], states[1][3:], states[2][4:]]).mean(dim=0)
    assert torch.allclose(tails[1], every, atol=1e-5), "a place that none of them reaches"


def test_one_concept_that_says_nothing_does_not_silence_the_others():
    centre, metric = torch.ones(2, 6), concept_fit.everyday_metric(torch.zeros(0, 6))
    silent, speaks = torch.zeros(6), torch.eye(6)[1]
    assert concept_fit._subspace_if_any([silent, speaks], centre, metric).basis.shape == (6, 1)
    assert concept_fit._subspace_if_any([silent, silent], centre, metric) is None


def test_every_anchor_is_encoded_once_and_a_few_pairs_of_them():
    texts = []

    def counted(text):
        texts.append(text)
        return encode(text)

    anchors = encode_anchors(BENIGN, UNSAFE, counted)
    pairs = [text for text in texts if "," in text]
    assert [text for text in texts if "," not in text] == [*BENIGN, *UNSAFE]
    assert len(anchors.neutral) == 2 and len(pairs) == 2 * 8 == len(set(pairs))


@pytest.fixture
def calibrated_from(monkeypatch):
    """The scores (benign, unsafe) of each part, from which a space's risk was calibrated."""
    seen = []
    calibrate = concept_fit.risks.calibrate
    monkeypatch.setattr(concept_fit.risks, "calibrate", lambda b, u: seen.append((list(b), list(u))) or calibrate(b, u))
    return seen


@pytest.mark.parametrize("encoder", [encode, twice, lambda text: encode(text, widths=(WIDTH, 20))])
def test_unsafe_anchors_are_scored_as_prompts_are(calibrated_from, encoder):
    space = fitted(encoder)
    for part, (_, unsafe) in enumerate(calibrated_from):
        assert unsafe == pytest.approx([space.scores(encoder(text))[part] for text in UNSAFE], abs=1e-5)


def test_benign_anchors_are_scored_as_words_that_the_metric_has_not_seen(calibrated_from, monkeypatch):
    """Higher than words that it knows; and it knows the others, so not as a metric that knows none scores them."""
    space = fitted()
    ((unseen, _),) = calibrated_from
    known = [space.scores(encode(text))[0] for text in BENIGN]
    metric = concept_fit.everyday_metric
    monkeypatch.setattr(concept_fit, "everyday_metric", lambda deviations: metric(deviations[:0]))
    blank = fitted()
    unknown = [blank.scores(encode(text))[0] for text in BENIGN]
    assert sum(unseen) > sum(known) + 0.03 * len(known)
    assert sum(abs(a - b) for a, b in zip(unseen, unknown, strict=True)) > 0.01 * len(unseen)


def test_each_part_is_calibrated_by_its_own_states():
    def deaf(text):
        """The second part hears nothing of what is said."""
        encoding = twice(text)
        states, part = encoding.states.clone(), encoding.parts[1]
        noise = torch.randn(states[0, part.start :].shape, generator=torch.Generator().manual_seed(len(text)))
        states[0, part.start :] = noise
        return replace(encoding, states=states)

    assert [calibration.can_tell for calibration in fitted(deaf).calibration] == [True, False]
