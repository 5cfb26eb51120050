"""Fail closed: a clear error that names the input, or full guidance; never a silently unguarded picture."""

from __future__ import annotations

import math

import pytest
import torch
from host import call, count_rows, extra, has_wrappers, require, sigmas_of, stock
from safelight_pack import custom_sample
from tiny_models import CONTEXT, conditioning, latent

from safelight.guidance.schedule import PRESETS, WeightSchedule


def refused(name, sample, *args, **settings):
    """The error's text, after checking that it starts with the input's name and says more than that."""
    with pytest.raises(ValueError) as caught:
        sample(*args, **settings)
    text = str(caught.value)
    assert text.lower().startswith(name), text
    assert len(text.split()) >= 6, text
    return text


def routes(pack):
    """Every way in which an artist can sample with the pack on this host."""
    ways = {"ksampler": pack.ksampler, "advanced": pack.advanced, "custom": pack.custom}
    if "SafelightModelPatch" in pack.nodes:
        ways["patched"] = pack.patched
    return ways


def guided(pack, model, prompts, sample=None, expected_rows=None, **settings):
    """Samples, and checks that the safe prompt had its part: another picture than stock's."""
    positive, safe, negative = prompts
    sampling = {key: settings[key] for key in ("steps", "sampler_name", "scheduler", "cfg") if key in settings}
    plain = stock(model, positive, negative, latent(), **sampling)
    ours = (sample or pack.ksampler)(model, positive, safe, negative, latent(), **settings)
    assert torch.isfinite(ours).all()
    assert torch.linalg.norm(ours - plain) > 1e-3 * torch.linalg.norm(plain), "unguarded"
    return ours


RUNS = [(1, "euler"), (2, "euler"), (4, "euler"), (1, "dpmpp_2m"), (4, "lcm"), (4, "dpm_2"), (1, "heun"), (3, "uni_pc")]


@pytest.mark.parametrize(("steps", "sampler_name"), RUNS)
@pytest.mark.parametrize("scheduler", ["normal", "karras", "simple"])
def test_short_runs_are_guided(pack, eps, prompts, steps, sampler_name, scheduler):
    """With the presets that begin latest and lowest, and with a context that lies behind the run's last step."""
    positive, safe, negative = prompts
    plain = stock(eps, positive, negative, latent(), steps=steps, sampler_name=sampler_name, scheduler=scheduler)
    schedules = {name: PRESETS[name] for name in ("gentle", "ramp up", "bell")}
    for name, schedule in {**schedules, "late": pack.schedule(context=1.0)}.items():
        ours, report = pack.reported(
            eps,
            positive,
            safe,
            negative,
            latent(),
            steps=steps,
            sampler_name=sampler_name,
            scheduler=scheduler,
            safety=1.0,
            schedule=schedule,
        )
        assert torch.linalg.norm(ours - plain) > 1e-3 * torch.linalg.norm(plain), f"unguarded with {name}"
        if name == "late":
            assert "context" in str(report).lower() and report["notes"], "the node has to say that it lowered context"


def test_the_last_quarter_is_guarded_by_every_route(pack, eps, prompts):
    for name, sample in routes(pack).items():
        with count_rows(eps) as seen:
            sample(eps, *prompts, latent(), steps=8, safety=0.5, schedule=pack.schedule(context=1.0))
        assert seen.rows[:4] == [2] * 4 and seen.rows[-2:] == [3] * 2, name


def test_a_late_start_is_guarded_on_the_steps_axis_too(pack, eps, prompts):
    with count_rows(eps) as seen:
        pack.ksampler(eps, *prompts, latent(), steps=8, safety=0.5, schedule=pack.schedule(context=1.0, axis="steps"))
    assert seen.rows[:4] == [2] * 4 and seen.rows[-2:] == [3] * 2


@pytest.mark.parametrize(
    "bad",
    [
        {"points": []},
        {"points": [[0, 0], [1, 0]]},
        {"points": [[0, math.nan], [1, 1]]},
        {"nothing": 1},
        [],
        "{",
        3.5,
        [[0, 0.5]],
        {"points": [[0, 2.0], [1, 1]]},
        {"points": [[0, 1], [1, 1]], "interpolation": "spline"},
    ],
    ids=str,
)
def test_schedule_that_cannot_be_read(pack, eps, prompts, bad):
    for sample in routes(pack).values():
        refused("schedule", sample, eps, *prompts, latent(), schedule=bad)


