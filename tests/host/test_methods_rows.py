"""What the methods to compare with ask of the model, and that the picture is what their equations say."""

from __future__ import annotations

import pytest
import torch
from host import base_nodes, call, count_rows, extra, has_wrappers, require, stock
from methods import ALL, NAMES, PRESETS, SETTINGS, Method, differs, encoder, every, run_guider
from tiny_models import conditioning, latent, sd3_model

PRESET_NUMBERS = {"weak": (20.0, 0.0), "medium": (1000.0, 0.01), "strong": (2000.0, 0.025), "max": (5000.0, 1.0)}


@pytest.fixture(params=NAMES)
def method(request, pack):
    return Method(pack, request.param)


# --- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
def test_one_batched_call_of_written_negative_and_unsafe(eps, prompts, method, batch):
    positive, _, negative = prompts
    for way, sample in method.ways().items():
        with count_rows(eps) as seen:
            sample(eps, positive, negative, latent(batch=batch))
        assert seen.rows == [batch * method.rows] * 6, way


@pytest.mark.parametrize("name", ["CASG", "CRG"])
def test_rows_are_two_and_one_for_each_category(pack, eps, prompts, name):
    for count in (1, 2, 7):
        lines = "\n".join(f"unsafe thing {i}" for i in range(count))
        with count_rows(eps) as seen:
            Method(pack, name).by_guider(eps, prompts[0], prompts[2], latent(), categories=f"{lines}\n\n", steps=2)
        assert seen.rows == [2 + count] * 2


def test_unsafe_texts_longer_than_the_prompt_are_batched_too(eps, prompts, method):
    long = ", ".join(f"thing number {i}" for i in range(40))
    by_line = method.texts_called == "categories"
    texts = f"{long}\nshort" if by_line else long
    with count_rows(eps) as seen:
        ours = method.holds(eps, prompts[0], prompts[2], latent(), **{method.texts_called: texts})
    assert set(seen.rows) == {2, 4 if by_line else 3}
    assert differs(ours, method.by_guider(eps, prompts[0], prompts[2], latent()))


def test_the_warm_up_costs_rows_only_where_the_momentum_needs_them(pack, eps, prompts):
    """weak acts from progress .30 on, medium from .20: of 12 steps of equal share, the 5th and the 4th."""
    sld = Method(pack, "SLD")
    for way, sample in sld.ways().items():
        with count_rows(eps) as seen:
            sample(eps, prompts[0], prompts[2], latent(), preset="weak", steps=12)
        assert seen.rows == [2] * 4 + [3] * 8, way
        with count_rows(eps) as seen:
            sample(eps, prompts[0], prompts[2], latent(), preset="medium", steps=12)
        assert seen.rows == [3] * 12, way


def test_the_trace_tells_where_the_method_acted(pack, eps, prompts, method):
    settings = {"preset": "medium"} if method.has_preset else {}
    guider, trace = method.guider(eps, prompts[0], prompts[2], strength=0.6, **settings)
    run_guider(guider, eps, latent(), steps=12)
    acts = [call.progress >= (0.2 if method.has_preset else 0.0) for call in trace.calls]
    assert len(acts) == 12 and acts.count(False) == (3 if method.has_preset else 0)
    assert [call.weight for call in trace.calls] == [0.6 if acting else 0.0 for acting in acts]
    assert [bool(call.sizes) for call in trace.calls] == acts


def test_cfg_one_needs_a_row_for_the_negative_as_well(eps, prompts, method):
    """e_0 is in the equations. At strength 0 the row is saved, as in a stock run."""
    with count_rows(eps) as seen:
        method.holds(eps, prompts[0], prompts[2], latent(), cfg=1.0)
    assert set(seen.rows) == {1, method.rows}


