"""SafelightSamplerCustom: custom sampling as the guider has it, and with a detector as the sampler has it."""

from __future__ import annotations

import json

import pytest
import torch
from host import SETTINGS, call, count_rows, extra, sigmas_of, stock
from safelight_pack import custom_sample
from test_fail_closed import refused
from test_hosts_features import left_half
from test_look_then_steer import CLEAR, SEEN, RoundVAE, Script
from tiny_models import latent

from safelight.guidance.schedule import LOOKING

RUN = {**SETTINGS, "steps": 10}


class Drawn:
    """NOISE of another pack, drawn anew each time that it is asked."""

    seed = 11

    def __init__(self):
        self.asked = 0

    def generate_noise(self, input_latent):
        self.asked += 1
        return torch.randn(input_latent["samples"].shape)


@pytest.fixture
def run(pack, eps, prompts):
    """A call of SafelightSamplerCustom: (samples, report, passed); by default with the run of a KSampler."""
    positive, safe, negative = prompts

    def sample(detector=None, sampling=RUN, noise=None, sigmas=None, latent_image=None, **settings):
        module = extra("nodes_custom_sampler")
        given = {"safety": 0.5, **settings}
        if detector is not None:
            given |= {"detector": detector, "vae": RoundVAE(), "risk": 0.0, **settings}
        samples, report, _, passed = call(
            pack.nodes["SafelightSamplerCustom"],
            **{"model": eps, "positive": positive, "safe": safe, "negative": negative, "cfg": sampling["cfg"], **given},
            noise=call(module.RandomNoise, noise_seed=sampling["seed"])[0] if noise is None else noise,
            sampler=call(module.KSamplerSelect, sampler_name=sampling["sampler_name"])[0],
            sigmas=sigmas_of(eps, **sampling) if sigmas is None else sigmas,
            latent_image=latent() if latent_image is None else latent_image,
        )
        return samples["samples"], json.loads(report), passed

    return sample


@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m", "dpmpp_2m_sde", "euler_ancestral", "heun"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"safety": 1.0}, {"economy": "free"}, {"mask": left_half() * 0.8}],
    ids=["medium", "full", "economy", "mask"],
)
def test_it_is_the_guider_and_the_sampler_in_one(run, pack, eps, prompts, sampler_name, settings):
    sampling = {**RUN, "sampler_name": sampler_name}
    samples, report, passed = run(sampling=sampling, **settings)
    assert torch.equal(samples, pack.custom(eps, *prompts, latent(), **sampling, **settings))
    assert torch.equal(samples, pack.ksampler(eps, *prompts, latent(), **sampling, **settings))
    assert passed is False and report["rows"] > 0 and any(call["w"] for call in report["weights"])


@pytest.mark.parametrize("off", [{"safety": 0.0}, {"risk": 0.2}], ids=str)
def test_off_is_the_stock_sampler_bit_for_bit(run, eps, prompts, off):
    positive, _, negative = prompts
    with count_rows(eps) as rows:
        expected = stock(eps, positive, negative, latent(batch=2), **RUN)
    with count_rows(eps) as ours:
        samples, report, _ = run(latent_image=latent(batch=2), **off)
    assert torch.equal(samples, expected) and rows == ours and report["rows"] == report["plain_rows"]


def test_masks_and_batch_indices_of_a_latent_go_along(run, pack, eps, prompts):
    given = {**latent(batch=2, seed=3), "noise_mask": left_half(), "batch_index": [3, 5]}
    assert torch.equal(run(latent_image=given)[0], pack.custom(eps, *prompts, given, **RUN))


def test_stages_agree_with_the_whole_run(run, eps):
    """Split sigmas: on the axis of the noise level every slice gets the weights of the whole; a stage says so."""
    nothing = call(extra("nodes_custom_sampler").DisableNoise)[0]
    sigmas = sigmas_of(eps, **RUN)
    whole, *_ = run()
    first, report, _ = run(sigmas=sigmas[:5])
    assert any("this run ends with noise left" in note for note in report["notes"])
    second, *_ = run(sigmas=sigmas[4:], noise=nothing, latent_image={"samples": first})
    assert torch.allclose(second, whole, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1])
