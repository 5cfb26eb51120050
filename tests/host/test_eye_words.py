"""A sampler with a detector and Safelight Words: what is found makes the safe prompt."""

from __future__ import annotations

import json
from contextlib import contextmanager

import comfy.model_management
import comfy.samplers
import pytest
import torch
from host import ADVANCED, SETTINGS, call, count_rows, stock
from safelight_pack import PlainVAE
from tiny_encoders import fitting_clip
from tiny_models import latent
from toy_encoders import encoder_calls

from safelight.detect.detector import Detector
from safelight.detect.look import Finding, Look, failed
from safelight.guidance.schedule import LOOKING, PRESETS
from safelight.text.concepts import TEMPLATE_CONCEPTS, split_concepts

PROMPT = "a cat at a party"
COCOA, SPOON = f"{PROMPT} with a mug of cocoa", f"{PROMPT} with a wooden spoon"
BEER, KNIFE = "mug of beer", "kitchen knife"
NOTHING = ""


class Script(Detector):
    """Names in turn what it was told, "" for nothing, whatever the pictures show."""

    name = "the script"

    def __init__(self, *said):
        self.said = list(said)

    def _look(self, pictures):
        return [self._of(self.said.pop(0)) for _ in pictures]

    @staticmethod
    def _of(said):
        return said if isinstance(said, Look) else Look(0.9 if said else 0.1, (Finding(said, 0.9),) if said else ())


@pytest.fixture(scope="module")
def clip():
    return fitting_clip()


@pytest.fixture
def encoded(pack, clip):
    """(positive, safe, risk) of a prompt."""
    return lambda prompt=PROMPT, **inputs: call(
        pack.nodes["SafelightContextEncode"], clip=clip, prompt=prompt, concepts=TEMPLATE_CONCEPTS, **inputs
    )[:3]


@pytest.fixture
def linked(pack, clip):
    """Safelight Words for a prompt."""
    return lambda prompt=PROMPT, **inputs: call(
        pack.nodes["SafelightWords"], clip=clip, prompt=prompt, concepts=TEMPLATE_CONCEPTS, **inputs
    )[0]


@pytest.fixture
def words(linked):
    """The same with the negative prompt left as it is, so that a level's picture is that of a fixed run."""

    def made(prompt=PROMPT, **inputs):
        result = linked(prompt, **inputs)
        result.texts.against = lambda names, last: ""
        return result

    return made


@pytest.fixture
def run(pack, eps, prompts, encoded):
    """A call of SafelightKSampler: (samples, report, passed, rows that the model evaluated)."""

    def sample(detector=None, linked=None, pictures=1, prompt=PROMPT, model=eps, **settings):
        positive, safe, risk = encoded(prompt)
        given = {"positive": positive, "safe": safe, "negative": prompts[2], "risk": risk}
        given |= {**SETTINGS, "steps": 10, "safety": 1.0, **settings}
        if detector is None:
            given = {"schedule": LOOKING, **given}  # that of a level
        else:
            given |= {"detector": detector, "vae": PlainVAE(), "words": linked}
        with count_rows(model) as rows:
            samples, report, _, passed = call(
                pack.nodes["SafelightKSampler"], model=model, latent_image=latent(batch=pictures), **given
            )
        return samples["samples"], json.loads(report), passed, sum(rows.rows)

    return sample


@pytest.fixture
def at(run, encoded):
    """The latent at a fixed place of the slider, steered by a safe prompt."""

    def sample(safety, safe, **settings):
        return run(safety=safety, safe=encoded(safe)[0], risk=1.0, **settings)

    return sample


@pytest.fixture
def plain(eps, prompts, encoded):
    return lambda pictures=1, **settings: stock(
        eps, encoded()[0], prompts[2], latent(batch=pictures), **{"steps": 10, **settings}
    )


def looked(report, number=0):
    picture = report["look"]["pictures"][number]
    return picture["safety"], picture["safe_prompt"]


# -- nothing is found


