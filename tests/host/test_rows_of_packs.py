"""Other packs that take a call's rows for one positive prompt and one negative, and are no patch of the attention."""

from __future__ import annotations

import functools

import comfy.controlnet
import comfy.samplers
import host
import torch
from host import has_wrappers, require, stock
from safelight_pack import custom_sample
from test_hosts_features import entries
from test_other_packs_cases import SHORT, nearly, nudged
from tiny_models import controlnet, latent

from safelight.engine import erase_training
from safelight.engine.gradients import blocks_of
from safelight.engine.low_rank import CROSS, NETWORK, Adapters, attention_layers


class WeakOnNegative(comfy.controlnet.ControlNet):
    """A ControlNet that does less on rows of the negative prompt, which it knows by the number 1."""

    def get_control(self, x, t, cond, batched_number, transformer_options):
        order = transformer_options["cond_or_uncond"]
        share = torch.tensor([0.1 if index == 1 else 1.0 for index in order]).repeat_interleave(len(x) // len(order))
        control = super().get_control(x, t, cond, batched_number, transformer_options)
        return {
            key: [part if part is None else part * share[:, None, None, None] for part in parts]
            for key, parts in control.items()
        }


def test_a_packs_controlnet_knows_the_negative_rows(pack, eps, prompts):
    require(has_wrappers(), "transformer options for ControlNets")
    net = controlnet()
    net.set_cond_hint(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)), 1.0, (0.0, 1.0))
    control = {"control": net, "control_apply_to_uncond": False}
    positive, negative = entries(prompts[0], control), entries(prompts[2], control)
    evenly = stock(eps, positive, negative, latent(), **SHORT)
    net.__class__ = WeakOnNegative
    plain = stock(eps, positive, negative, latent(), **SHORT)
    assert not nearly(plain, evenly, 0.01), "it has to act"
    settings = {"safety": 0.5, "schedule": pack.schedule(), **SHORT}
    assert nearly(pack.ksampler(eps, positive, nudged(prompts[0]), negative, latent(), **settings), plain)


class LastRow(comfy.samplers.CFGGuider):
    """A guider that replaces the network's forward for its run, and changes the last rows of a call alone."""

    def sample(self, noise, *args, **kwargs):
        network = self.model_patcher.model.diffusion_model
        forward = network.forward

        def changed(x, *args, **kwargs):
            out = forward(x, *args, **kwargs)
            return torch.cat([out[: -len(noise)], 1.1 * out[-len(noise) :]])

        network.forward = changed
        try:
            return super().sample(noise, *args, **kwargs)
        finally:
            del network.forward


def test_behind_a_packs_guider_the_model_patch_evaluates_stock_calls(pack, eps, prompts):
    require(has_wrappers(), "model wrappers")
    positive, _, negative = prompts

    def sampled(kind, model):
        guider = kind(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(5.0)
        settings = {**host.SETTINGS, **SHORT}
        return custom_sample(guider, host.sigmas_of(eps, **settings), latent(), settings)

    plain = sampled(LastRow, eps)
    assert not nearly(plain, sampled(comfy.samplers.CFGGuider, eps), 0.01), "it has to act"
    patched = pack.patch(eps, nudged(positive), safety=0.5, schedule=pack.schedule())
    assert nearly(sampled(LastRow, patched), plain)


def noisy(args):
    """Predictions with noise in them, another one for every conditioning and call."""
    predictions = comfy.samplers.calc_cond_batch(
        args["model"], args["conds"], args["input"], args["sigma"], args["model_options"]
    )
    return [prediction + 0.1 * torch.randn_like(prediction) for prediction in predictions]


def test_another_packs_evaluation_draws_the_same_for_both_prompts(pack, eps, prompts):
    model, (positive, _, negative) = eps.clone(), prompts
    model.model_options["sampler_calc_cond_batch_function"] = noisy
    require(has_wrappers(), "replaced evaluation of conditionings")
    plain = stock(model, positive, negative, latent(), **SHORT)
    assert not nearly(plain, stock(eps, positive, negative, latent(), **SHORT), 0.01), "it has to act"
    settings = {"safety": 0.5, "schedule": pack.schedule(), **SHORT}
    assert nearly(pack.ksampler(model, positive, nudged(positive), negative, latent(), **settings), plain)


def test_what_trains_does_not_say_of_a_packs_forward_that_its_rows_are_for_themselves(eps):
    layer, other = attention_layers(eps, CROSS)[:2]
    model = eps.clone()
    block = next(each for each in blocks_of(model.model.diffusion_model) if layer.startswith(f"{each}."))
    for name in (layer, block):
        place = f"{NETWORK}{name}.forward"
        model.add_object_patch(place, functools.partial(model.get_model_object(place)))
    Adapters(eps, [layer, other], 1, torch.Generator()).attach(model)
    erase_training._checkpoint_blocks(model, [layer])
    told = {name: model.object_patches[f"{NETWORK}{name}.forward"].by_row for name in (layer, other, block)}
    assert told == {layer: False, other: True, block: False}
