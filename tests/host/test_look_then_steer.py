"""A sampler with a detector: plain where nothing is found, the least level that is enough where something is."""

from __future__ import annotations

import json

import comfy.model_base
import comfy.model_management
import comfy.samplers
import pytest
import torch
from host import ADVANCED, SETTINGS, call, count_rows, require, stock, stock_advanced
from safelight_pack import PlainVAE
from tiny_models import conditioning, latent, video_model

from safelight.detect.detector import Detector
from safelight.detect.look import Finding, Look
from safelight.guidance.schedule import LOOKING, PRESETS
from safelight.text.inherit import HARMLESS

CLEAR, SEEN = 0.1, 0.9


class Script(Detector):
    """Says in turn what it was told, whatever the pictures show; shown: those that it saw."""

    name = "the script"

    def __init__(self, *scores):
        self.scores, self.shown = list(scores), []

    def _look(self, pictures):
        self.shown += list(pictures)
        said = [self.scores.pop(0) for _ in pictures]
        return [Look(score, (Finding("a thing", score, (0.25, 0.25, 0.75, 0.75)),)) for score in said]


class RoundVAE(PlainVAE):
    """A PlainVAE that encodes too, in so many channels."""

    def __init__(self, channels=4):
        self.channels = channels

    def encode(self, images):
        shown = ((images[..., :3].movedim(-1, 1) - 0.5) / 0.1)[..., ::2, ::2]
        return torch.cat([shown, shown[:, :1].repeat(1, self.channels - 3, 1, 1)], dim=1)


@pytest.fixture
def trace():
    """Has that of the last run."""
    return []


@pytest.fixture
def run(pack, eps, prompts, trace):
    """A call of SafelightKSampler: (samples, report, passed, rows that the model evaluated)."""
    positive, safe, negative = prompts

    def sample(detector=None, pictures=1, model=eps, latent_image=None, **settings):
        given = {**SETTINGS, "steps": 10, "safety": 1.0, "risk": 0.0, **settings}
        given = {"positive": positive, "safe": safe, "negative": negative, **given}
        if detector is None:
            given = {"schedule": LOOKING, **given}  # that of a level
        else:
            given |= {"detector": detector, "vae": RoundVAE(), **settings}
        with count_rows(model) as rows:
            samples, report, *traced, passed = call(
                pack.nodes["SafelightKSampler"],
                model=model,
                latent_image=latent(batch=pictures) if latent_image is None else latent_image,
                **given,
            )
        trace[:] = traced
        return samples["samples"], json.loads(report), passed, sum(rows.rows)

    return sample


@pytest.fixture
def at(run):
    """The latent of one picture at a fixed place of the slider."""
    return lambda safety, **settings: run(safety=safety, risk=1.0, **settings)[0]


def plain(eps, prompts, pictures=1, **settings):
    positive, _, negative = prompts
    return stock(eps, positive, negative, latent(batch=pictures), **{"steps": 10, **settings})


# -- nothing is found


@pytest.mark.parametrize("pictures", [1, 3])
def test_where_nothing_is_found_the_picture_is_the_stock_samplers_bit_for_bit(run, eps, prompts, pictures):
    detector = Script(*[CLEAR] * 2 * pictures)
    with count_rows(eps) as rows:
        expected = plain(eps, prompts, pictures)
    samples, report, passed, evaluated = run(detector, pictures)
    assert torch.equal(samples, expected) and passed is True and evaluated == sum(rows.rows)
    assert report["rows"] == report["plain_rows"] == evaluated and not any(call["w"] for call in report["weights"])
    assert [one["safety"] for one in report["look"]["pictures"]] == [0.0] * pictures
    assert any("nothing was found" in note for note in report["notes"]) and detector.scores == []


def test_without_a_detector_nothing_passes_since_nobody_looked(run, eps, prompts):
    samples, report, passed, _ = run()
    assert passed is False and "look" not in report and torch.equal(samples, plain(eps, prompts))


# -- something is found