def test_sigmas_without_a_step_are_the_hosts(run, pack, eps, prompts, count):
    guider = call(pack.nodes["SafelightGuider"], **_guided(eps, prompts))[0]
    sigmas, given = sigmas_of(eps, **RUN)[:count], latent(seed=3)
    samples, report, _ = run(sigmas=sigmas, latent_image=given)
    assert torch.equal(samples, custom_sample(guider, sigmas, given, RUN))
    assert torch.equal(samples, given["samples"]) == (count == 0)
    assert "no step" in report["notes"][-1] and report["rows"] == 0


def _guided(model, prompts):
    positive, safe, negative = prompts
    return {"model": model, "positive": positive, "safe": safe, "negative": negative, "cfg": 5.0, "safety": 0.5}


def test_on_the_axis_of_steps_progress_is_that_of_the_sigmas(run, pack, eps):
    schedule = pack.schedule(context=0.5, axis="steps")
    for sigmas in (sigmas_of(eps, **RUN), sigmas_of(eps, **RUN)[4:]):
        _, report, _ = run(sigmas=sigmas, schedule=schedule)
        steps = len(sigmas) - 1
        assert [call["progress"] for call in report["weights"]] == pytest.approx([i / steps for i in range(steps)])
        assert [call["w"] > 0 for call in report["weights"]] == [i / steps >= 0.5 for i in range(steps)]


# -- with a detector


def test_with_a_detector_it_looks_first_and_steers_as_little_as_is_enough(run, eps, prompts):
    positive, _, negative = prompts
    samples, report, passed = run(Script(CLEAR, CLEAR), safety=1.0)
    assert passed is True and torch.equal(samples, stock(eps, positive, negative, latent(), **RUN))
    assert report["rows"] + report["remembered_rows"] == report["plain_rows"]
    for scores, level in (((SEEN, CLEAR), 0.5), ((CLEAR, SEEN, SEEN, CLEAR), 0.75)):
        samples, report, passed = run(Script(*scores), safety=0.75)
        assert passed is True and torch.equal(samples, run(safety=level, schedule=LOOKING)[0])
        assert report["look"]["pictures"][0]["safety"] == level


def test_every_run_of_the_loop_starts_from_the_same_noise(run):
    noise, alone = Drawn(), Drawn()
    torch.manual_seed(4)
    samples, report, _ = run(Script(CLEAR, SEEN, CLEAR), noise=noise, safety=0.5)
    torch.manual_seed(4)
    assert torch.equal(samples, run(noise=alone, schedule=LOOKING)[0]) and noise.asked > alone.asked == 1
    assert report["remembered_rows"] > 0


def test_a_stage_that_leaves_noise_is_no_picture_to_look_at(run, eps):
    for sigmas in (sigmas_of(eps, **RUN)[:5], sigmas_of(eps, **RUN)[:1]):
        with pytest.raises(ValueError, match="^detector: expected a run"):
            run(Script(CLEAR, CLEAR), sigmas=sigmas)


def test_wrong_inputs_are_named(run, pack, eps, prompts):
    given = {**_guided(eps, prompts), "latent_image": latent(), "noise": Drawn(), "sampler": 1, "sigmas": torch.ones(2)}
    for name in ("model", "positive", "negative", "noise", "sampler", "sigmas", "latent_image"):
        refused(name, call, pack.nodes["SafelightSamplerCustom"], **{**given, name: None})
    refused("safe", run, safe=[])
    refused("safety", run, safety=2.0)
    refused("economy", run, Script(CLEAR), economy="free")
    refused("vae", run, Script(CLEAR), vae=None)
