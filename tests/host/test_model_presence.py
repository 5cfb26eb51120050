"""Safelight Model Presence in a run: what it is told, its rows, and the run, which stays as it is."""

from __future__ import annotations

import json

import comfy.model_base
import comfy.model_management
import comfy.samplers
import pytest
import torch
from host import ADVANCED, SETTINGS, call, count_rows, extra_node, require, stock, stock_advanced
from safelight_pack import PlainVAE
from tiny_models import conditioning, latent, sd3_model, video_model

from safelight.detect.combined import Combined
from safelight.detect.detector import Detector
from safelight.detect.look import Look
from safelight.detect.presence import Calibration, ModelPresence, presence
from safelight.detect.run_predictions import NO_TEXT
from safelight.guidance.schedule import LOOKING
from safelight.text.inherit import HARMLESS

EMPTY, OTHER = conditioning(50), conditioning(51)


class Watched(ModelPresence):
    """runs: what it was told of, in turn. Finds nothing, or what `found` says in turn."""

    def __init__(self, concept, empty=EMPTY, found=()):
        flat = torch.linspace(-0.1, 0.1, 24)[None, :, None]
        texts = {"c 0": "the concept", "c 1": "another"}
        super().__init__(
            texts, {NO_TEXT: empty, "c 0": concept, "c 1": OTHER}, Calibration((0.5,), flat.repeat(1, 1, 2))
        )
        self.runs, self.found = [], list(found)

    def _looks(self, run):
        self.runs.append(run)
        return [Look(0.9 if self.found and self.found.pop(0) else 0.1) for _ in run.cond]

    def presences(self, at=-1):
        run = self.runs[at]
        return presence(run.cond, run.uncond, run.concepts["c 0"])


@pytest.fixture
def run(pack, eps, prompts):
    """A call of SafelightKSampler: (samples, report, passed, rows that the model evaluated)."""
    positive, safe, negative = prompts

    def sample(detector=None, pictures=1, model=eps, latent_image=None, **settings):
        given = {**SETTINGS, "steps": 10, "safety": 1.0, "risk": 0.0, **settings}
        given = {"positive": positive, "safe": safe, "negative": negative, **given}
        if detector is None:
            given = {"schedule": LOOKING, **given}  # that of a level
        else:
            given |= {"detector": detector, "vae": PlainVAE(), **settings}
        with count_rows(model) as rows:
            samples, report, _, passed = call(
                pack.nodes["SafelightKSampler"],
                model=model,
                latent_image=latent(batch=pictures) if latent_image is None else latent_image,
                **given,
            )
        return samples["samples"], json.loads(report), passed, sum(rows.rows)

    return sample


def plain(model, prompts, latent_image=None, **settings):
    positive, _, negative = prompts
    return stock(model, positive, negative, latent_image or latent(), **{"steps": 10, **settings})


# -- nothing is found: the run is the stock sampler's, and the looks' rows are counted apart


@pytest.mark.parametrize("safety", [1.0, 0.0])
@pytest.mark.parametrize("cfg", [5.0, 1.0])
def test_the_run_is_the_stock_samplers_bit_for_bit_and_the_looks_rows_are_counted_apart(run, eps, prompts, cfg, safety):
    detector = Watched(prompts[0])
    with count_rows(eps) as rows:
        expected = plain(eps, prompts, cfg=cfg)
    samples, report, passed, evaluated = run(detector, cfg=cfg, safety=safety)
    assert passed is True and torch.equal(samples, expected)
    looks = 2 if safety else 1  # on the way where a level would begin, and near the end
    assert [one.last for one in detector.runs] == [False, True][-looks:]
    assert report["look"]["look_rows"] == looks * 3  # two concepts and no text, at any cfg: the negative is a text
    assert evaluated == report["rows"] == report["plain_rows"] + looks * 3 and report["plain_rows"] == sum(rows.rows)