def test_what_shows_on_the_way_goes_on_at_the_first_level_and_is_that_levels_picture(run, at, eps, prompts):
    detector = Script(SEEN, CLEAR)
    samples, report, passed, evaluated = run(detector)
    assert passed is True and torch.equal(samples, at(0.5)) and not torch.equal(samples, plain(eps, prompts))
    _, fixed, _, rows = run(safety=0.5, risk=1.0)
    assert evaluated == rows == report["rows"] and report["plain_rows"] == fixed["plain_rows"]
    (picture,) = report["look"]["pictures"]
    assert picture["safety"] == 0.5 and [one["early"] for one in picture["looks"]] == [True, False]
    assert any("a thing on the way at safety 0" in note for note in report["notes"])


def test_what_shows_at_the_end_takes_the_next_levels_from_memory(run, at):
    detector = Script(CLEAR, SEEN, SEEN, CLEAR)
    samples, report, passed, evaluated = run(detector, safety=0.75)
    assert passed is True and torch.equal(samples, at(0.75))
    levels = [0.0, 0.5, 0.75]
    alone = sum(run(safety=level, risk=1.0)[3] for level in levels)
    remembered = report["remembered_rows"]
    starts = [sum(not call["w"] for call in run(safety=level, risk=1.0)[1]["weights"]) for level in levels[1:]]
    assert evaluated == alone - remembered and remembered == 2 * sum(starts) > 0
    assert [one["safety"] for one in report["look"]["pictures"][0]["looks"]] == [0.0, 0.0, 0.5, 0.75]


def test_what_no_level_lets_pass_ends_at_the_slider(run, at):
    samples, report, passed, _ = run(Script(SEEN, *[SEEN] * 3), safety=0.8)
    assert passed is False and torch.equal(samples, at(0.8))
    assert report["look"]["passed"] is False and any("no level let it pass" in note for note in report["notes"])


@pytest.mark.parametrize("sampler_name", comfy.samplers.KSampler.SAMPLERS)
def test_every_sampler_gives_the_levels_picture(run, at, sampler_name):
    samples, report, passed, _ = run(Script(CLEAR, SEEN, CLEAR), sampler_name=sampler_name, safety=0.5)
    if report["look"]["pictures"][0]["looks"][0]["early"] is False:  # the level acts from the first call on
        pytest.fail("no look on the way")
    assert passed is True and torch.equal(samples, at(0.5, sampler_name=sampler_name))


# -- batches


def test_pictures_of_a_batch_go_their_own_ways(run, eps, prompts, trace):
    # The middle one is found early, so that the run stays plain, the last one late; the middle one needs two levels.
    detector = Script(CLEAR, SEEN, CLEAR, CLEAR, SEEN, SEEN, CLEAR, CLEAR)
    both = {"pictures": 3, "schedule": PRESETS["balanced"]}  # evaluates both prompts, so that what moved is known
    samples, report, passed, evaluated = run(detector, safety=0.75, **both)
    glow = trace[0].cells().flatten(1).amax(1)
    assert glow[0] == 0.0 < min(glow[1:])
    expected = plain(eps, prompts, 3)
    assert passed is True and detector.scores == []
    assert [one["safety"] for one in report["look"]["pictures"]] == [0.0, 0.75, 0.5]
    assert torch.equal(samples[0], expected[0]) and not torch.equal(samples[1], expected[1])
    for i, level in ((1, 0.75), (2, 0.5)):
        alone = run(safety=level, risk=1.0, **both)[0]
        assert torch.allclose(samples[i], alone[i], atol=1e-4)
    moved = report["moved"]
    assert moved[0] == 0.0 < min(moved[1:])
    whole = run(safety=0.5, risk=1.0, **both)[3] + run(safety=0.75, risk=1.0, **both)[3]
    assert evaluated < sum([run(pictures=3)[3], whole]) * 0.75


def test_a_batch_that_is_found_as_a_whole_goes_on_together(run):
    samples, _, passed, evaluated = run(Script(SEEN, SEEN, CLEAR, CLEAR), pictures=2)
    fixed, _, _, rows = run(safety=0.5, risk=1.0, pictures=2)
    assert passed is True and torch.equal(samples, fixed) and evaluated == rows


