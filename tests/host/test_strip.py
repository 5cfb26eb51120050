"""SafelightStrip: each frame is what Safelight KSampler gives at its level, for less work."""

from __future__ import annotations

import comfy.model_base
import pytest
import torch
from host import SAMPLERS, SETTINGS, call, has_wrappers, require, stock
from safelight_pack import PlainVAE
from test_hosts_features import controlled, entries, left_half, lora
from tiny_models import controlnet, flux_model, latent, sd3_model, unet_model, video_model

from safelight.engine import shared_noise
from safelight.guidance import schedule, selective

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
CLOSE = 1e-3
ALONE = "each level was a run of its own"


def text(levels):
    return ", ".join(f"{level:g}" for level in levels)


def singles(pack, model, prompts, latent_image, levels=LEVELS, **settings):
    """Safelight KSampler's latents at each level."""
    return torch.cat([pack.ksampler(model, *prompts, latent_image, safety=level, **settings) for level in levels])


def apart(frames, expected):
    """The largest difference; relative where cells that no prompt covers have grown out of all bounds."""
    assert frames.shape == expected.shape
    assert torch.isfinite(expected).all()
    return float((frames - expected).abs().max() / max(1.0, float(expected.abs().max()) / 100))


def one_run(report):
    return not any(ALONE in note for note in report["notes"])


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_frames_are_the_single_runs(pack, eps, prompts, sampler_name):
    """With every sampler of the host."""
    settings = {"sampler_name": sampler_name, "scheduler": "karras", "steps": 6, "seed": 3}
    expected = singles(pack, eps, prompts, latent(), **settings)
    frames, report, *_ = pack.strip(eps, *prompts, latent(), **settings)
    assert apart(frames, expected) < CLOSE
    different = [float((a - b).abs().max()) for a, b in zip(expected, expected[1:], strict=False)]
    assert min(different) > 10 * CLOSE, "the levels would not be told apart"
    mixing = sampler_name == "dpm_adaptive" or "cfg_pp" in sampler_name
    assert one_run(report) != mixing, report["notes"]


def test_a_sampler_that_the_pack_does_not_know_runs_each_level_alone(pack, eps, prompts, monkeypatch, caplog):
    monkeypatch.setattr(shared_noise, "STEADY", frozenset())
    expected = singles(pack, eps, prompts, latent())
    with caplog.at_level("INFO", "safelight"):
        frames, report, *_ = pack.strip(eps, *prompts, latent())
    assert torch.equal(frames, expected)
    assert not one_run(report) and "euler" in report["notes"][-1]
    assert ALONE in caplog.text


# --- what the frames may depend on -------------------------------------------------------------------------------


def same_as_singles(pack, model, prompts, latent_image, levels=LEVELS, alone=False, **settings):
    """The strip's latents, after comparing them with Safelight KSampler's. alone: a run for each level is expected."""
    settings = {"sampler_name": "dpmpp_2m", "scheduler": "karras", **settings}
    singly = singles(pack, model, prompts, latent_image, levels, **settings)
    frames, report, *_ = pack.strip(model, *prompts, latent_image, levels=text(levels), **settings)
    assert apart(frames, singly) < CLOSE
    assert one_run(report) != alone, report["notes"]
    parts = frames.chunk(len(levels))
    change = parts[levels.index(min(levels))] - parts[levels.index(max(levels))]
    assert float(change.abs().max()) > 10 * CLOSE, "all alike"
    return frames


@pytest.mark.parametrize(
    "settings",
    [
        {"levels": (0.5, 0.0, 1.0)},
        {"levels": (0.3, 0.7)},
        {"levels": tuple(i / 8 for i in range(9))},
        {"cfg": 1.0},
        {"denoise": 0.5},
        {"steps": 1},
        {"steps": 2, "sampler_name": "euler"},
        {"steps": 3, "sampler_name": "dpm_fast"},
        {"risk": 0.6, "gate": 0.6},
    ],
    ids=str,
)
def test_settings(pack, eps, prompts, settings):
    same_as_singles(pack, eps, prompts, latent(seed=3), **settings)


@pytest.mark.parametrize("preset", ["gentle", "balanced", "strict", "maximum", "ramp up", "ramp down", "bell"])
def test_presets(pack, eps, prompts, preset):
    same_as_singles(pack, eps, prompts, latent(), schedule=schedule.PRESETS[preset], steps=8)


@pytest.mark.parametrize("kind", ["v-prediction", "flow", "Flux", "video", "inpainting"])
def test_kinds_of_models(pack, prompts, kind):
    if kind == "v-prediction":
        same_as_singles(pack, unet_model("V_PREDICTION"), prompts, latent())
    elif kind == "inpainting":
        concat = {
            "concat_latent_image": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)),
            "concat_mask": left_half(),
        }
        given = entries(prompts[0], concat), entries(prompts[1], concat), entries(prompts[2], concat)
        same_as_singles(pack, unet_model(in_channels=9), given, {**latent(seed=3), "noise_mask": left_half()})
    elif kind == "flow":
        for sampler_name in ("euler_ancestral", "dpmpp_2m"):
            same_as_singles(pack, sd3_model(), prompts, latent(16), sampler_name=sampler_name, scheduler="normal")
    elif kind == "Flux":
        require(hasattr(comfy.model_base, "Flux"), "Flux")
        guided = tuple(entries(each, {"guidance": 3.5}) for each in prompts)
        same_as_singles(pack, flux_model(), guided, latent(16), cfg=1.0, scheduler="simple")
    else:
        require(hasattr(comfy.model_base, "WAN21"), "Wan")
        same_as_singles(pack, video_model(), prompts, latent(16, frames=3), scheduler="simple")