@pytest.mark.parametrize("pictures", [1, 3])
def test_where_nothing_is_found_nothing_is_encoded_and_the_picture_is_the_stock_samplers(
    run, words, plain, clip, encoded, pictures
):
    linked, (positive, safe, risk) = words(), encoded()
    with encoder_calls(clip) as calls:
        given = {"positive": positive, "safe": safe, "risk": risk}
        samples, report, passed, rows = run(Script(*[NOTHING] * 2 * pictures), linked, pictures, **given)
    assert torch.equal(samples, plain(pictures)) and passed is True and report["harmless"] is True
    assert calls.calls == 1  # the test's own, of the prompt
    assert rows == report["rows"] == report["plain_rows"] and looked(report) == (0.0, "")
    assert any("nothing unsafe was found in the prompt" in note for note in report["notes"])


# -- harmless words


def test_what_shows_on_the_way_is_steered_by_its_words_from_there_and_costs_no_row_twice(run, words, at, plain):
    samples, report, passed, rows = run(Script(BEER, NOTHING), words())
    fixed, _, _, fixed_rows = at(0.5, COCOA)
    assert passed is True and torch.equal(samples, fixed) and not torch.equal(samples, plain())
    assert rows == fixed_rows == report["rows"] and report["plain_rows"] == 20
    assert looked(report) == (0.5, COCOA) and report["harmless"] is False
    assert report["remembered_rows"] > 0 and report["replaced"] > 0
    assert not any("the stock sampler ran" in note for note in report["notes"])
    assert any(f'{BEER} on the way at safety 0; at safety 0.5 with "{COCOA}"' in note for note in report["notes"])


def test_what_shows_at_the_end_is_steered_from_the_next_run_on(run, words, at):
    samples, report, passed, rows = run(Script(NOTHING, BEER, BEER, NOTHING), words(), safety=0.75)
    assert passed is True and torch.equal(samples, at(0.75, COCOA)[0]) and looked(report) == (0.75, COCOA)
    alone = [at(level, COCOA)[3] for level in (0.5, 0.75)]
    assert rows == report["rows"] == 20 + sum(alone) - report["remembered_rows"]
    assert report["plain_rows"] == 20 and not any("the stock sampler ran" in note for note in report["notes"])


def test_a_text_without_a_gate_is_no_floor_where_it_is_harmless(run, words, plain):
    samples, report, passed, _ = run(Script(NOTHING, NOTHING), words(), risk=1.0)
    assert passed is True and torch.equal(samples, plain()) and looked(report) == (0.0, "")


def test_another_find_adds_its_words_and_the_last_level_is_tried_once_more(run, words, at):
    both = f"{PROMPT} with a mug of cocoa and a wooden spoon"
    samples, report, passed, _ = run(Script(BEER, BEER, KNIFE, NOTHING), words(), safety=0.75)
    assert passed is True and looked(report) == (0.75, both) and torch.equal(samples, at(0.75, both)[0])
    samples, report, passed, _ = run(Script(BEER, KNIFE, BEER), words(), safety=0.5)
    assert passed is False and looked(report) == (0.5, both) and torch.equal(samples, at(0.5, both)[0])
    third = Script(BEER, KNIFE, "syringe", "pill")
    assert run(third, words(), safety=0.5)[2] is False and third.said == ["pill"]


@pytest.mark.parametrize("look", [failed("broken"), Look(0.9, (Finding("the text", 0.9),)), Look(0.9)])
def test_what_has_no_name_gets_words_against_most_things(run, words, look):
    _, report, passed, _ = run(Script(look, NOTHING), words())
    assert passed is True and looked(report) == (0.5, f"{PROMPT}, fully clothed, clean and calm")


def test_what_only_a_combination_finds_is_named_by_the_likeliest(run, words):
    together = Look(0.6, (Finding(BEER, 0.4), Finding(KNIFE, 0.3)))
    assert looked(run(Script(together, NOTHING), words())[1]) == (0.5, COCOA)