@pytest.mark.parametrize("points", [[[0, 0], [1, 0]], [[0, 1], [0.3, 0], [1, 0]]], ids=str)
def test_all_zero_curve_in_the_schedule_node(pack, points):
    """Zero everywhere, or from context on."""
    node = pack.nodes["SafelightWeightSchedule"]
    curve = {"points": points, "interpolation": "linear"}
    refused("curve", call, node, preset="custom", context=0.3, axis="noise level", curve=curve)


def test_curve_that_is_zero_at_each_step_of_the_run(pack, eps, prompts):
    """A narrow peak between the steps: an error, or guidance at a step; never neither."""
    peak = pack.schedule(((0.0, 0.0), (0.49, 0.0), (0.495, 1.0), (0.5, 0.0), (1.0, 0.0)))
    for name, sample in routes(pack).items():
        with pytest.raises(ValueError, match="curve"):
            sample(eps, *prompts, latent(), steps=4, safety=1.0, schedule=peak)
            pytest.fail(f"{name} gave a picture")


@pytest.mark.parametrize("risk", [math.nan, math.inf, -math.inf, None, "high", 2.0, -1.0], ids=str)
def test_risk_that_is_no_risk_counts_as_one(pack, eps, prompts, risk):
    for sample in routes(pack).values():
        full = sample(eps, *prompts, latent(), safety=0.5, risk=1.0)
        assert torch.equal(sample(eps, *prompts, latent(), safety=0.5, risk=risk), full)


def test_unlinked_risk_counts_as_one(pack, eps, prompts):
    for sample in routes(pack).values():
        full = sample(eps, *prompts, latent(), safety=0.5, risk=1.0, gate=0.9)
        assert torch.equal(sample(eps, *prompts, latent(), safety=0.5, gate=0.9), full)


def test_gate_closes_below_and_not_at_the_risk(pack, eps, prompts):
    guided(pack, eps, prompts, safety=0.5, risk=0.5, gate=0.5)
    guided(pack, eps, prompts, safety=0.5, risk=0.0, gate=0.0)


@pytest.mark.parametrize("name", ["safety", "gate"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.5, None], ids=str)
def test_slider_values_that_are_none(pack, eps, prompts, name, bad):
    for sample in routes(pack).values():
        refused(name, sample, eps, *prompts, latent(), **{name: bad})


@pytest.mark.parametrize("safe", [[], None], ids=str)
def test_missing_safe_conditioning(pack, eps, prompts, safe):
    for sample in routes(pack).values():
        refused("safe", sample, eps, prompts[0], safe, prompts[2], latent())


def test_safe_conditioning_of_nans(pack, eps, prompts):
    poisoned = conditioning(12)
    poisoned[0][0][0, 3, 1] = math.nan
    for sample in routes(pack).values():
        refused("safe", sample, eps, prompts[0], poisoned, prompts[2], latent())


def test_safe_conditioning_of_another_encoder(pack, eps, prompts):
    other = [[torch.randn(1, 77, CONTEXT * 2), dict(prompts[1][0][1])]]
    for name, sample in routes(pack).items():
        with pytest.raises((ValueError, RuntimeError)):
            sample(eps, prompts[0], other, prompts[2], latent())
            pytest.fail(f"{name} gave a picture")


def test_safe_conditioning_that_is_never_active(pack, eps, prompts):
    """A timestep range that leaves out every guarded step."""
    early = [[prompts[1][0][0], {**prompts[1][0][1], "start_percent": 0.0, "end_percent": 0.1}]]
    schedule = pack.schedule(context=0.5)
    for name, sample in routes(pack).items():
        with pytest.raises(ValueError, match="safe"):
            sample(eps, prompts[0], early, prompts[2], latent(), schedule=schedule)
            pytest.fail(f"{name} gave a picture")


def test_a_safe_prompt_that_begins_where_the_run_ends_is_refused_before_the_first_call(pack, eps, prompts):
    """At the last noise level, 0, the model is not called any more."""
    late = [[prompts[1][0][0], {**prompts[1][0][1], "start_percent": 1.0, "end_percent": 1.0}]]
    for name, sample in routes(pack).items():
        with count_rows(eps) as seen, pytest.raises(ValueError, match="^safe: "):
            sample(eps, prompts[0], late, prompts[2], latent(), schedule=pack.schedule())
        assert seen.calls == 0, name


