"""SAFREE's runs: which steps the safe prompt steers, its negative prompt, and what it refuses."""

from __future__ import annotations

import logging

import comfy.model_management
import comfy.samplers
import host
import pytest
import tiny_encoders
import tiny_models
import torch
from planted_words import PROMPT
from safelight_pack import custom_sample

from safelight.engine import safree_prompt

CONCEPTS = "weapon, blood"
SETTINGS = {**host.SETTINGS, "steps": 6}


def encode(clip, prompt):
    return host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=prompt)[0]


class Scene:
    """A tiny SDXL-like model with an encoder that fits it, and a prompt."""

    def __init__(self, pack):
        self.pack = pack
        self.clip = tiny_encoders.clip("SDXL")
        self.model = tiny_models.sdxl_model(tiny_encoders.L + tiny_encoders.G, tiny_encoders.G)
        self.positive, self.negative = encode(self.clip, PROMPT), encode(self.clip, "blurry")
        self.latent = tiny_models.latent(batch=2, size=8)

    def guider(self, **settings):
        given = {
            "positive": self.positive,
            "negative": self.negative,
            "cfg": SETTINGS["cfg"],
            "prompt": PROMPT,
            "concepts": CONCEPTS,
            **settings,
        }
        return host.call(self.pack.nodes["SafelightSAFREEGuider"], model=self.model, clip=self.clip, **given)[0]

    def patch(self, **settings):
        host.require(host.has_wrappers(), "model wrappers")
        given = {"prompt": PROMPT, "concepts": CONCEPTS, **settings}
        return host.call(self.pack.nodes["SafelightSAFREEPatch"], model=self.model, clip=self.clip, **given)[0]

    def sample(self, latent=None, sampling=None, **settings):
        sampling = {**SETTINGS, **(sampling or {})}
        sigmas = host.sigmas_of(self.model, **sampling)
        return custom_sample(self.guider(**settings), sigmas, latent or self.latent, sampling)

    def stock(self, positive=None, negative=None, latent=None, **sampling):
        return host.stock(
            self.model,
            positive or self.positive,
            negative or self.negative,
            latent or self.latent,
            **{**SETTINGS, **sampling},
        )

    def safe(self, variant="as released"):
        return safree_prompt.encode_safe(self.clip, PROMPT, CONCEPTS, variant)


@pytest.fixture(scope="module")
def scene(pack):
    return Scene(pack)


@pytest.mark.parametrize("sampler_name", ["euler", "euler_ancestral", "dpmpp_2m", "heun"])
def test_strength_zero_is_the_stock_guider(scene, sampler_name):
    assert type(scene.guider(strength=0.0)) is comfy.samplers.CFGGuider
    with host.count_rows(scene.model) as stock_rows:
        plain = scene.stock(sampler_name=sampler_name)
    with host.count_rows(scene.model) as rows:
        ours = scene.sample(sampling={"sampler_name": sampler_name}, strength=0.0)
    assert torch.equal(ours, plain) and rows == stock_rows


def test_strength_zero_by_model_patch_is_the_same_model(scene):
    assert scene.patch(strength=0.0) is scene.model


@pytest.mark.parametrize(
    ("sampler_name", "variant"),
    [
        ("euler", "as released"),
        ("dpmpp_2m", "as printed"),
        ("heun", "as released"),
    ],
)
def test_the_safe_prompt_steers_in_the_window_and_the_written_one_after(pack, scene, sampler_name, variant):
    """The same as the Safelight Guider with the safe prompt, the window as a schedule and the concepts as negative."""
    safe = scene.safe(variant)
    schedule = pack.schedule([[0, 1], [(safe.t + 0.5) / 50, 0]], interpolation="step")
    sampling = {**SETTINGS, "steps": 14, "sampler_name": sampler_name}
    expected = pack.custom(
        scene.model,
        scene.positive,
        safe.conditioning,
        encode(scene.clip, CONCEPTS),
        scene.latent,
        safety=1.0,
        schedule=schedule,
        **sampling,
    )
    with host.count_rows(scene.model) as rows:
        ours = scene.sample(sampling=sampling, variant=variant)
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, scene.stock(negative=encode(scene.clip, CONCEPTS), **sampling))
    assert set(rows.rows) == {4}  # two pictures, positive and negative: as many as a stock run


def test_strength_is_the_weight_in_the_window(scene):
    with host.count_rows(scene.model) as rows:
        half = scene.sample(strength=0.5)
    guided = rows.rows.count(6)
    assert 0 < guided < SETTINGS["steps"] and rows.rows == [6] * guided + [4] * (SETTINGS["steps"] - guided)
    full, none = scene.sample(), scene.stock(negative=encode(scene.clip, CONCEPTS))
    assert 0 < (half - none).norm() < (full - none).norm()


def test_the_linked_negative_stays_where_it_is_wanted(pack, scene):
    ours = scene.sample(concepts_as_negative=False)
    safe = scene.safe()
    schedule = pack.schedule([[0, 1], [(safe.t + 0.5) / 50, 0]], interpolation="step")
    assert torch.equal(
        ours,
        pack.custom(
            scene.model,
            scene.positive,
            safe.conditioning,
            scene.negative,
            scene.latent,
            safety=1.0,
            schedule=schedule,
            **SETTINGS,
        ),
    )
    assert not torch.equal(ours, scene.sample())