# -- where a way begins


def test_a_risky_text_begins_at_its_floor_whatever_is_seen(run, at):
    detector = Script(CLEAR)
    samples, report, passed, _ = run(detector, risk=0.9)
    assert passed is True and torch.equal(samples, at(0.5)) and len(report["look"]["pictures"][0]["looks"]) == 1
    samples, *_ = run(Script(CLEAR), risk=0.9, at_least=0.6)
    assert torch.equal(samples, at(0.75))
    samples, report, *_ = run(Script(CLEAR, CLEAR), risk=0.9, at_least=0.0)
    assert report["look"]["pictures"][0]["safety"] == 0.0


def test_a_harmless_prompt_has_nothing_to_steer_with_and_says_so(run, eps, prompts):
    positive, _, negative = prompts
    harmless = [[states, {**extra, HARMLESS: True}] for states, extra in positive]
    samples, report, passed, _ = run(Script(SEEN), safe=harmless)
    assert passed is False and report["harmless"] is True and torch.equal(samples, plain(eps, prompts))
    assert run(Script(CLEAR), safe=harmless)[2] is True
    for scores, passed in (([SEEN], False), ([CLEAR], True)):  # a risky text has a floor, which says nothing here
        samples, report, *_ = run(Script(*scores), safe=harmless, risk=1.0)
        (picture,) = report["look"]["pictures"]
        assert torch.equal(samples, plain(eps, prompts)) and (picture["safety"], picture["passed"]) == (0.0, passed)


def test_the_slider_at_zero_looks_and_does_not_steer(run, eps, prompts):
    samples, report, passed, _ = run(Script(SEEN), safety=0.0)
    assert passed is False and torch.equal(samples, plain(eps, prompts)) and report["look"]["passed"] is False
    assert any("safety is 0" in note for note in report["notes"]) and report["look"]["hide"] == "keep"
    assert run(Script(CLEAR), safety=0.0)[2] is True


# -- what is left


@pytest.mark.parametrize("hide", ["blur", "blank"])
def test_what_no_level_lets_pass_is_hidden_as_chosen_and_the_others_stay(run, hide):
    scores = [CLEAR, CLEAR, CLEAR, SEEN, SEEN, SEEN]  # of two pictures the second never passes
    kept, hidden = (run(Script(*scores), pictures=2, safety=0.75, hide=way)[0] for way in ("keep", hide))
    assert torch.equal(hidden[0], kept[0]) and not torch.equal(hidden[1], kept[1])
    before, after = (RoundVAE().decode(each)[1] for each in (kept, hidden))
    side = before.shape[0]
    inside = slice(side * 3 // 10, side * 7 // 10)
    assert after[inside, inside].std() < 0.5 * before[inside, inside].std()
    assert torch.allclose(after[:, -2:], before[:, -2:], atol=1e-4)
    if hide == "blank":
        assert torch.allclose(after[inside, inside], torch.tensor(0.5), atol=1e-4)


def test_a_video_is_hidden_elsewhere_and_one_frame_here(pack, run):
    require(hasattr(comfy.model_base, "WAN21"), "Wan")
    model = video_model()
    one, two = (latent(channels=16, frames=frames) for frames in (1, 2))
    prompts = {"model": model, "vae": RoundVAE(16), "steps": 4}
    with pytest.raises(ValueError, match='hide: expected "keep" for a video'):
        run(Script(SEEN), latent_image=two, hide="blank", **prompts)
    samples, _, passed, _ = run(Script(*[SEEN] * 3), latent_image=one, hide="blank", safety=0.5, **prompts)
    assert passed is False and samples.shape == one["samples"].shape
    assert run(Script(*[CLEAR] * 4), latent_image=two, **prompts)[2] is True


def test_where_the_first_level_steers_from_the_first_call_on_there_is_no_look_on_the_way(run, at):
    samples, report, passed, _ = run(Script(SEEN, CLEAR), denoise=0.4)
    (picture,) = report["look"]["pictures"]
    assert passed is True and [one["early"] for one in picture["looks"]] == [False, False]
    assert torch.equal(samples, at(0.5, denoise=0.4))


def test_what_is_measured_is_of_the_run_that_made_the_picture(run, trace):
    run(Script(SEEN, SEEN, SEEN, CLEAR))  # at .5, .75 and, the safe prompt alone, 1
    last = run(safety=1.0, risk=1.0)[1]
    assert last["moved"] == []
    _, report, *_ = run(Script(SEEN, SEEN, SEEN, CLEAR))
    assert report["look"]["pictures"][0]["safety"] == 1.0 and report["moved"] in ([], [0.0])
    assert trace[0].estimated


def test_an_interruption_leaves_nothing_behind(run, eps, prompts):
    class Stop(Script):
        def _look(self, pictures):
            comfy.model_management.interrupt_current_processing(True)
            return super()._look(pictures)

    options = dict(eps.model_options)
    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  its class has another place and base on each host
            run(Stop(CLEAR, CLEAR))
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert type(caught.value).__name__ == "InterruptProcessingException"
    assert eps.model_options == options and torch.equal(run(Script(CLEAR, CLEAR))[0], plain(eps, prompts))


def test_a_patched_model_is_looked_at_too_without_a_memory(run, eps, prompts):
    patched = eps.clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * 0.999)
    samples, report, passed, _ = run(Script(CLEAR, SEEN, CLEAR), model=patched, safety=0.5)
    assert passed is True and report["remembered_rows"] == 0
    assert any("nothing was remembered" in note for note in report["notes"])
    assert torch.equal(samples, run(model=patched, safety=0.5, risk=1.0)[0])