def test_a_guider_without_a_negative_gets_the_empty_text_in_its_place(pack, eps, prompts):
    require(has_wrappers(), "model wrappers")
    custom = extra("nodes_custom_sampler")
    for method in every(pack, NAMES):
        basic = call(custom.BasicGuider, model=method.patch(eps)[0], conditioning=prompts[0])[0]
        with count_rows(eps) as seen:
            ours = run_guider(basic, eps, latent())
        assert seen.rows == [method.rows] * 6
        assert torch.equal(ours, method.by_patch(eps, prompts[0], encoded(""), latent(), cfg=1.0)), method


# --- equations -----------------------------------------------------------------------------------------------------


def encoded(text):
    """The CONDITIONING of a text, by the host's node."""
    return call(base_nodes.CLIPTextEncode, clip=encoder(), text=text)[0]


def first_call(model, prompts, latent_image):
    """x and sigma of a run's first call."""
    seen, spied = [], model.clone()
    spied.set_model_sampler_post_cfg_function(lambda args: seen.append(args) or args["denoised"])
    stock(spied, prompts[0], prompts[2], latent_image, steps=1)
    return seen[0]["input"].double(), float(seen[0]["sigma"][0])


def direction_by_hand(method, e_0, e_p, noises, preset):
    """gamma without momentum, from the papers' equations."""
    if method.name == "TraSCE":
        return noises[0] - e_0
    if method.name == "CRG":
        shares = [((e - e_0) * (e_p - e_0)).flatten(1).sum(1) / (e - e_0).flatten(1).square().sum(1) for e in noises]
        present, chosen = torch.stack(shares).max(0)
        direction = torch.stack([noises[int(k)][i] for i, k in enumerate(chosen)]) - e_0
        return 2 * present.clamp(min=0).reshape(-1, 1, 1, 1) * direction
    e_s = noises[0]
    if method.name == "CASG":
        scores = torch.stack(
            [((e - e_0) * (e_p - e_0)).flatten(1).sum(1) / (e - e_0).flatten(1).norm(dim=1) for e in noises]
        )
        e_s = torch.stack([noises[int(k)][i] for i, k in enumerate(scores.argmax(0))])
    scale, threshold = PRESET_NUMBERS[preset]
    difference = e_p - e_s
    weight = (scale * difference.abs()).clamp(max=1.0)
    return (e_s - e_0) * torch.where(difference >= threshold, 0.0, weight)


@pytest.mark.parametrize("kind", ["noise", "flow"])
def test_one_step_is_what_the_equations_say(eps, prompts, method, kind):
    """One step of euler ends in the guided prediction, so the branches' own predictions are stock runs at cfg 1.

    In a flow model the same quotient (x - D) / sigma is the velocity. Several samples, each for itself.
    """
    positive, _, negative = prompts
    model, channels = (eps, 4) if kind == "noise" else (sd3_model(), 16)
    picture = latent(channels, batch=3)
    x, sigma = first_call(model, prompts, picture)
    texts = [line for line in SETTINGS[method.name][method.texts_called].splitlines() if line]
    inside = model.model.process_latent_in  # from a latent between nodes to what the model sees
    p, zero, *others = (
        inside(stock(model, text, negative, picture, steps=1, cfg=1.0)).double()
        for text in (positive, negative, *map(encoded, texts))
    )
    for preset in PRESETS if method.has_preset else ("",):
        settings = {"steps": 1, **({"preset": preset} if preset else {})}
        gamma = direction_by_hand(
            method, *((x - d) / sigma for d in (zero, p)), [(x - d) / sigma for d in others], preset
        )
        for scale, strength in ((4.0, 0.7), (1.0, 1.0), (1.0, 2.5)):
            ours = inside(
                method.by_guider(model, positive, negative, picture, cfg=scale, strength=strength, **settings)
            ).double()
            steered = p + sigma * strength * gamma
            assert not differs(ours, zero + scale * (steered - zero), by=1e-4), (preset, scale, strength)
            assert differs(ours, zero + scale * (p - zero), by=1e-2), (preset, scale, strength)


