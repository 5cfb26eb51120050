"""SafelightGrowthInhibitorsGuider: the plain picture beside is the stock run, the other loses the targets, and what the
two share."""

from __future__ import annotations

import comfy.samplers
import host
import pytest
import tiny_encoders
import torch
from methods import run_guider
from safelight_pack import custom_sample
from tiny_models import conditioning, controlnet, latent, sd3_model, unet_model

from safelight.engine import shared_noise, two_streams
from safelight.engine.inhibited_attention import After, Before
from safelight.guidance.progress import noise_level_progress

CONCEPTS = "a kitchen knife, blood"
KNOWN = shared_noise.STEADY | shared_noise.DRAWING | shared_noise.BROWNIAN
LISTED = [name for name in host.SAMPLERS if name.removesuffix("_gpu") in KNOWN]


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.fitting_clip()


@pytest.fixture
def guider(pack, clip, prompts):
    def made(model, positive=prompts[0], negative=prompts[2], cfg=5.0, concepts=CONCEPTS, **inputs):
        node = pack.nodes["SafelightGrowthInhibitorsGuider"]
        given = {"positive": positive, "negative": negative, "cfg": cfg, "concepts": concepts, **inputs}
        return host.call(node, model=model, clip=clip, **given)[0]

    return made


@pytest.fixture
def share(monkeypatch):
    """share(.5): maps are shared in so much of the run."""
    return lambda part: monkeypatch.setattr(two_streams, "SHARED", part)


@pytest.fixture
def nothing_found(monkeypatch):
    """No picture finds anything of the targets: so the two streams are the same run."""
    monkeypatch.setattr(Before, "_found", lambda self, attention, n: torch.zeros_like(n))


def stock(model, prompts, given=None, **settings):
    return host.stock(model, prompts[0], prompts[2], given or latent(), **settings)


def apart(one, other):
    return float((one - other).abs().max())


def watched(model, guide):
    """The inputs of the network's calls, and by name the outputs of their cross-attentions, while guide() runs."""
    network, seen, crossed = model.model.diffusion_model, [], {}
    forward = network.forward

    def noted(x, *args, **kwargs):
        seen.append(x.clone())
        return forward(x, *args, **kwargs)

    hooks = [
        module.register_forward_hook(lambda m, i, out, name=name: crossed.setdefault(name, []).append(out.clone()))
        for name, module in network.named_modules()
        if name.endswith(".attn2")
    ]
    network.forward = noted
    try:
        guide()
    finally:
        del network.forward
        for hook in hooks:
            hook.remove()
    return seen, crossed


def test_strength_zero_is_the_hosts_guider(guider, eps, prompts):
    off = guider(eps, strength=0.0)
    assert type(off) is comfy.samplers.CFGGuider and off.model_patcher is eps
    with host.count_rows(eps) as seen:
        assert torch.equal(run_guider(off, eps, latent()), stock(eps, prompts))
    assert seen.rows == [2] * 12


@pytest.mark.parametrize("sampler_name", ["euler", "dpm_2_ancestral", "dpmpp_2m_sde", "uni_pc"])
def test_the_plain_stream_is_the_stock_run(guider, share, eps, prompts, sampler_name):
    """Bit for bit, whatever the other one loses."""
    share(1.0)
    given, settings = latent(batch=2, seed=5), {"sampler_name": sampler_name, "denoise": 0.8}
    plain, _ = watched(eps, lambda: stock(eps, prompts, given, **settings))
    both, _ = watched(eps, lambda: run_guider(guider(eps), eps, given, **settings))
    assert len(both) == 2 * len(plain)
    assert all(torch.equal(one, other) for one, other in zip(both[::2], plain, strict=True))
    assert torch.equal(both[1], plain[0]) and apart(both[-1], plain[-1]) > 1e-3


