"""Benign in, same out: what a stock sampler would have given, bit for bit, for the same rows of model evaluation."""

from __future__ import annotations

import contextlib
import copy
import gc
import weakref

import comfy.model_management
import comfy.samplers
import pytest
import torch
from host import SAMPLERS, SETTINGS, call, count_rows, sigmas_of, stock, stock_advanced
from safelight_pack import custom_sample
from tiny_models import conditioning, latent

NAMED = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "dpm_2", "heun", "uni_pc", "lcm"]
OTHERS = [name for name in ("ddim", "dpmpp_3m_sde", "lms", "ddpm") if name in SAMPLERS]


def both(pack, model, prompts, latent_image, expected, **settings):
    """The node's latent, after checking that it is stock's on `expected`, bits and rows."""
    positive, safe, negative = prompts
    sampling = {key: value for key, value in settings.items() if key in ("sampler_name", "scheduler", "steps", "cfg")}
    with count_rows(model) as stock_rows:
        plain = stock(model, expected, negative, latent_image, **sampling)
    with count_rows(model) as own_rows:
        ours = pack.ksampler(model, positive, safe, negative, latent_image, **settings)
    assert torch.equal(ours, plain)
    assert own_rows == stock_rows


@pytest.mark.parametrize("sampler_name", NAMED + OTHERS)
def test_safety_zero_is_the_stock_ksampler(pack, eps, prompts, sampler_name):
    both(pack, eps, prompts, latent(), prompts[0], sampler_name=sampler_name, safety=0.0)


@pytest.mark.parametrize("sampler_name", NAMED + OTHERS)
def test_closed_gate_is_the_stock_ksampler(pack, eps, prompts, sampler_name):
    both(pack, eps, prompts, latent(batch=2), prompts[0], sampler_name=sampler_name, safety=1.0, risk=0.49, gate=0.5)


@pytest.mark.parametrize("sampler_name", NAMED)
def test_no_call_with_weight_is_the_stock_ksampler(pack, eps, prompts, sampler_name):
    """A slice of a run that ends before `context`: none of its calls has a weight."""
    positive, safe, negative = prompts
    settings = {"sampler_name": sampler_name, "end_at_step": 6, "return_with_leftover_noise": "enable"}
    with count_rows(eps) as stock_rows:
        plain = stock_advanced(eps, positive, negative, latent(), **settings)
    with count_rows(eps) as own_rows:
        ours = pack.advanced(
            eps, positive, safe, negative, latent(), safety=1.0, schedule=pack.schedule(context=0.6), **settings
        )
    assert torch.equal(ours, plain)
    assert own_rows == stock_rows


@pytest.mark.parametrize("sampler_name", NAMED + OTHERS)
def test_full_weight_is_the_stock_ksampler_on_the_safe_prompt(pack, eps, prompts, sampler_name):
    both(pack, eps, prompts, latent(), prompts[1], sampler_name=sampler_name, safety=1.0, schedule=pack.schedule())


def test_full_weight_hands_no_written_prompt_to_the_host(pack, eps, prompts, monkeypatch):
    """The written prompt of NaNs changes nothing, and the host prepares two conditionings, as in a stock run."""
    positive, safe, negative = prompts
    prepared = []
    process_conds = comfy.samplers.process_conds

    def spy(model, noise, conds, *args, **kwargs):
        prepared.append({key: len(entries) for key, entries in conds.items()})
        return process_conds(model, noise, conds, *args, **kwargs)

    monkeypatch.setattr(comfy.samplers, "process_conds", spy)
    plain = stock(eps, safe, negative, latent())
    poisoned = [[torch.full_like(positive[0][0], float("nan")), dict(positive[0][1])]]
    ours = pack.ksampler(eps, poisoned, safe, negative, latent(), safety=1.0, schedule=pack.schedule())
    assert torch.equal(ours, plain)
    assert [sum(counts.values()) for counts in prepared] == [2, 2]


def test_before_the_context_a_masked_prompt_asks_for_no_safe_one(pack, eps, prompts, monkeypatch):
    """As with full weight the other way round; but there the safe prompt has to reach everywhere."""
    positive, safe, negative = prompts
    masked = [[positive[0][0], {**positive[0][1], "mask": torch.ones(1, 64, 64), "mask_strength": 0.5}]]
    prepared = []
    process_conds = comfy.samplers.process_conds

    def spy(model, noise, conds, *args, **kwargs):
        prepared.append(len(conds))
        return process_conds(model, noise, conds, *args, **kwargs)

    monkeypatch.setattr(comfy.samplers, "process_conds", spy)
    stage = {"end_at_step": 6, "return_with_leftover_noise": "enable"}
    plain = stock_advanced(eps, masked, negative, latent(), **stage)
    schedule = pack.schedule(context=0.6)
    ours = pack.advanced(eps, masked, safe, negative, latent(), safety=1.0, schedule=schedule, **stage)
    assert torch.equal(ours, plain) and prepared == [2, 2]


def test_closed_gate_hands_no_safe_prompt_to_the_host(pack, eps, prompts, monkeypatch):
    positive, safe, negative = prompts
    prepared = []
    process_conds = comfy.samplers.process_conds

    def spy(model, noise, conds, *args, **kwargs):
        prepared.append(sum(len(entries) for entries in conds.values()))
        return process_conds(model, noise, conds, *args, **kwargs)

    monkeypatch.setattr(comfy.samplers, "process_conds", spy)
    pack.ksampler(eps, positive, safe, negative, latent(), safety=1.0, risk=0.1)
    pack.custom(eps, positive, safe, negative, latent(), safety=1.0, risk=0.1)
    assert prepared == [2, 2]


