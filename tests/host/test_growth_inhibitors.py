"""SafelightGrowthInhibitors in the host: off is off, attention is what the formula says, and where it acts."""

from __future__ import annotations

import host
import pytest
import tiny_encoders
import torch
from safelight_pack import custom_sample
from tiny_models import conditioning, controlnet, latent, sd3_model, sdxl_model

from safelight.engine import known_rows
from safelight.engine.inhibited_attention import target_texts

CONCEPTS = "a kitchen knife, blood"


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.fitting_clip()


@pytest.fixture
def apply(pack, clip):
    def applied(model, concepts=CONCEPTS, **inputs):
        node = pack.nodes["SafelightGrowthInhibitors"]
        return host.call(node, model=model, clip=clip, concepts=concepts, **inputs)[0]

    return applied


def stock(model, prompts, given=None, **settings):
    return host.stock(model, prompts[0], prompts[2], given or latent(), **settings)


def apart(one, other):
    return float((one - other).abs().max())


def attended(model, x, context, kinds):
    """What the network makes of one call, with the inputs and outputs of its cross-attentions."""
    network, seen = model.model.diffusion_model, {}
    options = {**model.model_options["transformer_options"], "cond_or_uncond": kinds}

    def watch(name):
        def hook(module, args, kwargs, out):
            seen[name] = args[0], kwargs["context"], out

        return hook

    found = [(name, module) for name, module in network.named_modules() if name.endswith(".attn2")]
    hooks = [module.register_forward_hook(watch(name), with_kwargs=True) for name, module in found]
    try:
        with torch.no_grad():
            made = network(x, torch.full((len(x),), 500.0), context=context, transformer_options=options)
    finally:
        for hook in hooks:
            hook.remove()
    return made, seen


def test_strength_zero_is_the_very_model(apply, eps):
    assert apply(eps, strength=0.0) is eps


def test_attention_is_what_the_formula_says(apply, clip, eps):
    """Of every cross-attention: with the prompt's own as the host has it, less the words' share, on the rows of the
    positive prompt alone."""
    model, targets = apply(eps, strength=0.7), target_texts(clip, CONCEPTS)
    (before,), (after,) = (
        model.model_options["transformer_options"]["patches"][name] for name in ("attn2_patch", "attn2_output_patch")
    )
    x, context = torch.randn(4, 4, 8, 8), torch.cat([conditioning(i)[0][0] for i in range(4)])
    _, seen = attended(model, x, context, [1, 0])
    assert len(seen) == len(list(m for m, _ in eps.model.diffusion_model.named_modules() if m.endswith(".attn2"))) > 2
    for name, (n, _, out) in seen.items():
        block = eps.model.diffusion_model.get_submodule(name)
        q, width, expected = block.to_q(n), n.shape[-1] // block.heads, out
        for target in targets:
            k, v, words = block.to_k(target.states[0]), block.to_v(target.states[0]), target.content
            parts = []
            for h in range(block.heads):
                part = slice(h * width, (h + 1) * width)
                share = (q[..., part] @ k[:, part].T / width**0.5).softmax(dim=-1)
                parts.append(share[..., words] @ v[words][:, part])
            expected = expected - 0.7 / 2**0.5 * torch.cat(parts, dim=-1) @ block.to_out[0].weight.T
        kind, number, *_, index, _ = name.split(".")
        place = {"input_blocks": "input", "middle_block": "middle", "output_blocks": "output"}[kind]
        options = {"block": (place, 0 if place == "middle" else int(number)), "block_index": int(index)}
        options["cond_or_uncond"] = [1, 0]
        with torch.no_grad():
            before(n, context, context, options)
            left = after(out, options)
        assert torch.equal(left[:2], out[:2]), name
        assert torch.allclose(left[2:], expected[2:], atol=1e-5) and apart(left[2:], out[2:]) > 1e-3, name


def test_it_acts_in_every_block_of_a_run(apply, eps, prompts, monkeypatch):
    """Twenty steps, one call each: no last part of a run goes without."""
    model, calls = apply(eps), []
    (after,) = model.model_options["transformer_options"]["patches"]["attn2_output_patch"]
    original = type(after).__call__

    def counted(self, n, options):
        calls.append(len(options["safelight_found"]))
        return original(self, n, options)

    monkeypatch.setattr(type(after), "__call__", counted)
    stock(model, prompts, steps=20)
    count = sum(name.endswith(".attn2") for name, _ in eps.model.diffusion_model.named_modules())
    assert calls == [1] * (20 * count)