def test_masks_and_noise_masks_go_along(run):
    masked = latent()
    masked["noise_mask"] = torch.zeros(1, 1, 16, 16)
    masked["noise_mask"][..., :8] = 1.0
    mask = torch.zeros(1, 16, 16)
    mask[:, :10] = 1.0
    for more in ({"latent_image": masked}, {"mask": mask}):
        samples, _, passed, _ = run(Script(CLEAR, SEEN, CLEAR), safety=0.5, **more)
        assert passed is True and torch.equal(samples, run(safety=0.5, risk=1.0, **more)[0])


# -- wrong inputs


def test_wrong_inputs_are_named(run):
    with pytest.raises(ValueError, match="vae: expected a VAE beside the detector"):
        run(Script(CLEAR), vae=None)
    with pytest.raises(ValueError, match="detector: expected a detector"):
        run("nudenet")
    for name, wrong in (("at_least", 1.5), ("hide", "cover"), ("merge", "separate (experimental)")):
        with pytest.raises(ValueError, match=name):
            run(Script(CLEAR, CLEAR), **{name: wrong})
    with pytest.raises(ValueError, match="economy"):
        run(Script(CLEAR, CLEAR), economy="balanced")


def test_the_advanced_sampler_looks_at_the_stage_that_ends_in_a_picture(pack, eps, prompts):
    positive, safe, negative = prompts
    given = {**ADVANCED, "model": eps, "positive": positive, "safe": safe, "negative": negative, "risk": 0.0}
    given |= {"latent_image": latent(), "safety": 1.0, "vae": RoundVAE()}
    samples, _, _, passed = call(pack.nodes["SafelightKSamplerAdvanced"], **given, detector=Script(CLEAR, CLEAR))
    assert passed is True
    assert torch.equal(samples["samples"], stock_advanced(eps, positive, negative, latent()))
    for safety in (1.0, 0.0):
        left = {**given, "end_at_step": 5, "return_with_leftover_noise": "enable", "detector": Script(CLEAR, CLEAR)}
        with pytest.raises(ValueError, match="detector: expected a run that ends in a picture"):
            call(pack.nodes["SafelightKSamplerAdvanced"], **{**left, "safety": safety})


def test_equal_conditionings_of_another_run_are_not_taken_for_these(run, at):
    other = conditioning(31)
    samples, *_ = run(Script(CLEAR, SEEN, CLEAR), safe=other, safety=0.5)
    assert torch.equal(samples, at(0.5, safe=other)) and not torch.equal(samples, at(0.5))