@pytest.mark.parametrize("sampler_name", comfy.samplers.KSampler.SAMPLERS)
def test_every_sampler_can_be_left_and_run_again(run, words, at, sampler_name):
    samples, report, passed, rows = run(Script(BEER, NOTHING), words(), sampler_name=sampler_name)
    fixed, _, _, fixed_rows = at(0.5, COCOA, sampler_name=sampler_name)
    assert passed is True and torch.equal(samples, fixed) and rows <= fixed_rows
    assert report["look"]["pictures"][0]["looks"][0]["early"] is True


def test_each_text_is_encoded_once(run, words, clip, encoded):
    linked, (positive, safe, risk) = words(), encoded()
    given = {"positive": positive, "safe": safe, "risk": risk}
    calls = []
    for _ in range(2):
        with encoder_calls(clip) as seen:
            run(Script(BEER, BEER, NOTHING), linked, **given)
        calls.append(seen.calls - 1)  # the test's own
    assert calls == [1, 0]


# -- what was found, in the negative prompt


def asked(model, monkeypatch):
    """By call of the model how many tokens each row's text has, and at which noise level."""
    seen, apply = [], model.model.apply_model

    def watched(x, t, *args, **kwargs):
        seen.append((float(t.flatten()[0]), kwargs["c_crossattn"].shape[1]))
        return apply(x, t, *args, **kwargs)

    monkeypatch.setattr(model.model, "apply_model", watched)
    return seen


def test_what_was_found_stands_in_the_negative_prompt_from_the_levels_moment_on(
    run, linked, words, at, eps, monkeypatch
):
    same = at(0.5, COCOA)[0]
    tokens = asked(eps, monkeypatch)
    plain = run(Script(BEER, NOTHING), words())[0]
    without, tokens[:] = {count for _, count in tokens}, []
    samples, report, passed, rows = run(Script(BEER, NOTHING), linked())
    assert torch.equal(plain, same) and not torch.equal(samples, same) and passed is True
    assert looked(report) == (0.5, COCOA) and report["look"]["pictures"][0]["against"] == [BEER]
    assert any(f'with "{COCOA}" against {BEER} nothing was found' in note for note in report["notes"])
    assert rows == report["rows"] and report["plain_rows"] == 20
    start = next(call["sigma"] for call in report["weights"] if call["w"])
    longer = [sigma for sigma, count in tokens if count > max(without)]
    assert longer and len(longer) < len(tokens) and start > 0
    first = next(i for i, (_, count) in enumerate(tokens) if count > max(without))
    assert all(count > max(without) for _, count in tokens[first:])  # from there on in every call


def test_names_add_up_and_an_encoder_that_does_not_know_one_leaves_it_out(linked):
    texts = linked().texts
    assert texts.against(["skull", "", "mug of beer"], last=False) == "skull, mug of beer"
    concepts = ", ".join(split_concepts(TEMPLATE_CONCEPTS))
    assert texts.against(["skull"], last=True) == f"skull, {concepts}"
    texts._instead._knows = lambda word: word != "skull"
    assert texts.against(["skull", "mug of beer"], last=False) == "mug of beer"
    assert texts.against(["skull"], last=False) == "" and texts.against(["skull"], last=True) == concepts


def test_a_negative_prompt_with_no_place_for_more_stays_and_the_notes_say_so(run, linked, words, prompts):
    states = prompts[2][0][0]
    other = [[states, {"pooled_output": None, "attention_mask": torch.ones(1, states.shape[1])}]]
    (samples, report, *_), (same, *_) = (run(Script(BEER, NOTHING), each(), negative=other) for each in (linked, words))
    assert torch.equal(samples, same)
    assert any(note.startswith("negative: what was found could not be put behind it") for note in report["notes"])


def test_without_a_negative_prompt_in_a_call_nothing_is_added_to_it(run, linked, words):
    assert torch.equal(*(run(Script(BEER, NOTHING), each(), cfg=1.0)[0] for each in (linked, words)))


def test_a_linked_schedule_that_blends_keeps_the_negative_prompt(run, linked, words):
    schedule = PRESETS["balanced"]
    blended = [run(Script(BEER, NOTHING), each(), safety=0.5, schedule=schedule)[0] for each in (linked, words)]
    assert torch.equal(*blended)