@pytest.mark.parametrize("by", ["guider", "patch"])
def test_the_concepts_take_the_negatives_place_and_keep_its_area(scene, by):
    area = {"area": (4, 8, 0, 0), "strength": 0.7, "set_area_to_bounds": False}
    negative = [[states, {**extra, **area}] for states, extra in scene.negative]
    concepts = [[states, {**extra, **area}] for states, extra in encode(scene.clip, CONCEPTS)]
    expected = scene.sample(negative=concepts, concepts_as_negative=False)
    if by == "guider":
        ours = scene.sample(negative=negative)
    else:
        ours = host.stock(scene.patch(), scene.positive, negative, scene.latent, **SETTINGS)
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, scene.sample())


@pytest.mark.parametrize("settings", [{}, {"strength": 0.5}, {"concepts_as_negative": False}], ids=str)
@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m_sde"])
def test_safree_patch_gives_the_guiders_latent(scene, sampler_name, settings):
    sampling = {"sampler_name": sampler_name}
    patched = host.stock(
        scene.patch(**settings), scene.positive, scene.negative, scene.latent, **{**SETTINGS, **sampling}
    )
    assert torch.equal(patched, scene.sample(sampling=sampling, **settings))


@pytest.mark.parametrize("denoise", [0.5, 0.2])
def test_a_run_that_starts_behind_the_window_has_its_first_step_guided(scene, caplog, denoise):
    picture = tiny_models.latent(batch=2, size=8, seed=4)
    sampling = {"denoise": denoise}
    with caplog.at_level(logging.INFO, "safelight"), host.count_rows(scene.model) as rows:
        ours = scene.sample(latent=picture, sampling=sampling, strength=0.5, concepts_as_negative=False)
    assert rows.rows == [6] + [4] * (SETTINGS["steps"] - 1)
    assert "behind the steps that it guides" in caplog.text
    assert not torch.equal(ours, scene.stock(latent=picture, **sampling))


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_short_runs_are_guided_at_their_first_step(scene, steps):
    with host.count_rows(scene.model) as rows:
        scene.sample(sampling={"steps": steps}, strength=0.5)
    assert rows.rows == [6] + [4] * (steps - 1)


def test_the_log_tells_the_trigger_words(scene, caplog):
    with caplog.at_level(logging.INFO, "safelight"):
        scene.sample()
    assert f"trigger words {', '.join(scene.safe().words)}" in caplog.text


def test_a_picture_does_not_depend_on_those_beside_it(scene):
    latent = tiny_models.latent(batch=2, size=8)
    together = scene.sample(latent=latent)
    first = scene.sample(latent={"samples": latent["samples"][:1], "batch_index": [0]})
    assert torch.allclose(together[:1], first, rtol=1e-4, atol=1e-4 * float(first.abs().max()))


def test_without_trigger_words_the_negative_guards_or_it_is_an_error(scene):
    assert not torch.equal(scene.sample(prompt=""), scene.sample(prompt="", concepts="blood, weapon, cat"))
    with pytest.raises(ValueError, match="^concepts_as_negative: expected true"):
        scene.guider(prompt="", concepts_as_negative=False)
    with pytest.raises(ValueError, match="^prompt: expected a trigger word"):
        scene.sample(prompt="", cfg=1.0)
    assert scene.guider(prompt="", concepts_as_negative=False, strength=0.0) is not None


def test_at_cfg_one_the_window_guides_alone(scene):
    with host.count_rows(scene.model) as rows:
        ours = scene.sample(cfg=1.0)
    assert set(rows.rows) == {2}
    assert not torch.equal(ours, scene.stock(cfg=1.0))


def test_a_prompt_that_begins_behind_the_window_is_an_error_before_the_first_step(scene):
    late = [[states, {**extra, "start_percent": 0.5, "end_percent": 1.0}] for states, extra in scene.positive]
    with host.count_rows(scene.model) as rows, pytest.raises(ValueError, match="^prompt: its safe form never steers"):
        scene.sample(positive=late)
    assert rows.calls == 0


def test_another_encoder_than_the_prompts_is_an_error(scene):
    with pytest.raises(ValueError, match="^clip: expected texts 32 wide, as the prompt, got 64"):
        scene.guider(positive=tiny_models.conditioning(3))


def test_a_flow_model_with_t5_is_guided(pack):
    flux = host.extra("nodes_flux")
    host.require(flux is not None and hasattr(tiny_models.comfy.model_base, "Flux"), "Flux")
    clip = tiny_encoders.clip("Flux")
    model = tiny_models.flux_model(tiny_encoders.T5, tiny_encoders.L)
    positive, latent = encode(clip, PROMPT), tiny_models.latent(channels=16)
    out = {}
    for strength in (0.0, 1.0):
        guider = host.call(
            pack.nodes["SafelightSAFREEGuider"],
            model=model,
            clip=clip,
            positive=positive,
            negative=positive,
            prompt=PROMPT,
            cfg=1.0,
            concepts=CONCEPTS,
            strength=strength,
        )[0]
        out[strength] = custom_sample(guider, host.sigmas_of(model, **SETTINGS), latent, SETTINGS)
    assert torch.isfinite(out[1.0]).all() and not torch.equal(out[0.0], out[1.0])


def test_safree_trace_holds_the_run(scene):
    guider, trace = host.call(
        scene.pack.nodes["SafelightSAFREEGuider"],
        model=scene.model,
        clip=scene.clip,
        positive=scene.positive,
        negative=scene.negative,
        cfg=5.0,
        prompt=PROMPT,
        concepts=CONCEPTS,
        strength=0.5,
    )
    custom_sample(guider, host.sigmas_of(scene.model, **SETTINGS), scene.latent, SETTINGS)
    assert trace is guider.setup.trace and len(trace.calls) == SETTINGS["steps"]
