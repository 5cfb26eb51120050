"""The methods to compare with: stock where they are off, the same by every way, and nothing left behind by a run."""

from __future__ import annotations

import copy
import gc
import weakref

import comfy.model_management
import comfy.samplers
import methods
import pytest
import torch
from host import SAMPLERS, base_nodes, call, count_rows, extra, has_wrappers, require, sigmas_of, stock
from methods import ALL, NAMES, PRESETS, Method, differs, every
from test_identity import cancel_at, equal, frozen
from tiny_models import conditioning, controlnet, latent

NAMED = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "dpm_2", "heun", "uni_pc", "lcm"]
OTHERS = [name for name in ("ddim", "dpmpp_3m_sde", "lms", "ddpm") if name in SAMPLERS]


@pytest.fixture(params=ALL)
def method(request, pack):
    return Method(pack, request.param)


@pytest.fixture(params=NAMES)
def noise_method(request, pack):
    return Method(pack, request.param)


# --- off ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler_name", NAMED + OTHERS)
def test_strength_zero_is_the_stock_ksampler(pack, eps, prompts, sampler_name):
    """Bits and rows, by every way to sample; in between, the strength makes another picture of it."""
    (positive, _, negative), settings = prompts, {"sampler_name": sampler_name, "steps": 4}
    with count_rows(eps) as stock_rows:
        plain = stock(eps, positive, negative, latent(batch=2), **settings)
    for name in ALL:
        for way, sample in Method(pack, name).ways().items():
            with count_rows(eps) as own_rows:
                off = sample(eps, positive, negative, latent(batch=2), strength=0.0, **settings)
            assert torch.equal(off, plain), (name, way)
            assert own_rows == stock_rows, (name, way)
    full, half = (
        Method(pack, "SLD").by_guider(eps, positive, negative, latent(batch=2), strength=s, **settings)
        for s in (1.0, 0.5)
    )
    assert differs(full, plain) and differs(half, plain) and differs(half, full)


def test_strength_zero_gives_the_hosts_own_guider_and_the_very_model(eps, prompts, method):
    """And asks nothing of the other inputs: a broken text encoder cannot spoil a run that does not use it."""
    off = {"strength": 0.0, "clip": None, method.texts_called: ""}
    guider, trace = method.guider(eps, prompts[0], prompts[2], **off)
    assert type(guider) is comfy.samplers.CFGGuider
    assert trace.calls == []
    if has_wrappers():
        assert method.patch(eps, **off)[0] is eps


def sliced(method, way, model, prompts, start, end, noise, settings, latent_image=None, steps=10):
    """Steps start to end of a run, with the noise left over; `noise`: whether it starts from noise."""
    positive, _, negative = prompts
    module = extra("nodes_custom_sampler")
    guider = (
        method.guider(model, positive, negative, **settings)[0]
        if way == "guider"
        else call(
            module.CFGGuider,
            model=model if way == "stock" else method.patch(model, **settings)[0],
            positive=positive,
            negative=negative,
            cfg=5.0,
        )[0]
    )
    made = call(module.RandomNoise, noise_seed=7)[0] if noise else call(module.DisableNoise)[0]
    return call(
        module.SamplerCustomAdvanced,
        noise=made,
        guider=guider,
        sampler=call(module.KSamplerSelect, sampler_name=settings["sampler_name"])[0],
        sigmas=sigmas_of(model, steps=steps)[start : end + 1],
        latent_image=latent() if latent_image is None else {"samples": latent_image},
    )[0]["samples"]


@pytest.mark.parametrize("sampler_name", ["euler", "dpmpp_2m", "heun"])
def test_a_slice_that_ends_within_the_warm_up_is_the_stock_samplers(pack, eps, prompts, sampler_name):
    """The preset weak has no momentum, so its warm-up costs nothing; medium's needs its rows and changes no picture."""
    settings = {"sampler_name": sampler_name}
    sld = Method(pack, "SLD")
    with count_rows(eps) as stock_rows:
        plain = sliced(sld, "stock", eps, prompts, 0, 3, True, settings, steps=20)
    for way in sld.ways():
        with count_rows(eps) as weak_rows:
            weak = sliced(sld, way, eps, prompts, 0, 3, True, {**settings, "preset": "weak"}, steps=20)
        assert torch.equal(weak, plain), way
        assert weak_rows == stock_rows, way
        with count_rows(eps) as medium_rows:
            medium = sliced(sld, way, eps, prompts, 0, 3, True, {**settings, "preset": "medium"}, steps=20)
        assert not differs(medium, plain, by=1e-5), way
        assert medium_rows.rows == [3] * stock_rows.calls, way


