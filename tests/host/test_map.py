"""The trace of a run and its map: what they say, and that collecting them costs and keeps nothing."""

from __future__ import annotations

import gc
import json
import weakref

import comfy.model_base
import comfy.model_management
import pytest
import torch
from host import SETTINGS, call, count_rows, has_wrappers, require, sigmas_of, stock
from methods import NAMES, Method, run_guider
from safelight_pack import custom_sample
from test_identity import cancel_at
from tiny_models import conditioning, latent, video_model

SIZE = 64  # pixels of the tiny models' pictures


def ksampler(pack, model, positive, safe, negative, latent_image, **settings):
    """The latent and the trace of SafelightKSampler."""
    out = call(
        pack.nodes["SafelightKSampler"],
        model=model,
        positive=positive,
        safe=safe,
        negative=negative,
        latent_image=latent_image,
        **{**SETTINGS, "safety": 0.5, **settings},
    )
    return out[0]["samples"], out[2]


def guided(pack, model, positive, safe, negative, **settings):
    """A GUIDER and its trace."""
    return call(
        pack.nodes["SafelightGuider"],
        model=model,
        positive=positive,
        safe=safe,
        negative=negative,
        cfg=SETTINGS["cfg"],
        **{"safety": 0.5, **settings},
    )


def drawn(pack, trace, image):
    """map, strip, mask, note and the node's `ui`."""
    outcome = pack.nodes["SafelightMap"]().draw(trace, image)
    return *outcome["result"], outcome["ui"]


def same(a, b):
    return a.calls == b.calls and torch.equal(a.cells(), b.cells())


def by_every_way(pack, model, prompts, latent_image, **settings):
    """Name, latent and trace of every node that guides with the safe prompt."""
    sampling = {**SETTINGS, **{key: settings.pop(key) for key in SETTINGS if key in settings}}
    yield "ksampler", *ksampler(pack, model, *prompts, latent_image, **sampling, **settings)
    advanced = {key: sampling[key] for key in ("steps", "cfg", "sampler_name", "scheduler")}
    out = call(
        pack.nodes["SafelightKSamplerAdvanced"],
        model=model,
        positive=prompts[0],
        safe=prompts[1],
        negative=prompts[2],
        latent_image=latent_image,
        add_noise="enable",
        noise_seed=sampling["seed"],
        start_at_step=0,
        end_at_step=1000,
        return_with_leftover_noise="disable",
        **advanced,
        **{"safety": 0.5, **settings},
    )
    yield "advanced", out[0]["samples"], out[2]
    guider, trace = guided(pack, model, *prompts, **settings)
    yield "guider", custom_sample(guider, sigmas_of(model, **sampling), latent_image, sampling), trace
    if has_wrappers():
        patched, trace = call(
            pack.nodes["SafelightModelPatch"], model=model, safe=prompts[1], **{"safety": 0.5, **settings}
        )
        yield "patch", stock(patched, prompts[0], prompts[2], latent_image, **sampling), trace


def one_step_change(model, ours, plain):
    """In a run of one step the latent is the guided prediction: how much safety changed it, for each cell."""
    change = model.model.process_latent_in(ours) - model.model.process_latent_in(plain)
    return change.square().mean(dim=1).sqrt()


def test_the_map_is_the_change_of_the_guided_prediction(pack, eps, prompts):
    plain = stock(eps, prompts[0], prompts[2], latent(batch=2), steps=1)
    ways = by_every_way(pack, eps, prompts, latent(batch=2), steps=1, safety=0.3, schedule=pack.schedule())
    for name, ours, trace in ways:
        expected = one_step_change(eps, ours, plain)
        assert expected.max() > 1e-3
        assert torch.allclose(trace.cells(), expected, rtol=1e-3, atol=1e-4), name
        (noted,) = trace.calls
        assert noted.weight == 0.3 and noted.progress == 0.0, name
        assert noted.sizes == pytest.approx(expected.flatten(1).square().mean(dim=1).sqrt().tolist(), rel=1e-3), name