@pytest.mark.parametrize(
    "mask",
    [torch.zeros(1, 64, 64), torch.full((1, 64, 64), math.nan), torch.zeros(0, 64, 64), "left"],
    ids=["empty", "NaN", "no mask in it", "text"],
)
def test_mask_that_guards_nothing_or_is_none(pack, eps, prompts, mask):
    for sample in routes(pack).values():
        refused("mask", sample, eps, *prompts, latent(), mask=mask)


def test_weights_of_nan_never_reach_the_picture(pack, eps, prompts, monkeypatch):
    """A schedule whose curve breaks in the middle of a run."""
    schedule_class = WeightSchedule
    curve = schedule_class.curve
    monkeypatch.setattr(schedule_class, "curve", lambda self, p: math.nan if p > 0.5 else curve(self, p))
    for name, sample in routes(pack).items():
        with pytest.raises(ValueError):
            sample(eps, *prompts, latent(), schedule=pack.schedule())
            pytest.fail(f"{name} gave a picture")


def test_unknown_merge_and_merge_at(pack, eps, prompts):
    refused("merge", pack.ksampler, eps, *prompts, latent(), merge="sometimes")
    refused("merge_at", pack.ksampler, eps, *prompts, latent(), merge="separate", merge_at=math.nan)
    refused(
        "merge_at",
        pack.ksampler,
        eps,
        *prompts,
        latent(),
        merge="separate",
        merge_at=0.1,
        schedule=pack.schedule(context=0.3),
    )


def test_safety_zero_asks_nothing_of_the_other_inputs(pack, eps, prompts):
    """Off is off: a broken safe prompt cannot spoil a run that does not use it."""
    plain = stock(eps, prompts[0], prompts[2], latent())
    for sample in (pack.ksampler, pack.custom):
        assert torch.equal(sample(eps, prompts[0], conditioning(12, tokens=7), prompts[2], latent(), safety=0.0), plain)


# --- the model patch ---------------------------------------------------------------------------------------------


def guiders_of_the_host(model, prompts):
    """Guiders whose predict_noise is their own, by class name."""
    custom, perpneg = extra("nodes_custom_sampler"), extra("nodes_perpneg")
    positive, _, negative = prompts
    return [
        call(
            custom.DualCFGGuider,
            model=model,
            cond1=positive,
            cond2=positive,
            negative=negative,
            cfg_conds=3.0,
            cfg_cond2_negative=2.0,
            style="regular",
        )[0],
        call(
            perpneg.PerpNegGuider,
            model=model,
            positive=positive,
            negative=negative,
            empty_conditioning=negative,
            cfg=4.0,
            neg_scale=1.0,
        )[0],
    ]


def test_model_patch_refuses_guiders_of_their_own_kind(pack, eps, prompts):
    from host import SETTINGS

    patched = pack.patch(eps, prompts[1])
    for guider in guiders_of_the_host(patched, prompts):
        with pytest.raises(ValueError, match=type(guider).__name__):
            custom_sample(guider, sigmas_of(eps), latent(), SETTINGS)


def test_model_patch_works_with_the_hosts_plain_guiders(pack, eps, prompts):
    """CFGGuider, and BasicGuider, which has no negative."""
    from host import SETTINGS

    patched = pack.patch(eps, prompts[1])
    custom = extra("nodes_custom_sampler")
    guider = call(custom.CFGGuider, model=patched, positive=prompts[0], negative=prompts[2], cfg=5.0)[0]
    by_guider = custom_sample(guider, sigmas_of(eps), latent(), SETTINGS)
    assert torch.equal(by_guider, pack.ksampler(eps, *prompts, latent()))
    basic = call(custom.BasicGuider, model=patched, conditioning=prompts[0])[0]
    with count_rows(eps) as seen:
        out = custom_sample(basic, sigmas_of(eps), latent(), SETTINGS)
    assert torch.isfinite(out).all()
    assert set(seen.rows) == {1, 2}


def test_model_patch_points_to_the_guider_for_prompt_hooks(pack, prompts):
    require(has_wrappers(), "conditioning hooks")
    import comfy.hooks
    from test_hosts_features import lora
    from tiny_models import unet_model

    model = unet_model()
    hooks = comfy.hooks.create_hook_lora(lora=lora(model), strength_model=1.0, strength_clip=0.0)
    hooked = [[prompts[1][0][0], {**prompts[1][0][1], "hooks": hooks}]]
    with pytest.raises(ValueError, match="SafelightGuider|Safelight Guider"):
        pack.patched(model, prompts[0], hooked, prompts[2], latent())


def test_model_patch_is_absent_where_it_cannot_work(pack):
    assert ("SafelightModelPatch" in pack.nodes) == has_wrappers()