# --- the same by every way -----------------------------------------------------------------------------------------


def same_by_both_ways(method, model, prompts, latent_image, **settings):
    require(has_wrappers(), "model wrappers")
    (positive, _, negative), settings = prompts, {"steps": 4, **settings}
    by_guider = method.by_guider(model, positive, negative, latent_image, **settings)
    assert torch.equal(method.by_patch(model, positive, negative, latent_image, **settings), by_guider), settings


@pytest.mark.parametrize("sampler_name", NAMED)
def test_method_patch_gives_the_guiders_latent(pack, eps, prompts, sampler_name):
    for method in every(pack):
        same_by_both_ways(method, eps, prompts, latent(batch=2), sampler_name=sampler_name)


def test_method_patch_gives_the_guiders_latent_for_settings(pack, eps, prompts):
    for method in every(pack):
        for settings in (
            {"strength": 0.3},
            {"cfg": 1.0},
            {"denoise": 0.6},
            {"steps": 1},
            {"steps": 4, "scheduler": "karras"},
        ):
            same_by_both_ways(method, eps, prompts, latent(seed=9), **settings)
        for preset in PRESETS if method.has_preset else ():
            same_by_both_ways(method, eps, prompts, latent(seed=9), preset=preset)


def test_method_patch_gives_the_guiders_latent_for_prompts(pack, eps, prompts):
    """Areas, a masked prompt, a timestep range, a ControlNet; an inpaint mask; a prompt in two entries."""
    positive, safe, negative = prompts
    halves = {"area": (16, 8, 0, 0), "strength": 1.0}, {"area": (16, 8, 0, 8), "strength": 0.8}
    mask = torch.rand(1, 128, 128, generator=torch.Generator().manual_seed(3)).round()
    hint = torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(2))
    dressed = {
        "areas": [[positive[0][0], {**positive[0][1], **half}] for half in halves],
        "masked": [[positive[0][0], {**positive[0][1], "mask": mask, "mask_strength": 0.9}]],
        "timestep range": call(base_nodes.ConditioningSetTimestepRange, conditioning=positive, start=0.0, end=0.7)[0],
        "controlnet": call(
            base_nodes.ControlNetApply, conditioning=positive, control_net=controlnet(), image=hint, strength=0.9
        )[0],
        "two entries": positive + safe,
    }
    for method in every(pack):
        for written in dressed.values():
            same_by_both_ways(method, eps, (written, safe, negative), latent(size=16, seed=4), steps=3)
        same_by_both_ways(method, eps, prompts, {**latent(size=16, seed=4), "noise_mask": mask}, steps=3)


@pytest.mark.parametrize("sampler_name", ["euler", "heun"])
def test_a_run_cut_in_two_is_the_run_in_one(pack, eps, prompts, sampler_name):
    """For what has no memory. The momentum of Safe Latent Diffusion's other presets starts anew with each run, since
    nothing is kept between runs: cut in two, those give another picture."""
    for name, settings in (("TraSCE", {}), ("SLD", {"preset": "weak"})):
        method, settings = Method(pack, name), {"sampler_name": sampler_name, **settings}
        for way in method.ways():
            whole = sliced(method, way, eps, prompts, 0, 10, True, settings)
            half = sliced(method, way, eps, prompts, 0, 4, True, settings)
            cut = sliced(method, way, eps, prompts, 4, 10, False, settings, half)
            assert torch.equal(cut, whole), (name, way)
            assert differs(whole, sliced(method, "stock", eps, prompts, 0, 10, True, settings)), (name, way)