def test_no_further_row_and_other_branches_stay_as_they_are(apply, eps, prompts):
    plain, taken, weak = stock(eps, prompts), apply(eps), apply(eps, strength=0.5)
    with host.count_rows(taken) as seen:
        first = stock(taken, prompts, steps=6)
    assert seen.rows == [2] * 6
    first, second = stock(taken, prompts), stock(weak, prompts)
    assert torch.equal(stock(eps, prompts), plain) and torch.equal(stock(taken, prompts), first)
    assert apart(first, plain) > 1e-3 and apart(second, plain) > 1e-3 and apart(first, second) > 1e-3


def test_rows_of_the_negative_prompt_stay_as_they_are(apply, eps, prompts):
    x, context = torch.randn(2, 4, 8, 8), torch.cat([prompts[0][0][0], prompts[2][0][0]])
    plain, taken = (attended(model, x, context, [0, 1])[0] for model in (eps, apply(eps)))
    assert torch.equal(plain[1], taken[1]) and apart(plain[0], taken[0]) > 1e-3
    alone = [attended(model, x, context, [1])[0] for model in (eps, apply(eps))]
    assert torch.equal(*alone), "as where the host evaluates the prompts one after the other"


def test_two_of_them_add_up(apply, eps, prompts):
    """The same targets at half the strength each, and other targets in any order."""
    once, twice = apply(eps, strength=1.0), apply(apply(eps, strength=0.5), strength=0.5)
    assert apart(stock(once, prompts), stock(twice, prompts)) < 1e-3
    orders = [apply(apply(eps, a), b) for a, b in (("blood", "a knife"), ("a knife", "blood"))]
    first, second = (stock(model, prompts) for model in orders)
    assert apart(first, second) < 1e-3 < apart(first, stock(once, prompts))


def test_each_picture_of_a_batch_is_for_itself(apply, eps, prompts):
    taken = apply(eps)
    given = latent(batch=3)
    together = stock(taken, prompts, given)
    alone = stock(taken, prompts, {"samples": given["samples"][1:2], "batch_index": [1]})
    assert apart(together[1:2], alone) < 1e-3


def test_beside_a_controlnet_an_area_and_a_range_of_steps(apply, eps, prompts):
    net = controlnet()
    net.set_cond_hint(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)), 1.0, (0.0, 1.0))
    (states, extras), second = prompts[0][0], conditioning(7)[0]
    positive = [
        [states, {**extras, "control": net, "control_apply_to_uncond": False, "end_percent": 0.5}],
        [second[0], {**second[1], "area": (4, 8, 0, 0), "strength": 0.8}],
        [states, {**extras, "start_percent": 0.5, "end_percent": 1.0}],
    ]
    made = [stock(model, [positive, None, prompts[2]]) for model in (eps, apply(eps))]
    assert all(bool(torch.isfinite(each).all()) for each in made) and apart(*made) > 1e-3


def test_the_packs_own_samplers_evaluate_three_rows_in_one_call(pack, apply, eps, prompts):
    """Every row is for itself, so that no pair is needed."""
    taken, settings = apply(eps), {"safety": 0.5, "schedule": pack.schedule()}
    with host.count_rows(taken) as seen:
        ours = pack.ksampler(taken, *prompts, latent(), **settings)
    assert set(seen.rows) == {3}
    assert apart(ours, pack.ksampler(eps, *prompts, latent(), **settings)) > 1e-3


def test_under_the_slider_at_zero_it_is_the_hosts_sampler_on_the_same_model(pack, apply, eps, prompts):
    taken = apply(eps)
    assert torch.equal(pack.ksampler(taken, *prompts, latent(), safety=0.0), stock(taken, prompts))


def test_other_patches_of_the_attention_come_first_where_they_were_first(apply, eps, prompts):
    """One that changes the queries is looked at through; one that only changes the prompt's keys leaves the targets
    as they are."""
    other = eps.clone()
    other.set_model_attn2_patch(lambda n, k, v, options: (1.5 * n, k, v))
    other.set_model_attn2_output_patch(lambda n, options: 0.5 * n)
    made = [stock(model, prompts) for model in (eps, other, apply(eps), apply(other))]
    assert all(apart(made[i], made[j]) > 1e-3 for i in range(4) for j in range(i))