# -- batches


def test_pictures_of_a_batch_get_words_of_their_own(run, words, at, plain):
    # The first shows beer on the way, the second nothing, the third a knife at the end.
    said = [BEER, NOTHING, NOTHING, NOTHING, KNIFE, NOTHING, NOTHING]
    samples, report, passed, rows = run(Script(*said), words(), pictures=3, safety=0.75)
    assert passed is True and torch.equal(samples[1], plain(3)[1])
    assert [looked(report, i) for i in range(3)] == [(0.5, COCOA), (0.0, ""), (0.5, SPOON)]
    for i, text in ((0, COCOA), (2, SPOON)):
        assert torch.allclose(samples[i], at(0.5, text, pictures=3)[0][i], atol=1e-4)
    assert rows == report["rows"] and report["plain_rows"] == 60


def test_a_batch_of_which_all_show_something_leaves_the_plain_run_at_once(run, words, at):
    samples, report, passed, rows = run(Script(BEER, KNIFE, NOTHING, NOTHING), words(), pictures=2)
    assert passed is True and [looked(report, i) for i in range(2)] == [(0.5, COCOA), (0.5, SPOON)]
    for i, text in enumerate((COCOA, SPOON)):
        assert torch.allclose(samples[i], at(0.5, text, pictures=2)[0][i], atol=1e-4)
    assert rows == report["rows"] == at(0.5, COCOA, pictures=2)[3] and report["plain_rows"] == 40


def test_equal_words_are_one_run(run, words, at):
    samples, _, passed, rows = run(Script(BEER, BEER, NOTHING, NOTHING), words(), pictures=2)
    fixed, _, _, fixed_rows = at(0.5, COCOA, pictures=2)
    assert passed is True and torch.equal(samples, fixed) and rows == fixed_rows


# -- words that are unsafe themselves


def test_an_unsafe_text_is_steered_by_its_own_safe_prompt_first_and_then_by_what_still_shows(run, words, encoded):
    prompt = "a cat and a knife"
    safe = encoded(prompt)[1]
    more = "a cat and a spoon with a mug of cocoa"
    fixed = run(prompt=prompt, safety=0.75, safe=encoded(more)[0], risk=1.0)[0]
    given = {"prompt": prompt, "safe": safe, "risk": 0.9}
    linked = words(prompt, stand_ins="knife = spoon")
    samples, report, passed, _ = run(Script(BEER, NOTHING), linked, **given)
    assert passed is True and looked(report) == (0.75, more) and torch.equal(samples, fixed)
    # What the safe prompt replaced already gets no more words.
    samples, report, _, _ = run(Script("knife", NOTHING), linked, **given)
    assert looked(report) == (0.75, "")
    # From a plain picture on the linked safe prompt comes first, in the run that is under way or in the next.
    for said in ([BEER, NOTHING], [NOTHING, BEER, NOTHING]):
        samples, report, _, _ = run(Script(*said), linked, **{**given, "at_least": 0.0, "safety": 0.75})
        assert looked(report) == (0.5, "") and torch.equal(samples, run(safety=0.5, **given)[0])


def test_a_prompt_whose_gate_is_closed_may_be_its_own_safe_prompt(run, words, encoded, plain):
    positive = encoded()[0]
    samples, report, passed, _ = run(Script(NOTHING, NOTHING), None, safe=positive, risk=0.1)
    assert passed is True and torch.equal(samples, plain())
    assert looked(run(Script(BEER, NOTHING), words(), safe=positive, risk=0.1)[1]) == (0.5, COCOA)
    with pytest.raises(ValueError, match="safe: expected another prompt than positive"):
        run(Script(NOTHING), words(), safe=positive, risk=1.0)


# -- captions