def test_the_second_stream_takes_the_prompts_values_by_the_first_ones_map(guider, share, eps):
    """In every cross-attention of a shared call, and in no other. The negative prompt's rows keep their own maps."""
    share(0.5)
    seen, crossed = watched(eps, lambda: run_guider(guider(eps), eps, latent(), steps=10))
    assert len(seen) == 15 and len(crossed) > 2
    for outs in crossed.values():
        assert len(outs) == 15
        for plain, taking in zip(outs[2:10:2], outs[3:10:2], strict=True):
            assert torch.equal(plain[1:], taking[1:]) and not torch.equal(plain[:1], taking[:1])
        assert not any(torch.equal(*pair) for pair in zip(outs[10:], outs[9:], strict=False))


def test_the_targets_are_taken_away_in_every_call_of_the_second_stream(guider, eps, monkeypatch):
    """Of twenty steps the last ones too, in which nothing is shared; and in none of the plain picture's."""
    calls, original = [], After.__call__

    def counted(self, n, options):
        calls.append(len(options["safelight_found"]))
        return original(self, n, options)

    monkeypatch.setattr(After, "__call__", counted)
    run_guider(guider(eps), eps, latent(), steps=20)
    count = sum(name.endswith(".attn2") for name, _ in eps.model.diffusion_model.named_modules())
    assert calls == [1] * (20 * count)


def test_rows_are_twice_the_stock_runs_while_maps_are_shared(guider, share, eps):
    share(0.5)
    for cfg, rows in ((5.0, 2), (1.0, 1)):
        with host.count_rows(eps) as seen:
            run_guider(guider(eps, cfg=cfg), eps, latent(), steps=10)
        assert seen.rows == [rows] * 15


def test_without_sharing_it_is_the_patch(pack, guider, share, clip, eps, prompts):
    settings = {"sampler_name": "dpmpp_2m_sde"}
    node, inputs = pack.nodes["SafelightGrowthInhibitors"], {"clip": clip, "concepts": CONCEPTS, "strength": 0.7}
    alone, made = stock(host.call(node, model=eps, **inputs)[0], prompts, **settings), []
    for part in (0.0, 0.5, 1.0):
        share(part)
        made.append(run_guider(guider(eps, strength=0.7), eps, latent(), **settings))
    none, half, whole = made
    assert torch.equal(none, alone)
    assert min(apart(half, alone), apart(whole, half), apart(whole, stock(eps, prompts))) > 1e-3


@pytest.mark.parametrize("sampler_name", LISTED)
def test_both_streams_get_the_stock_runs_noise(guider, eps, prompts, sampler_name, nothing_found):
    given, settings = latent(batch=2, seed=5), {"sampler_name": sampler_name, "denoise": 0.9}
    assert torch.equal(run_guider(guider(eps), eps, given, **settings), stock(eps, prompts, given, **settings))


def test_a_patch_that_draws_draws_the_same_for_both_streams(guider, eps, prompts, nothing_found):
    """And what the sampler draws after it is what a stock run draws."""
    model, settings = eps.clone(), {"sampler_name": "euler_ancestral"}
    model.set_model_attn1_output_patch(lambda n, options: n + torch.randn_like(n))
    assert torch.equal(run_guider(guider(model), model, latent(), **settings), stock(model, prompts, **settings))


def test_where_the_sharing_has_ended_it_does_not_begin_again(guider, share, eps):
    """A sampler may look ahead to less noise than its next step begins with; by then the plain latent is gone."""
    sampler = comfy.samplers.ksampler("dpmpp_2s_ancestral", {"eta": 1.1})

    def levels():
        given = latent()["samples"]
        with host.count_rows(eps) as seen:
            guider(eps).sample(torch.ones_like(given), given, sampler, host.sigmas_of(eps, steps=8), seed=3)
        return seen.sigmas

    share(1.0)
    whole = levels()[::2]
    ahead = max(i for i in range(len(whole) - 1) if whole[i] < whole[i + 1])
    between = (whole[ahead] + whole[ahead + 1]) / 2
    share(noise_level_progress(between, eps.get_model_object("model_sampling").percent_to_sigma))
    assert levels() == [level for level in whole[:ahead] for _ in "ab"] + whole[ahead:]