@pytest.mark.parametrize("first", [True, False])
def test_a_patch_that_makes_rows_of_its_own_is_an_error(apply, eps, prompts, first):
    """As an attention couple does: it repeats rows in front of the attention, and adds them up behind it."""

    def coupled(model):
        model = model.clone()
        model.set_model_attn2_patch(lambda n, k, v, options: tuple(x.repeat(2, 1, 1) for x in (n, k, v)))
        model.set_model_attn2_output_patch(lambda n, options: n[: len(n) // 2])
        return model

    model = apply(coupled(eps)) if first else coupled(apply(eps))
    with pytest.raises(ValueError, match="^model: expected a cross-attention with the same rows .* attention couple"):
        stock(model, prompts)


def test_a_block_of_another_network_stays_as_it_is(apply, eps, prompts):
    """As one of a pack's that hands on the model's options: it has no place among the UNet's."""
    block = eps.model.diffusion_model.get_submodule("middle_block.1.transformer_blocks.0")
    width = block.attn2.to_q.in_features
    x, context = torch.randn(2, 16, width), torch.cat([prompts[0][0][0], prompts[2][0][0]])
    made = []
    for model in (eps, apply(eps)):
        options = {**model.model_options["transformer_options"], "cond_or_uncond": [0, 1]}
        with torch.no_grad():
            made += [
                block(x.clone(), context=context, transformer_options={**options, **place})
                for place in ({}, {"block": ("middle", 0)})
            ]
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2]) and apart(made[0], made[3]) > 1e-3


def test_a_guider_with_further_prompts_is_an_error(apply, eps, prompts):
    guider = host.extra_node("nodes_perpneg", "PerpNegGuider")
    inputs = {"positive": prompts[0], "negative": prompts[2], "empty_conditioning": prompts[1]}
    (made,) = host.call(guider, model=apply(eps), **inputs, cfg=4.0, neg_scale=1.0)
    sampling = {"sampler_name": "euler", "seed": 3}
    with pytest.raises(ValueError, match="^model: expected a guider with one positive and one negative prompt"):
        custom_sample(made, torch.tensor([10.0, 1.0, 0.0]), latent(), sampling)


def test_a_prompt_without_a_negative_and_prompts_of_any_length(apply, eps, prompts):
    taken = apply(eps)
    assert apart(stock(taken, prompts, cfg=1.0), stock(eps, prompts, cfg=1.0)) > 1e-3
    for tokens in (2, 60, 154):
        made = host.stock(taken, conditioning(1, tokens), conditioning(2, tokens), latent(), steps=2)
        assert bool(torch.isfinite(made).all())


def test_a_target_longer_than_a_chunk_is_read_whole(apply, clip, eps, prompts):
    long = " ".join(f"thing number {i}" for i in range(40))
    (target,) = target_texts(clip, f"{long} and a knife")
    assert target.states.shape[1] > 77 and int(target.chunk[target.content].max()) > 0
    knife, blood = (stock(apply(eps, f"{long} and {end}"), prompts) for end in ("a knife", "blood"))
    assert apart(knife, blood) > 1e-4


def test_a_model_without_cross_attention_to_this_text_is_named(apply):
    with pytest.raises(ValueError, match="^model: expected a UNet .* 32 wide, .*got a SD3 model"):
        apply(sd3_model())
    with pytest.raises(ValueError, match="^model: expected a UNet .* 32 wide, .*got a UNet model for texts 48 wide"):
        apply(sdxl_model(48, 16))


def test_an_encoder_whose_rows_are_not_words_is_refused(apply, eps, monkeypatch):
    monkeypatch.setattr(known_rows, "why_unknown", lambda clip: "puts the prompt in a template")
    with pytest.raises(ValueError, match="^clip: expected .* single words .* growth inhibitors, got one that puts"):
        apply(eps)


@pytest.mark.parametrize("strength", [-0.1, 2.5, float("nan"), True, "much"])
def test_strength_is_checked(apply, eps, strength):
    with pytest.raises(ValueError, match="^strength"):
        apply(eps, strength=strength)


@pytest.mark.parametrize("concepts", ["", " \n", ", ,"])
def test_no_target_is_an_error(apply, eps, concepts):
    with pytest.raises(ValueError, match="^concepts"):
        apply(eps, concepts)