def test_pictures_of_a_batch(pack, eps, prompts):
    """A row of the strip for each; all of the first level, then all of the second, and so on."""
    masks = torch.cat([left_half(), 1 - left_half()])
    given = {**latent(batch=2, seed=3), "batch_index": [3, 5]}
    for more in ({}, {"mask": masks}, {"sampler_name": "dpmpp_2m_sde"}):
        same_as_singles(pack, eps, prompts, given, **more)
    _, _, strip, frames = pack.strip(eps, *prompts, given)
    assert strip.shape[1] > 2 * 16 and strip.shape[2] > 5 * 16 and frames.shape == (10, 16, 16, 3)


def test_a_later_sampler_gives_the_levels_of_a_picture_the_same_noise_and_mask(pack, eps, prompts):
    masks = torch.cat([left_half(), 1 - left_half(), left_half()])
    for more in ({}, {"batch_index": [3, 5]}, {"noise_mask": masks}):
        given = {**latent(batch=2), **more}
        settings = {**SETTINGS, "levels": "0, 1", "vae": PlainVAE()}
        out = call(
            pack.nodes["SafelightStrip"],
            model=eps,
            positive=prompts[0],
            safe=prompts[1],
            negative=prompts[2],
            latent_image=given,
            **settings,
        )[2]
        assert out["batch_index"] == [*given.get("batch_index", [0, 1])] * 2
        again = {**out, "samples": torch.zeros_like(out["samples"])}
        plain = stock(eps, prompts[0], prompts[2], again)
        assert torch.allclose(plain[:2], plain[2:], atol=1e-5)


@pytest.mark.parametrize(
    "more",
    [
        {"mask": True},
        {"selective": {}},
        {"selective": {"mode": "quantile", "adaptive": True}},
        {"mask": True, "selective": {"adaptive": True}},
        {"selective": {"adaptive": True}, "cfg": 1.0},
    ],
    ids=str,
)
def test_mask_and_selective(pack, eps, prompts, more):
    if "mask" in more:
        more = {**more, "mask": left_half() * 0.8}
    if "selective" in more:
        more = {**more, "selective": selective.Selection(**more["selective"])}
    same_as_singles(pack, eps, prompts, latent(), **more)


def test_areas_masks_and_ranges_of_the_prompts(pack, eps, prompts):
    positive, safe, negative = prompts
    left = {"mask": left_half(), "mask_strength": 1.0, "set_area_to_bounds": False}
    area = {"area": (8, 4, 0, 0), "strength": 1.0}
    early, late = ({"start_percent": a, "end_percent": b} for a, b in ((0.0, 0.4), (0.4, 1.0)))
    for given in (
        (entries(positive, left), safe, negative),
        (positive, entries(safe, left), negative),
        (entries(positive, area, {}), safe, negative),
        (entries(positive, early), entries(safe, {"start_percent": 0.0}), negative),
        (positive, entries(safe, late), negative),
        (positive, safe, entries(negative, early)),
        (entries(positive, early, late), safe, negative),
    ):
        same_as_singles(pack, eps, given, latent(), steps=10, schedule=pack.schedule(context=0.2))


def test_controlnet(pack, eps, prompts):
    for on_negative in (False, True):
        same_as_singles(pack, eps, controlled(prompts, controlnet(), on_negative), latent())


def test_lora_on_a_prompt(pack, prompts):
    require(has_wrappers(), "conditioning hooks")
    import comfy.hooks

    model = unet_model()
    hooks = comfy.hooks.create_hook_lora(lora=lora(model), strength_model=1.0, strength_clip=0.0)
    same_as_singles(pack, model, (entries(prompts[0], {"hooks": hooks}), prompts[1], prompts[2]), latent())


def test_inpainting(pack, eps, prompts):
    picture = {**latent(seed=3), "noise_mask": left_half()}
    for sampler_name in ("euler_ancestral", "dpmpp_2m_sde"):
        frames = same_as_singles(pack, eps, prompts, picture, sampler_name=sampler_name)
        assert torch.allclose(frames[..., 5:], picture["samples"][..., 5:].expand_as(frames[..., 5:]), atol=1e-4)
    same_as_singles(pack, eps, prompts, picture, sampler_name="ddim", alone=True)


def test_a_patched_model_runs_each_level_alone(pack, eps, prompts):
    """A hook that remembers the call before, as momentum does, must not mix the levels."""
    kept = {}

    def momentum(args):
        sigma = float(args["sigma"][0])
        before = kept.get("denoised") if sigma < kept.get("sigma", 0.0) else None
        kept.update(sigma=sigma, denoised=args["denoised"])
        return args["denoised"] if before is None else 0.7 * args["denoised"] + 0.3 * before

    model = eps.clone()
    model.set_model_sampler_post_cfg_function(momentum)
    unhooked = pack.ksampler(eps, *prompts, latent(), safety=0.5, sampler_name="dpmpp_2m", scheduler="karras")
    frames = same_as_singles(pack, model, prompts, latent(), alone=True)
    assert not torch.allclose(frames[2:3], unhooked, atol=10 * CLOSE)
    _, report, *_ = pack.strip(model, *prompts, latent())
    assert "patch" in report["notes"][-1]