@pytest.mark.parametrize("sampler_name", ["euler", "heun", "dpm_2", "dpmpp_2m"])
@pytest.mark.parametrize("name", ["SLD", "CASG"])
def test_momentum_moves_on_once_a_step_of_the_schedule(pack, eps, prompts, name, sampler_name, monkeypatch):
    """Also with samplers that call the model twice a step; during the warm-up too; from nothing in every run."""
    sld, calls = Method(pack, "SLD").direction_class(), []
    direction = sld.direction

    def spy(self, e_0, e_p, noises, step):
        gamma = direction(self, e_0, e_p, noises, step)
        calls.append((step, e_0, e_p, noises[0], gamma))
        return gamma

    monkeypatch.setattr(sld, "direction", spy)
    method, steps = Method(pack, name), 6
    guider = method.guider(eps, prompts[0], prompts[2], preset="medium")[0]
    for _ in range(2):
        calls.clear()
        run_guider(guider, eps, latent(), steps=steps, sampler_name=sampler_name)
        assert [step for step, *_ in calls] == sorted(step for step, *_ in calls)
        assert {step for step, *_ in calls} == set(range(steps)), "every step of the schedule has its first call"
        assert (len(calls) > steps) == (sampler_name in ("heun", "dpm_2"))
        nu, following, last = torch.zeros_like(calls[0][1]), None, -1
        for step, e_0, e_p, e_s, gamma in calls:
            first = step > last
            nu, last = (following if first and following is not None else nu), max(step, last)
            difference = e_p - e_s
            expected = (e_s - e_0) * torch.where(difference >= 0.01, 0.0, (1000.0 * difference.abs()).clamp(max=1.0))
            expected = expected + 0.3 * nu
            if first:
                following = 0.4 * nu + 0.6 * expected
            assert not differs(gamma, expected, by=1e-5), step


# --- short runs ----------------------------------------------------------------------------------------------------


RUNS = [
    (1, "euler"),
    (2, "euler"),
    (4, "euler"),
    (1, "dpmpp_2m"),
    (4, "lcm"),
    (4, "dpm_2"),
    (1, "heun"),
    (3, "uni_pc"),
    (4, "dpm_fast"),
]


@pytest.mark.parametrize(("steps", "sampler_name"), RUNS)
def test_short_runs_are_guided(pack, eps, prompts, steps, sampler_name):
    """With the preset whose warm-up is longest: it is lowered to where the run still acts."""
    positive, _, negative = prompts
    for scheduler in ("normal", "karras"):
        sampling = {"steps": steps, "sampler_name": sampler_name, "scheduler": scheduler}
        plain = stock(eps, positive, negative, latent(), **sampling)
        for name in ALL:
            method = Method(pack, name)
            settings = {"preset": "weak"} if method.has_preset else {}
            ours = method.by_guider(eps, positive, negative, latent(), **sampling, **settings)
            assert torch.isfinite(ours).all()
            assert differs(ours, plain), f"unguided: {name}, {scheduler}"


def test_a_late_start_is_guided_from_its_first_step_on(pack, eps, prompts):
    """Image-to-image behind the warm-up's end."""
    with count_rows(eps) as seen:
        Method(pack, "SLD").by_guider(eps, prompts[0], prompts[2], latent(seed=3), denoise=0.5, preset="weak")
    assert seen.rows == [3] * 6


def test_an_unsafe_text_that_is_the_prompt_falls_back_to_no_prompt_under_trasce(pack, eps):
    """e_0 + s (e_p - e_neg) with e_p = e_neg: the negative prompt's own picture at cfg 1, whatever the scale."""
    same, negative = encoded(SETTINGS["TraSCE"]["concept"]), conditioning(13)
    ours = Method(pack, "TraSCE").by_guider(eps, same, negative, latent(), cfg=9.0)
    assert not differs(ours, stock(eps, negative, negative, latent(), cfg=1.0), by=1e-4)