@pytest.mark.parametrize("name", NAMES)
def test_the_map_is_the_change_of_the_guided_prediction_by(pack, eps, prompts, name):
    method = Method(pack, name)
    plain = stock(eps, prompts[0], prompts[2], latent(), steps=1)
    guider, trace = method.guider(eps, prompts[0], prompts[2])
    expected = one_step_change(eps, run_guider(guider, eps, latent(), steps=1), plain)
    assert expected.max() > 1e-3
    assert torch.allclose(trace.cells(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("safety", [0.4, 1.0])
def test_every_way_to_guide_gives_the_same_trace(pack, eps, prompts, safety):
    traces = {name: trace for name, _, trace in by_every_way(pack, eps, prompts, latent(batch=2), safety=safety)}
    assert traces["ksampler"].cells() is not None
    for name, trace in traces.items():
        assert same(trace, traces["ksampler"]), name


def test_a_trace_costs_no_evaluation_of_the_model(pack, eps, prompts):
    """At full weight neither a row nor a bit: the host's own run of the written prompt, then of the safe one."""
    schedule = pack.schedule(context=0.4)
    with count_rows(eps) as rows:
        _, trace = ksampler(pack, eps, *prompts, latent(), safety=1.0, schedule=schedule)
    assert rows.rows == [2] * SETTINGS["steps"]
    assert len(trace.calls) == SETTINGS["steps"] and trace.estimated
    with count_rows(eps) as rows:
        _, trace = ksampler(pack, eps, *prompts, latent(), safety=0.5, schedule=schedule)
    assert rows.rows == [3 if noted.weight else 2 for noted in trace.calls]
    assert not trace.estimated


def test_only_the_first_call_of_the_safe_prompt_alone_is_estimated(pack, eps, prompts):
    _, trace = ksampler(pack, eps, *prompts, latent(), safety=1.0, schedule=pack.schedule(context=0.4))
    alone = [noted for noted in trace.calls if noted.weight]
    assert [noted.estimated for noted in alone] == [True] + [False] * (len(alone) - 1)
    assert [noted.sizes is None for noted in alone] == [False] + [True] * (len(alone) - 1)


def tensors(value, seen):
    """Every tensor that can be reached from an object of the pack."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value if isinstance(value, (list, tuple)) else vars(value).values() if hasattr(value, "__dict__") else ()
    return [found for item in inner for found in tensors(item, seen)]


def test_a_trace_keeps_nothing_of_the_run(pack, eps):
    """Neither a conditioning nor a latent, and no tensor with channels."""
    for name in ("ksampler", "guider", *(["patch"] if has_wrappers() else [])):
        for safety in (0.5, 1.0):
            prompts = conditioning(1), conditioning(2), conditioning(3)
            latent_image = latent(seed=4)
            kept = [weakref.ref(entry[0][0]) for entry in prompts] + [weakref.ref(latent_image["samples"])]
            ways = by_every_way(pack, eps, prompts, latent_image, safety=safety)
            ours, trace = next((found[1], found[2]) for found in ways if found[0] == name)
            kept.append(weakref.ref(ours))
            del ways, ours, prompts, latent_image
            comfy.model_management.cleanup_models()
            gc.collect()
            assert [reference() for reference in kept] == [None] * 5, name
            assert {tuple(tensor.shape) for tensor in tensors(trace, set())} == {(1, 8, 8)}, name


def test_a_cached_guider_traces_its_last_run(pack, eps, prompts):
    guider, trace = guided(pack, eps, *prompts, schedule=pack.schedule(context=0.6))

    def run(seed):
        custom_sample(guider, sigmas_of(eps), latent(), {**SETTINGS, "seed": seed})
        return list(trace.calls), trace.cells()

    first = run(7)
    other = run(8)
    assert len(first[0]) == len(other[0]) and not torch.equal(first[1], other[1])
    with cancel_at(eps, 3):  # before the context, while the written prompt's predictions are kept
        run(9)
    assert not [held for held in tensors(trace, set()) if held.ndim > 3], "a cancelled run leaves no prediction"
    again = run(7)
    assert again[0] == first[0] and torch.equal(again[1], first[1])


def test_the_node_draws_and_shows_the_map(pack, eps, prompts):
    _, trace = ksampler(pack, eps, *prompts, latent(batch=2), schedule=pack.schedule())
    image = torch.rand(2, SIZE, SIZE, 3)
    glowing, when, mask, note, ui = drawn(pack, trace, image)
    assert glowing.shape == image.shape and mask.shape == image.shape[:3] and when.shape[0] == 2
    assert glowing.min() >= 0.0 and glowing.max() <= 1.0
    assert [float(peak) for peak in mask.flatten(1).amax(dim=1)] == [1.0, 1.0]
    assert note == ""
    assert len(ui["images"]) == 2 and all(shown["type"] == "temp" for shown in ui["images"])


def test_frames_of_a_video_have_a_map_each(pack, prompts):
    """A video's decoder makes more frames than its latent has."""
    require(hasattr(comfy.model_base, "WAN21"), "Wan")
    _, trace = ksampler(pack, video_model(), *prompts, latent(16, frames=3), steps=2, schedule=pack.schedule())
    glowing, when, *_ = drawn(pack, trace, torch.rand(9, SIZE, SIZE, 3))
    assert glowing.shape == (9, SIZE, SIZE, 3) and when.shape[0] == 1


def test_with_a_plain_picture_the_page_gets_before_and_after(pack, eps, prompts):
    _, trace = ksampler(pack, eps, *prompts, latent(batch=2))
    image, before = torch.rand(2, 2, SIZE, SIZE, 3)
    node = pack.nodes["SafelightMap"]()
    alone, both = node.draw(trace, image), node.draw(trace, image, before)
    assert all(torch.equal(a, b) for a, b in zip(alone["result"][:3], both["result"][:3], strict=True))
    shown = [json.loads(outcome["ui"]["safelight_pictures"][0]) for outcome in (alone, both)]
    assert [list(each) for each in shown] == [["after", "map", "when"], ["after", "map", "when", "before"]]
    assert all(len(files) == 2 for files in shown[1].values())
    assert len(both["ui"]["images"]) == 2 and both["ui"]["images"] != shown[1]["map"], "the sheet, for every page"


def test_a_plain_picture_of_another_size_or_number_is_an_error(pack, eps, prompts):
    _, trace = ksampler(pack, eps, *prompts, latent())
    image = torch.rand(1, SIZE, SIZE, 3)
    for before in (torch.rand(2, SIZE, SIZE, 3), torch.rand(1, SIZE, 2 * SIZE, 3)):
        with pytest.raises(ValueError, match=r"^before: expected pictures like those on `image`, 1 of 64 x 64 pixels"):
            pack.nodes["SafelightMap"]().draw(trace, image, before)


def test_a_picture_of_another_run_is_an_error(pack, eps, prompts):
    _, trace = ksampler(pack, eps, *prompts, latent(batch=2))
    with pytest.raises(ValueError, match=r"^image: expected the 2 pictures.*got 3"):
        drawn(pack, trace, torch.rand(3, SIZE, SIZE, 3))


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"safety": 0.0}, "no guided run"),
        ({"safety": 1.0, "risk": 0.1}, "no guided run"),
        ({"safety": 1.0, "context": 0.0}, "nothing to compare with"),
        ({"safety": 1.0, "context": 0.4}, "an estimate"),
        ({"safety": 0.5, "context": 0.4}, ""),
    ],
)
def test_the_node_says_what_its_map_is(pack, eps, prompts, settings, says):
    """A dark map comes with its reason, and is no error."""
    context = {"schedule": pack.schedule(context=settings.get("context", 0.2))}
    given = {key: value for key, value in settings.items() if key != "context"}
    _, trace = ksampler(pack, eps, *prompts, latent(), **given, **context)
    *_, mask, note, ui = drawn(pack, trace, torch.rand(1, SIZE, SIZE, 3))
    assert says in note and (says == "") == (note == "")
    assert ui["safelight_note"] == [note]
    if says != "an estimate":  # of a model without meaning it may be dark
        assert bool(mask.any()) == (says == "")