def test_samplers_that_may_mix_the_streams_are_refused(guider, eps):
    module = host.extra("nodes_custom_sampler")
    names = [name for name in ("dpm_adaptive", "euler_cfg_pp", "euler_ancestral_cfg_pp") if name in host.SAMPLERS]
    refused = {name: comfy.samplers.sampler_object(name) for name in names}
    refused["another one"] = comfy.samplers.ksampler("euler", {"s_churn": 0.5})
    refused["got another"] = comfy.samplers.KSAMPLER(lambda model, x, sigmas, **options: x)
    for name, sampler in refused.items():
        with pytest.raises(ValueError, match=f"^sampler: expected .* the host's .*{name}"):
            host.call(
                module.SamplerCustomAdvanced,
                noise=host.call(module.RandomNoise, noise_seed=3)[0],
                guider=guider(eps),
                sampler=sampler,
                sigmas=host.sigmas_of(eps),
                latent_image=latent(),
            )
    assert "dpm_adaptive" in refused


def features():
    """Conditionings and latents whose rows the host makes in ways of its own."""
    (states, extras), second, net = conditioning(11)[0], conditioning(7)[0], controlnet()
    net.set_cond_hint(torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2)), 1.0, (0.0, 1.0))
    masks = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(4))
    area = [[states, extras], [second[0], {**second[1], "area": (4, 8, 0, 0), "strength": 0.8}]]
    return {
        "controlnet": ([[states, {**extras, "control": net, "control_apply_to_uncond": True}]], {}),
        "area": (area, {}),
        "mask": ([[states, {**extras, "mask": masks}], [second[0], second[1]]], {}),
        "range": ([[states, {**extras, "start_percent": 0.3, "end_percent": 0.7}]], {}),
        "prompts": (
            [[torch.cat([conditioning(i)[0][0] for i in (1, 2, 3)]), {"pooled_output": torch.zeros(3, 16)}]],
            {},
        ),
        "lengths": ([[torch.cat([states, states], dim=1), extras]], {}),
        "noise mask": ([[states, extras]], {"noise_mask": masks}),
    }


@pytest.mark.parametrize("name", list(features()))
@pytest.mark.parametrize("sampler_name", ["euler", "ddim"])
def test_what_the_host_does_with_rows_is_done_for_each_stream(guider, eps, prompts, name, sampler_name, monkeypatch):
    """Two pictures: where nothing is found it is the stock run, and else another picture."""
    positive, more = features()[name]
    given = {**latent(batch=2, seed=5), **more}
    plain = host.stock(eps, positive, prompts[2], given, sampler_name=sampler_name)
    taken = run_guider(guider(eps, positive), eps, given, sampler_name=sampler_name)
    assert bool(torch.isfinite(taken).all()) and apart(taken, plain) > 1e-3
    monkeypatch.setattr(Before, "_found", lambda self, attention, n: torch.zeros_like(n))
    assert torch.equal(run_guider(guider(eps, positive), eps, given, sampler_name=sampler_name), plain)


def test_each_picture_of_a_batch_is_for_itself(guider, eps):
    given = latent(batch=3)
    together = run_guider(guider(eps), eps, given)
    alone = run_guider(guider(eps), eps, {"samples": given["samples"][1:2], "batch_index": [1]})
    assert apart(together[1:2], alone) < 1e-3 < apart(together[:1], alone)