def test_a_caption_is_rewritten_and_one_that_names_nothing_adds_words(run, words, at):
    caption = "a cat with a bottle of beer, balloons"
    samples, report, _, _ = run(Script(BEER, NOTHING), words(caption=caption))
    text = looked(report)[1]
    assert "beer" not in text and text.startswith("a cat with a bottle of ") and text.endswith(", balloons")
    assert torch.equal(samples, at(0.5, text)[0])
    assert looked(run(Script(BEER, KNIFE, NOTHING), words(caption=caption))[1])[1] == f"{text}, wooden spoon"
    assert looked(run(Script(BEER, NOTHING), words(caption="a cat, balloons"))[1])[1] == COCOA


# -- what goes wrong


def test_without_words_the_report_says_what_to_link(run, plain):
    samples, report, passed, _ = run(Script(BEER, BEER))
    assert passed is False and torch.equal(samples, plain()) and looked(report) == (0.0, "")
    assert any("link Safelight Words" in note for note in report["notes"])


def test_at_safety_zero_words_steer_nothing(run, words, plain):
    samples, report, passed, _ = run(Script(BEER), words(), safety=0.0)
    assert passed is False and torch.equal(samples, plain()) and looked(report) == (0.0, "")


@contextmanager
def interrupted():
    try:
        yield
    finally:
        comfy.model_management.interrupt_current_processing(False)


def test_an_interruption_leaves_nothing_behind(run, words, eps, plain):
    class Stop(Script):
        def _look(self, pictures):
            if len(self.said) == 1:  # after the run that was left
                comfy.model_management.interrupt_current_processing(True)
            return super()._look(pictures)

    options, linked = dict(eps.model_options), words()
    with interrupted(), pytest.raises(BaseException) as caught:  # noqa: PT011  its class differs between hosts
        run(Stop(BEER, NOTHING), linked)
    assert type(caught.value).__name__ == "InterruptProcessingException"
    assert eps.model_options == options and torch.equal(run(Script(NOTHING, NOTHING), linked)[0], plain())


def test_a_patched_model_is_run_again_from_its_beginning(run, words, at, eps):
    patched = eps.clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * 0.999)
    samples, report, passed, rows = run(Script(BEER, NOTHING), words(), model=patched)
    fixed, _, _, fixed_rows = at(0.5, COCOA, model=patched)
    assert passed is True and torch.equal(samples, fixed) and fixed_rows < rows == report["rows"]
    assert report["plain_rows"] == 20 and any("nothing was remembered" in note for note in report["notes"])


def test_wrong_inputs_are_named(run, words, pack, clip):
    for inputs, match in (
        ({"instead": "beer"}, 'instead: expected "what was found = what should be there instead" in line 1'),
        ({"instead": "tea = tea\nbeer ="}, "in line 2, got 'beer ='"),
        ({"prompt": 7}, "prompt: expected a text"),
        ({"caption": 7}, "caption: expected a text"),
        ({"prompt": "一只猫"}, "prompt: expected English"),
    ):
        with pytest.raises(ValueError, match=match):
            words(**inputs)
    with pytest.raises(ValueError, match="clip: expected a text encoder, got none"):
        call(pack.nodes["SafelightWords"], clip=None, prompt=PROMPT)
    with pytest.raises(ValueError, match="words: expected Safelight Words"):
        run(Script(NOTHING), "a mug of cocoa")
    with pytest.raises(ValueError, match="words: expected a safe prompt that the text encoder tells from the prompt"):
        cut = words()
        cut._encoded[COCOA] = call(pack.nodes["SafelightContextEncode"], clip=clip, prompt=PROMPT)[0]
        run(Script(BEER), cut)


def test_the_advanced_sampler_takes_words_too(pack, eps, prompts, encoded, words):
    positive, safe, risk = encoded()
    given = {**ADVANCED, "model": eps, "positive": positive, "safe": safe, "negative": prompts[2], "risk": risk}
    given |= {"latent_image": latent(), "safety": 1.0, "vae": PlainVAE(), "words": words()}
    _, report, _, passed = call(pack.nodes["SafelightKSamplerAdvanced"], **given, detector=Script(BEER, NOTHING))
    assert passed is True and looked(json.loads(report)) == (0.5, COCOA)