def test_a_negative_prompt_without_text_is_no_text(run, eps, prompts):
    detector = Watched(prompts[0], empty=prompts[2])
    samples, report, _, _ = run(detector)
    assert report["look"]["look_rows"] == 2 * 2 and torch.equal(samples, plain(eps, prompts))
    before = detector.runs[-1].uncond
    again = Watched(prompts[0], empty=prompts[2])
    run(again, cfg=1.0)  # where the negative is not evaluated
    assert run(again, cfg=1.0)[1]["look"]["look_rows"] == 2 * 3 and before.abs().sum() > 0
    assert again.runs[-1].uncond.abs().sum() > 0


def test_detectors_of_pictures_cost_no_row(run, eps, prompts):
    class Still(Detector):
        name = "still"

        def _look(self, pictures):
            return [Look(0.0)] * len(pictures)

    with count_rows(eps) as rows:
        plain(eps, prompts)
    _, report, _, evaluated = run(Still())
    assert report["look"]["look_rows"] == 0 and evaluated == sum(rows.rows)
    _, report, passed, _ = run(Combined([Still(), Watched(prompts[0])]))
    assert passed is True and report["look"]["look_rows"] == 6


@pytest.mark.parametrize("sampler_name", comfy.samplers.KSampler.SAMPLERS)
def test_every_sampler_is_watched_and_keeps_its_bits(run, eps, prompts, sampler_name):
    detector = Watched(prompts[0])
    samples, _, passed, _ = run(detector, sampler_name=sampler_name)
    assert passed is True and torch.equal(samples, plain(eps, prompts, sampler_name=sampler_name))
    assert [one.last for one in detector.runs] == [False, True]


# -- what it is told


@pytest.mark.parametrize("cfg", [5.0, 1.0])
def test_the_prompt_itself_has_p_1_and_another_text_less(run, prompts, cfg):
    itself, another = Watched(prompts[0]), Watched(prompts[1])
    for detector in (itself, another):
        run(detector, cfg=cfg)
    for at in (0, 1):
        assert itself.presences(at).tolist() == pytest.approx([1.0], abs=1e-3)
        assert float(another.presences(at)) < 0.95
    assert 0.0 < itself.runs[0].progress < itself.runs[1].progress < 1.0


def test_pictures_of_a_batch_have_their_own(run, prompts):
    positive, other, _ = prompts
    both = [[torch.cat([a[0][0] for a in (positive, other)]), {"pooled_output": None}]]
    detector = Watched([[positive[0][0], {"pooled_output": None}]])
    run(detector, pictures=2, positive=both)
    first, second = detector.presences().tolist()
    assert first == pytest.approx(1.0, abs=1e-3) and second < 0.95


def watched_flow(run, prompts, model, given):
    detector = Watched(prompts[0])
    samples, report, passed, _ = run(detector, model=model, latent_image=given, cfg=1.0)
    assert passed is True and torch.equal(samples, plain(model, prompts, given, cfg=1.0))
    assert detector.presences().tolist() == pytest.approx([1.0], abs=1e-3)
    assert report["look"]["look_rows"] == 6


def test_a_flow_model_at_cfg_1(run, prompts):
    watched_flow(run, prompts, sd3_model(), latent(channels=16))


def test_a_video_has_one_look_for_all_its_frames(run, prompts):
    require(hasattr(comfy.model_base, "WAN21"), "Wan")
    watched_flow(run, prompts, video_model(), latent(channels=16, frames=3))


def test_in_a_guided_run_it_is_told_of_the_guided_prediction(run, prompts):
    """Found on the way, the run goes on at the first level; near its end the prompt is no longer what decides."""
    detector = Watched(prompts[0], found=[True])
    samples, report, passed, _ = run(detector)
    assert passed is True and torch.equal(samples, run(safety=0.5, risk=1.0)[0])
    first, last = (float(detector.presences(at)) for at in (0, 1))
    assert first == pytest.approx(1.0, abs=1e-3) and last < 0.98
    assert report["look"]["pictures"][0]["safety"] == 0.5


def test_what_is_found_at_the_end_takes_the_next_level(run, prompts):
    detector = Watched(prompts[0], found=[False, True, False])
    samples, report, passed, _ = run(detector, safety=0.5)
    assert passed is True and torch.equal(samples, run(safety=0.5, risk=1.0)[0])
    assert [one.last for one in detector.runs] == [False, True, True] and report["look"]["look_rows"] == 9