def test_the_same_inputs_give_something_else_between_the_ends(pack, eps, prompts):
    """What the identities above are worth: with a weight in between the picture is neither of the two."""
    positive, safe, negative = prompts
    ours = pack.ksampler(eps, positive, safe, negative, latent(), safety=0.5, schedule=pack.schedule())
    for text in (positive, safe):
        plain = stock(eps, text, negative, latent())
        assert (ours - plain).std() > 0.01 * plain.std()


class Cancelled(Exception):
    """Stands for the host's interruption, which also comes out of the middle of a step."""


@contextlib.contextmanager
def cancel_at(model, call):
    """Lets the model's `call`-th evaluation raise."""
    network, forward, count = model.model.diffusion_model, model.model.diffusion_model.forward, [0]

    def failing(*args, **kwargs):
        count[0] += 1
        if count[0] == call:
            raise Cancelled
        return forward(*args, **kwargs)

    network.forward = failing
    try:
        with pytest.raises(Cancelled):
            yield
    finally:
        network.forward = forward


def cases(pack):
    """Every way to sample with the pack, by name."""
    ways = {
        "ksampler": pack.ksampler,
        "custom": pack.custom,
        "separate": lambda *args, **settings: pack.ksampler(*args, **settings, merge="separate"),
    }
    if "SafelightModelPatch" in pack.nodes:
        ways["patched"] = pack.patched
    return ways


@pytest.mark.parametrize("call", [1, 3, 6])
def test_a_run_after_a_cancelled_one_is_undisturbed(pack, eps, prompts, call):
    for name, sample in cases(pack).items():
        undisturbed = sample(eps, *prompts, latent(), safety=0.5)
        with cancel_at(eps, call):
            sample(eps, *prompts, latent(), safety=0.5)
        again = sample(eps, *prompts, latent(), safety=0.5)
        assert torch.equal(again, undisturbed), name
        assert torch.equal(
            stock(eps, prompts[0], prompts[2], latent()), pack.ksampler(eps, *prompts, latent(), safety=0.0)
        ), name


def reusable(pack, model, prompts):
    """What the host's cache hands to one run after the other: a guider, and on newer hosts a patched MODEL."""
    positive, safe, negative = prompts
    between, full = pack.schedule(((0.0, 0.2), (1.0, 1.0)), context=0.3), pack.schedule()
    for safety, schedule in ((0.5, between), (1.0, full)):
        guider = call(
            pack.nodes["SafelightGuider"],
            model=model,
            positive=positive,
            safe=safe,
            negative=negative,
            cfg=5.0,
            safety=safety,
            schedule=schedule,
        )[0]
        yield (
            f"guider at {safety}",
            lambda guider=guider, **settings: custom_sample(
                guider, sigmas_of(model, **settings), latent(), {**SETTINGS, **settings}
            ),
        )
        if "SafelightModelPatch" in pack.nodes:
            patched = pack.patch(model, safe, safety=safety, schedule=schedule)
            yield (
                f"patched at {safety}",
                lambda patched=patched, **settings: stock(patched, positive, negative, latent(), **settings),
            )


def test_a_cached_guider_or_model_starts_every_run_anew(pack, eps, prompts):
    """After a run with other settings, and after a cancelled one."""
    for name, sample in reusable(pack, eps, prompts):
        first = sample()
        sample(steps=3, scheduler="karras", sampler_name="heun")
        assert torch.equal(sample(), first), name
        with cancel_at(eps, 4):
            sample(seed=9)
        assert torch.equal(sample(), first), name


def frozen(value):
    """A deep copy of a conditioning or latent, in which tensors compare by bits."""
    return copy.deepcopy(value)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_inputs_are_never_changed_in_place(pack, eps):
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1.0
    positive = conditioning(1, mask=mask, mask_strength=0.8, start_percent=0.0, end_percent=0.9)
    safe = conditioning(2, tokens=154)
    negative = conditioning(3)
    latent_image = {**latent(batch=2, seed=5), "noise_mask": mask.clone(), "batch_index": [0, 1]}
    own_mask = mask.clone()
    inputs = (positive, safe, negative, latent_image, own_mask)
    before = frozen(inputs)
    options = copy.deepcopy(eps.model_options)
    for sample in cases(pack).values():
        sample(eps, positive, safe, negative, latent_image, safety=0.5, mask=own_mask)
        assert equal(inputs, before)
    assert eps.model_options == options


def test_nothing_is_kept_between_runs(pack, eps):
    """After a run, neither the pack nor the model holds on to a conditioning, a latent or a noise."""
    for name, sample in cases(pack).items():
        prompts = conditioning(1), conditioning(2), conditioning(3)
        latent_image = latent(seed=4)
        kept = [weakref.ref(entry[0][0]) for entry in prompts] + [weakref.ref(latent_image["samples"])]
        kept.append(weakref.ref(sample(eps, *prompts, latent_image, safety=0.5)))
        del prompts, latent_image
        comfy.model_management.cleanup_models()
        gc.collect()
        assert [reference() for reference in kept] == [None] * 5, name
