"""What the host can do with a conditioning, a latent or a MODEL, and what the dual sampling makes of it.

`ends` is the common property: at weight 0 and 1 everything is bit for bit what the stock KSampler gives on the written
and on the safe prompt, with the same rows; in between the picture is finite and neither of the two.
"""

from __future__ import annotations

import comfy.model_base
import comfy.sd
import pytest
import torch
from both_ends import ends
from host import (
    base_nodes,
    call,
    count_rows,
    extra_node,
    has_wrappers,
    require,
    stock,
)
from tiny_models import conditioning, controlnet, flux_model, latent, sd3_model, unet_model, video_model


def left_half(size=64):
    """A MASK over the left half of a picture of 64 x 64 pixels (8 x 8 latent cells)."""
    mask = torch.zeros(1, size, size)
    mask[:, :, : size // 2] = 1.0
    return mask


# --- latents -----------------------------------------------------------------------------------------------------


def test_inpaint_mask(pack, eps, prompts):
    picture = {**latent(seed=3), "noise_mask": left_half()}
    between = ends(pack, eps, prompts, picture)
    assert torch.allclose(between[..., 5:], picture["samples"][..., 5:], atol=1e-4), "cells outside the inpaint mask"


def test_inpaint_mask_that_changes_with_the_noise_level(pack, eps, prompts):
    """Differential diffusion: a denoise_mask_function on the MODEL."""
    model = call(extra_node("nodes_differential_diffusion", "DifferentialDiffusion"), model=eps)[0]
    slope = torch.linspace(0.0, 1.0, 64).expand(1, 64, 64).clone()
    ends(pack, model, prompts, {**latent(seed=3), "noise_mask": slope})


def test_image_to_image_and_partial_denoise(pack, eps, prompts):
    for denoise in (0.3, 0.6, 1.0):
        ends(pack, eps, prompts, latent(seed=3), denoise=denoise)


def test_partial_denoise_has_the_weights_of_its_noise_levels(pack, eps, prompts):
    """A run that starts behind `context` is guided from its first step on."""
    with count_rows(eps) as seen:
        pack.ksampler(eps, *prompts, latent(seed=3), denoise=0.3, schedule=pack.schedule(context=0.2))
    assert seen.rows == [3] * 6


def test_batch_index(pack, eps, prompts):
    ends(pack, eps, prompts, {**latent(batch=2), "batch_index": [3, 5]})
    whole = pack.ksampler(eps, *prompts, latent(batch=6))
    two = pack.ksampler(eps, *prompts, {**latent(batch=2), "batch_index": [3, 5]})
    assert torch.allclose(two, whole[[3, 5]], atol=1e-3)


def test_other_keys_of_the_latent_survive(pack, eps, prompts):
    given = {**latent(batch=2), "batch_index": [0, 1], "noise_mask": left_half(), "studio": "kept"}
    settings = {
        "model": eps,
        "positive": prompts[0],
        "negative": prompts[2],
        "latent_image": given,
        "seed": 1,
        "steps": 2,
        "cfg": 5.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    plain = call(base_nodes.KSampler, **settings)[0]
    ours = call(pack.nodes["SafelightKSampler"], safe=prompts[1], safety=0.5, **settings)[0]
    assert ours.keys() == plain.keys()
    assert ours["studio"] == "kept"


# --- the mask input ----------------------------------------------------------------------------------------------


def test_mask_input_confines_the_safe_prompt(pack, eps, prompts):
    """One call of the model: outside the mask the written prompt's picture, inside it the safe one's."""
    positive, safe, negative = prompts
    settings = {"steps": 1, "cfg": 3.0}
    written = stock(eps, positive, negative, latent(), **settings)
    guarded = stock(eps, safe, negative, latent(), **settings)
    ours = pack.ksampler(eps, positive, safe, negative, latent(), safety=1.0, mask=left_half(), **settings)
    assert torch.allclose(ours[..., :4], guarded[..., :4], atol=1e-4)
    assert torch.allclose(ours[..., 4:], written[..., 4:], atol=1e-4)
    assert not torch.allclose(written, guarded, atol=1e-2)


def test_mask_input_of_ones_is_no_mask(pack, eps, prompts):
    ours = pack.ksampler(eps, *prompts, latent(), mask=torch.ones(1, 64, 64))
    assert torch.equal(ours, pack.ksampler(eps, *prompts, latent()))


def test_mask_input_for_each_picture_of_a_batch(pack, eps, prompts):
    """The first picture of the batch is guarded on the left, the second on the right."""
    positive, safe, negative = prompts
    mask = torch.cat([left_half(), 1 - left_half()])
    settings = {"steps": 1}
    ours = pack.ksampler(eps, positive, safe, negative, latent(batch=2), safety=1.0, mask=mask, **settings)
    guarded = stock(eps, safe, negative, latent(batch=2), **settings)
    written = stock(eps, positive, negative, latent(batch=2), **settings)
    assert torch.allclose(ours[0, ..., :4], guarded[0, ..., :4], atol=1e-3)
    assert torch.allclose(ours[0, ..., 4:], written[0, ..., 4:], atol=1e-3)
    assert torch.allclose(ours[1, ..., :4], written[1, ..., :4], atol=1e-3)
    assert torch.allclose(ours[1, ..., 4:], guarded[1, ..., 4:], atol=1e-3)


# --- conditionings -----------------------------------------------------------------------------------------------


def entries(text, *extras):
    """One entry of the conditioning for each set of extra keys."""
    return [[text[0][0], {**text[0][1], **extra}] for extra in extras]


def test_areas(pack, eps, prompts):
    """Two areas on the written prompt; the safe one takes both."""
    positive, safe, negative = prompts
    halves = {"area": (16, 8, 0, 0), "strength": 1.0}, {"area": (16, 8, 0, 8), "strength": 0.8}
    percent = {"area": ("percentage", 1.0, 0.5, 0.0, 0.25), "strength": 1.0}, {}
    for areas in (halves, percent):
        ends(pack, eps, (entries(positive, *areas), safe, negative), latent(size=16), on_safe=entries(safe, *areas))


def test_masked_conditionings(pack, eps, prompts):
    positive, safe, negative = prompts
    halves = (
        {"mask": left_half(), "mask_strength": 1.0, "set_area_to_bounds": False},
        {"mask": 1 - left_half(), "mask_strength": 0.7, "set_area_to_bounds": False},
    )
    ends(pack, eps, (entries(positive, *halves), safe, negative), latent(), on_safe=entries(safe, *halves))


def test_cells_that_only_one_prompt_covers_are_left_to_it(pack, eps, prompts):
    """Written prompt on the left, safe one on the right: neither is pulled towards the other's empty prediction."""
    positive, safe, negative = prompts
    left = {"mask": left_half(), "mask_strength": 1.0, "set_area_to_bounds": False}
    right = {"mask": 1 - left_half(), "mask_strength": 1.0, "set_area_to_bounds": False}
    settings = {"steps": 1, "cfg": 1.0}
    ours = pack.ksampler(
        eps,
        entries(positive, left),
        entries(safe, right),
        negative,
        latent(),
        safety=0.5,
        schedule=pack.schedule(),
        **settings,
    )
    written = stock(eps, entries(positive, left), negative, latent(), **settings)
    guarded = stock(eps, entries(safe, right), negative, latent(), **settings)
    assert torch.allclose(ours[..., :4], written[..., :4], atol=1e-4)
    assert torch.allclose(ours[..., 4:], guarded[..., 4:], atol=1e-4)


@pytest.mark.parametrize(
    "place", [{"mask": left_half(), "mask_strength": 1.0}, {"area": (8, 4, 0, 0), "strength": 1.0}]
)
def test_at_full_weight_the_positive_prompt_stands_where_the_safe_one_does_not_reach(pack, eps, prompts, place):
    """On the right it is the stock picture; without it the host would have nothing to draw there."""
    positive, safe, negative = prompts
    settings = {"steps": 1, "cfg": 3.0}
    ours = pack.ksampler(
        eps, positive, entries(safe, place), negative, latent(), safety=1.0, schedule=pack.schedule(), **settings
    )
    on_left, on_right = (stock(eps, text, negative, latent(), **settings) for text in (safe, positive))
    assert torch.allclose(ours[..., 4:], on_right[..., 4:], atol=1e-4)
    assert not torch.allclose(ours[..., :4], on_right[..., :4], atol=1e-2)
    if "mask" in place:
        assert torch.allclose(ours[..., :4], on_left[..., :4], atol=1e-4)


def test_timestep_range_on_the_safe_prompt(pack, eps, prompts):
    """Before its range there is no safe prompt: weight 0 and two rows; in it, the weight as it is."""
    positive, safe, negative = prompts
    late = call(base_nodes.ConditioningSetTimestepRange, conditioning=safe, start=0.5, end=1.0)[0]
    with count_rows(eps) as by_range:
        ours = pack.ksampler(eps, positive, late, negative, latent(), steps=12, safety=0.5, schedule=pack.schedule())
    with count_rows(eps) as by_context:
        expected = pack.ksampler(
            eps, positive, safe, negative, latent(), steps=12, safety=0.5, schedule=pack.schedule(context=0.5)
        )
    assert set(by_range.rows) == {2, 3}
    assert by_range == by_context
    assert torch.equal(ours, expected)


def test_timestep_range_on_the_written_prompt(pack, eps, prompts):
    """Behind its range there is no written prompt: there the safe one alone steers, at any safety above 0."""
    positive, safe, negative = prompts
    early = call(base_nodes.ConditioningSetTimestepRange, conditioning=positive, start=0.0, end=0.5)[0]
    always = call(base_nodes.ConditioningSetTimestepRange, conditioning=safe, start=0.0, end=1.0)[0]
    stepped = pack.schedule(((0.0, 0.5), (0.5, 1.0), (1.0, 1.0)), interpolation="step")
    with count_rows(eps) as by_range:
        ours = pack.ksampler(eps, early, always, negative, latent(), steps=12, safety=0.5, schedule=pack.schedule())
    with count_rows(eps) as by_weight:
        expected = pack.ksampler(eps, positive, safe, negative, latent(), steps=12, safety=1.0, schedule=stepped)
    assert set(by_range.rows) == {2, 3}
    assert by_range == by_weight
    assert torch.equal(ours, expected)


def test_timestep_range_on_the_written_prompt_is_inherited(pack, eps, prompts):
    positive, safe, negative = prompts
    ranges = [{"start_percent": 0.0, "end_percent": 0.5}, {"start_percent": 0.5, "end_percent": 1.0}]
    written = entries(positive, *ranges)
    written[1][0] = conditioning(31)[0][0]  # prompt scheduling: another text in the second half
    ends(pack, eps, (written, safe, negative), latent(), on_safe=entries(safe, *ranges), steps=8)


def controlled(prompts, net, on_negative):
    """The written prompt, and perhaps the negative, with a ControlNet applied; the safe prompt without."""
    positive, safe, negative = prompts
    hint = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(2))
    if on_negative:
        positive, negative = call(
            base_nodes.ControlNetApplyAdvanced,
            positive=positive,
            negative=negative,
            control_net=net,
            image=hint,
            strength=0.9,
            start_percent=0.0,
            end_percent=0.7,
        )
    else:
        positive = call(base_nodes.ControlNetApply, conditioning=positive, control_net=net, image=hint, strength=0.9)[0]
    return positive, safe, negative


@pytest.mark.parametrize("on_negative", [False, True], ids=["written only", "written and negative"])
def test_controlnet_on_the_written_prompt_guides_the_safe_one_too(pack, eps, prompts, on_negative):
    positive, safe, negative = controlled(prompts, controlnet(), on_negative)
    own = {key: value for key, value in positive[0][1].items() if key.startswith("control")}
    on_safe = entries(safe, own)
    assert not torch.allclose(stock(eps, on_safe, negative, latent()), stock(eps, safe, negative, latent()), rtol=1e-2)
    ends(pack, eps, (positive, safe, negative), latent(), on_safe=on_safe)
    with count_rows(eps) as seen:
        pack.ksampler(eps, positive, safe, negative, latent(), schedule=pack.schedule())
    assert seen.rows == [3] * 6, "the safe rows carry the same control, so the host batches all three"


def test_concat_latents_of_an_inpainting_model(pack, prompts):
    """A 9-channel UNet: masked picture and mask go with the written prompt, and the safe one takes them."""
    model = unet_model(in_channels=9)
    positive, safe, negative = prompts
    picture = latent(seed=8)["samples"]
    added = {"concat_latent_image": picture, "concat_mask": left_half()}
    ends(
        pack,
        model,
        (entries(positive, added), safe, entries(negative, added)),
        latent(seed=3),
        on_safe=entries(safe, added),
    )


def test_several_safe_entries(pack, eps, prompts):
    positive, safe, negative = prompts
    ends(pack, eps, (positive, safe + conditioning(14), negative), latent())


@pytest.mark.parametrize("tokens", [154, 385])
def test_safe_prompt_longer_than_the_written_one(pack, eps, prompts, tokens):
    positive, _, negative = prompts
    ends(pack, eps, (positive, conditioning(12, tokens=tokens), negative), latent())


def test_cfg_one(pack, eps, prompts):
    ends(pack, eps, prompts, latent(), cfg=1.0)


def test_prompt_hooks_are_inherited(pack, prompts):
    require(has_wrappers(), "conditioning hooks")
    import comfy.hooks

    model = unet_model()
    positive, safe, negative = prompts
    hooks = {"hooks": comfy.hooks.create_hook_lora(lora=lora(model), strength_model=1.0, strength_clip=0.0)}
    plain = stock(model, safe, negative, latent())
    hooked = stock(model, entries(safe, hooks), negative, latent())
    assert not torch.allclose(plain, hooked, rtol=1e-2)
    ends(pack, model, (entries(positive, hooks), safe, negative), latent(), on_safe=entries(safe, hooks))


# --- models ------------------------------------------------------------------------------------------------------


def lora(model):
    """A LoRA file's content for two weights of the tiny UNet."""
    generator = torch.Generator().manual_seed(6)
    state = model.model.state_dict()
    names = [name for name in state if name.endswith("attn2.to_q.weight")][:2]
    out = {}
    for name in names:
        rows, columns = state[name].shape
        key = "lora_unet_" + name.removeprefix("diffusion_model.").removesuffix(".weight").replace(".", "_")
        out[f"{key}.lora_up.weight"] = torch.randn(rows, 4, generator=generator)
        out[f"{key}.lora_down.weight"] = torch.randn(4, columns, generator=generator)
        out[f"{key}.alpha"] = torch.tensor(4.0)
    assert out
    return out


def test_lora_patched_model(pack, prompts):
    model = unet_model()
    patched = comfy.sd.load_lora_for_models(model, None, lora(model), 1.0, 0.0)[0]
    plain = stock(model, prompts[0], prompts[2], latent())
    assert not torch.allclose(plain, stock(patched, prompts[0], prompts[2], latent()), rtol=1e-2)
    ends(pack, patched, prompts, latent())
    assert torch.equal(plain, stock(model, prompts[0], prompts[2], latent())), "the LoRA stayed on the model"


def test_velocity_prediction(pack, prompts):
    ends(pack, unet_model("V_PREDICTION"), prompts, latent())


def test_sampling_object_patch(pack, eps, prompts):
    """Zero terminal SNR and a rescaled noise schedule by the host's node."""
    node = extra_node("nodes_model_advanced", "ModelSamplingDiscrete")
    model = call(node, model=eps, sampling="v_prediction", zsnr=True)[0]
    ends(pack, model, prompts, latent())


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_flow_model_like_sd3(pack, prompts, cfg):
    for sampler_name in ("euler", "dpmpp_2m", "heun"):
        ends(pack, sd3_model(), prompts, latent(16), cfg=cfg, sampler_name=sampler_name)


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_flow_model_like_flux(pack, prompts, cfg):
    require(hasattr(comfy.model_base, "Flux"), "Flux")
    positive, safe, negative = prompts
    guided = entries(positive, {"guidance": 2.5})
    ends(pack, flux_model(), (guided, safe, negative), latent(16), on_safe=entries(safe, {"guidance": 2.5}), cfg=cfg)


def test_video_latents_of_five_dimensions(pack, prompts):
    require(hasattr(comfy.model_base, "WAN21"), "Wan")
    model = video_model()
    for sampler_name in ("euler", "uni_pc"):
        between = ends(pack, model, prompts, latent(16, frames=3), sampler_name=sampler_name)
    assert between.shape == (1, 16, 3, 8, 8)
    masked = pack.ksampler(model, *prompts, latent(16, frames=3), mask=left_half())
    assert torch.isfinite(masked).all()
    separate = pack.ksampler(model, *prompts, latent(16, frames=3), merge="separate", steps=8)
    assert torch.isfinite(separate).all()