def test_pictures_go_their_own_ways(run, eps, prompts):
    detector = Watched(prompts[0], found=[False, True, False, False])
    samples, report, passed, _ = run(detector, pictures=2)
    assert passed is True and [one["safety"] for one in report["look"]["pictures"]] == [0.0, 0.5]
    assert torch.equal(samples[0], plain(eps, prompts, latent(batch=2))[0])
    assert [len(one.cond) for one in detector.runs] == [2, 1, 1]


def test_a_harmless_prompt_is_looked_at_and_stays(run, eps, prompts):
    harmless = [[states, {**extra, HARMLESS: True}] for states, extra in prompts[0]]
    for risk in (0.0, 1.0):
        detector = Watched(prompts[0])
        samples, report, passed, _ = run(detector, safe=harmless, risk=risk)
        assert passed is True and torch.equal(samples, plain(eps, prompts)) and report["harmless"] is True
        assert detector.presences().tolist() == pytest.approx([1.0], abs=1e-3)


def test_areas_and_regions_go_along(run, eps, prompts):
    half = {"area": (8, 4, 0, 0), "set_area_to_bounds": False, "strength": 1.0}
    regions = [[states, {**extra, **half}] for states, extra in prompts[0]] + conditioning(8)
    harmless = [[states, {**extra, HARMLESS: True}] for states, extra in regions]
    expected = stock(eps, regions, prompts[2], latent(), steps=10)
    for settings in ({}, {"safety": 0.0}, {"safe": harmless}):
        detector = Watched(prompts[1])
        samples, *_ = run(detector, positive=regions, **settings)
        assert torch.equal(samples, expected) and torch.isfinite(detector.presences()).all()


def test_few_steps_are_looked_at_in_the_last_of_them(run, prompts):
    for steps, late in ((1, 0.0), (2, 0.4), (4, 0.6)):
        detector = Watched(prompts[0])
        run(detector, steps=steps, scheduler="simple")
        assert detector.runs[-1].last and detector.runs[-1].progress >= late


@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache"])
def test_a_step_cache_of_the_host_stays_as_it_is(run, eps, prompts, cache):
    settings = {"reuse_threshold": 0.5, "start_percent": 0.1, "end_percent": 0.95, "verbose": False}
    model = call(extra_node("nodes_easycache", f"{cache}Node"), model=eps, **settings)[0]
    detector = Watched(prompts[0])
    samples, _, passed, _ = run(detector, model=model, steps=20)
    assert passed is True and torch.equal(samples, plain(model, prompts, steps=20))
    assert not torch.equal(samples, plain(eps, prompts, steps=20))
    assert torch.isfinite(detector.presences()).all()


def test_the_advanced_sampler_is_watched_in_its_last_stage(pack, eps, prompts):
    positive, safe, negative = prompts
    given = {**ADVANCED, "start_at_step": 10, "add_noise": "enable"}
    detector, half = Watched(positive), latent(seed=3)
    node = pack.nodes["SafelightKSamplerAdvanced"]
    more = {"safety": 1.0, "risk": 0.0, "detector": detector, "vae": PlainVAE()}
    prompt = {"model": eps, "positive": positive, "safe": safe, "negative": negative, "latent_image": half}
    samples, _, _, passed = call(node, **given, **prompt, **more)
    assert passed is True and [one.last for one in detector.runs] == [True]  # the levels begin before the stage
    assert torch.equal(samples["samples"], stock_advanced(eps, positive, negative, half, start_at_step=10))


def test_another_encoders_concepts_are_refused(run, prompts):
    wide = [[torch.zeros(1, 77, 64), {}]]
    with pytest.raises(ValueError, match="clip: expected texts 32 wide"):
        run(Watched(wide, empty=wide))


def test_a_strip_refuses_it_before_a_row_is_evaluated(pack, eps, prompts):
    with count_rows(eps) as evaluated, pytest.raises(ValueError, match="detector: expected one that looks at pictures"):
        pack.strip(eps, *prompts, latent(), detector=Watched(prompts[0]))
    assert not evaluated.rows