# --- one run after the other ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluation", [1, 4])
def test_a_run_after_a_cancelled_one_is_undisturbed(eps, prompts, method, evaluation):
    positive, _, negative = prompts
    plain = stock(eps, positive, negative, latent())
    for way, sample in method.ways().items():
        undisturbed = sample(eps, positive, negative, latent())
        with cancel_at(eps, evaluation):
            sample(eps, positive, negative, latent())
        assert torch.equal(sample(eps, positive, negative, latent()), undisturbed), way
        assert torch.equal(stock(eps, positive, negative, latent()), plain), way


def test_a_cached_guider_or_model_starts_every_run_anew(eps, prompts, method):
    """After a run with other settings, and after a cancelled one: above all, the momentum starts from nothing."""
    positive, _, negative = prompts
    guider = method.guider(eps, positive, negative)[0]
    ways = {"guider": lambda **settings: methods.run_guider(guider, eps, latent(), **settings)}
    if has_wrappers():
        patched = method.patch(eps)[0]
        ways["patch"] = lambda **settings: stock(patched, positive, negative, latent(), **settings)
    for way, sample in ways.items():
        first = sample()
        sample(steps=3, scheduler="karras", sampler_name="heun")
        assert torch.equal(sample(), first), way
        with cancel_at(eps, 4):
            sample(seed=9)
        assert torch.equal(sample(), first), way


def test_inputs_are_never_changed_in_place(eps, method):
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1.0
    positive = conditioning(1, mask=mask, mask_strength=0.8, start_percent=0.0, end_percent=0.9)
    negative = conditioning(3)
    latent_image = {**latent(batch=2, seed=5), "noise_mask": mask.clone(), "batch_index": [0, 1]}
    inputs = (positive, negative, latent_image)
    before, options = frozen(inputs), copy.deepcopy(eps.model_options)
    for way, sample in method.ways().items():
        sample(eps, positive, negative, latent_image)
        assert equal(inputs, before), way
        assert eps.model_options == options, way


def test_the_samplers_latent_is_never_changed_in_place(eps, prompts, method):
    """A sampler goes on from the very tensor that it asked about."""
    guider, _ = method.guider(eps, prompts[0], prompts[2])
    predict, seen = guider.predict_noise, []

    def spy(x, *args, **kwargs):
        before = x.clone()
        out = predict(x, *args, **kwargs)
        seen.append(torch.equal(x, before))
        return out

    guider.predict_noise = spy
    methods.run_guider(guider, eps, latent())
    assert seen == [True] * 6


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in (*parts, *getattr(value, "__dict__", {}).values()) for tensor in tensors_in(part)]


def test_nothing_is_kept_between_runs(eps, method):
    """After a run nothing holds on to a conditioning, a latent or a noise; a trace keeps its own numbers alone."""
    for way in method.ways():
        positive, negative, latent_image = conditioning(1), conditioning(3), latent(seed=4)
        if way == "guider":
            guider, trace = method.guider(eps, positive, negative)
            out = methods.run_guider(guider, eps, latent_image)
            del guider  # as the stock one, it holds its conditionings
        else:
            model, trace = method.patch(eps)
            out = stock(model, positive, negative, latent_image)  # the model stays
        kept = [weakref.ref(entry[0][0]) for entry in (positive, negative)]
        kept += [weakref.ref(latent_image["samples"]), weakref.ref(out)]
        del positive, negative, latent_image, out
        comfy.model_management.cleanup_models()
        gc.collect()
        assert [reference() for reference in kept] == [None] * 4, way
        assert [tuple(tensor.shape) for tensor in tensors_in(trace)] == [(1, 8, 8)], "one number for each cell"
        assert len(trace.calls) == 6


def test_a_cached_guider_holds_no_run(eps, prompts, noise_method):
    """Neither its momentum nor the latents of the last run."""
    guider = noise_method.guider(eps, prompts[0], prompts[2])[0]
    alive = []
    direction = noise_method.direction_class().direction

    def spy(self, noise_0, *args):
        alive.extend([weakref.ref(self), weakref.ref(noise_0)])
        return direction(self, noise_0, *args)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(noise_method.direction_class(), "direction", spy)
        methods.run_guider(guider, eps, latent())
    gc.collect()
    assert len(alive) == 12 and not any(reference() for reference in alive)