def test_previews_show_the_second_stream(guider, eps):
    shown, given = [], latent(batch=2)
    sampler, sigmas = comfy.samplers.sampler_object("euler"), host.sigmas_of(eps)
    noise = torch.randn(given["samples"].shape, generator=torch.Generator().manual_seed(3))
    out = guider(eps).sample(
        noise, given["samples"], sampler, sigmas, callback=lambda i, x0, x, n: shown.append((i, x0, x, n)), seed=3
    )
    assert [(i, n) for i, _, _, n in shown] == [(i, 6) for i in range(6)]
    assert torch.equal(shown[-1][1], out) and shown[0][2].shape == out.shape == given["samples"].shape


def test_a_patch_that_leaves_calls_out_is_an_error(guider, eps):
    """As a step cache does: the second stream would get the plain picture's prediction."""
    model, answers = eps.clone(), {}

    def cached(apply_model, args):
        level = float(args["timestep"][0])
        if level not in answers:
            answers[level] = apply_model(args["input"], args["timestep"], **args["c"])
        return answers[level]

    model.set_model_unet_function_wrapper(cached)
    with pytest.raises(ValueError, match="^model: expected the plain picture .* evaluated alike .* step cache"):
        run_guider(guider(model), model, latent())


def test_the_hosts_step_cache_is_an_error(guider, eps):
    cache = host.extra_node("nodes_easycache", "EasyCacheNode")
    settings = {"reuse_threshold": 0.9, "start_percent": 0.0, "end_percent": 1.0, "verbose": False}
    (model,) = host.call(cache, model=eps.clone(), **settings)
    with pytest.raises(ValueError, match="^model: expected the plain picture .* evaluated alike .* step cache"):
        run_guider(guider(model), model, latent(), steps=12)


def test_rows_that_memory_divides_otherwise_are_found_again(guider, share, eps, monkeypatch):
    """The plain picture's prompts in one call, the other's one after the other."""
    share(1.0)
    whole, required = run_guider(guider(eps), eps, latent()), type(eps.model).memory_required
    with host.count_rows(eps) as seen:

        def second_is_divided(self, *args, **kwargs):
            return 1e18 if sum(seen.rows) % 4 > 1 else required(self, *args, **kwargs)

        monkeypatch.setattr(type(eps.model), "memory_required", second_is_divided)
        parts = run_guider(guider(eps), eps, latent())
    assert seen.rows == [2, 1, 1] * 6 and apart(parts, whole) < 1e-3


def test_another_guider_made_of_it_loses_the_targets_too(guider, share, eps, prompts):
    """As packs that upscale or detail make one."""
    other = comfy.samplers.CFGGuider(guider(eps).model_patcher)
    other.set_conds(prompts[0], prompts[2])
    other.set_cfg(5.0)
    share(0.0)
    assert torch.equal(run_guider(other, eps, latent()), run_guider(guider(eps), eps, latent()))


def test_a_run_of_one_noise_level_and_a_second_stage(guider, eps):
    made, sampling = guider(eps), {"seed": 3, "sampler_name": "euler"}
    sigmas = host.sigmas_of(eps, steps=8)
    assert custom_sample(made, sigmas[:1], latent(), sampling).shape == latent()["samples"].shape
    first = custom_sample(made, sigmas[:4], latent(), sampling)
    second = custom_sample(made, sigmas[3:], {"samples": first}, sampling)
    assert bool(torch.isfinite(second).all()) and apart(first, second) > 1e-3


def test_models_inputs_and_targets_are_checked(guider, eps):
    with pytest.raises(ValueError, match="^model: expected a UNet .*got a SD3 model"):
        guider(sd3_model())
    for name, value in (("strength", 2.5), ("strength", True), ("cfg", float("nan"))):
        with pytest.raises(ValueError, match=f"^{name}"):
            guider(eps, **{name: value})
    with pytest.raises(ValueError, match="^concepts"):
        guider(eps, concepts=" \n")
    with pytest.raises(ValueError, match="^positive"):
        guider(eps, positive=None)
    assert bool(torch.isfinite(run_guider(guider(unet_model("V_PREDICTION")), eps, latent())).all())
