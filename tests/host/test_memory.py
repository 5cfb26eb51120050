"""What a sampler remembers between runs: fewer rows, and the very picture of a run without a memory."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import json

import comfy.model_management
import pytest
import torch
from host import ADVANCED, SAMPLERS, SETTINGS, call, count_rows, extra_node, stock, stock_advanced
from test_look_then_steer import CLEAR, SEEN, RoundVAE, Script
from test_model_presence import Watched
from tiny_models import conditioning, controlnet, latent, unet_model

from safelight.engine.separate import SEPARATE
from safelight.guidance.schedule import LOOKING


@pytest.fixture
def run(pack, eps, prompts):
    """A run of SafelightKSampler: its samples and report."""
    positive, safe, negative = prompts

    def sample(safety=0.5, model=eps, pictures=1, **settings):
        given = {**SETTINGS, "positive": positive, "safe": safe, "negative": negative, "steps": 10}
        given |= {"latent_image": latent(batch=pictures), "model": model, "safety": safety, **settings}
        if "detector" in given:
            given["vae"] = RoundVAE()
        samples, report, *_ = call(pack.nodes["SafelightKSampler"], **given)
        return samples["samples"], json.loads(report)

    return sample


@pytest.fixture
def same(run):
    """Runs once more, and once without a memory: the same picture and stock run; the rows that were remembered."""

    def check(*args, **settings):
        samples, report = run(*args, **settings)
        fresh, plain = run(*args, **{**settings, "memory": False})
        assert torch.equal(samples, fresh)
        assert report["plain_rows"] == plain["plain_rows"] and plain["remembered_rows"] == 0
        assert report["rows"] + report["remembered_rows"] == plain["rows"]
        assert report["weights"] == plain["weights"] and report["moved"] == plain["moved"]
        return report["remembered_rows"]

    return check


# -- another place of the slider


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_a_second_run_with_any_sampler_is_a_fresh_run_bit_for_bit(run, same, sampler_name):
    run(0.5, sampler_name=sampler_name)
    assert same(0.75, sampler_name=sampler_name) > 0
    assert same(0.0, sampler_name=sampler_name) > 0


@pytest.mark.parametrize("more", [{"merge": SEPARATE}, {"economy": "balanced"}, {"pictures": 3}])
def test_every_way_to_sample_remembers(run, same, more):
    run(0.5, **more)
    assert same(0.75, **more) > 0


def test_what_is_evaluated_is_what_is_not_known(run, eps):
    with count_rows(eps) as rows:
        run(0.5)
        before = sum(rows.rows)
        _, report = run(0.75)
        assert sum(rows.rows) - before == report["rows"] and report["remembered_rows"] > 0
        before = sum(rows.rows)
        again, report = run(0.5)
        assert sum(rows.rows) == before and report["rows"] == 0 and report["plain_rows"] == 20
    assert torch.equal(again, run(0.5, memory=False)[0]) and report["memory"] == "between runs"


@pytest.mark.parametrize("closed", [{"safety": 0.0}, {"risk": 0.1}])
def test_a_run_left_to_the_stock_sampler_takes_from_memory_and_leaves_to_it(run, eps, prompts, closed):
    positive, _, negative = prompts
    expected = stock(eps, positive, negative, latent(), steps=10)
    assert run(0.5)[1]["remembered_rows"] == 0
    samples, report = run(**closed)
    assert torch.equal(samples, expected) and report["remembered_rows"] > 0 and report["plain_rows"] == 20
    samples, report = run(**closed)
    assert torch.equal(samples, expected) and report["rows"] == 0 and report["plain_rows"] == 20
    assert run(1.0)[1]["remembered_rows"] > 0


def test_stages_remember_too(pack, eps, prompts):
    positive, safe, negative = prompts

    def stages(**more):
        given = {**ADVANCED, "model": eps, "positive": positive, "safe": safe, "negative": negative, "safety": 0.5}
        first = {**given, "latent_image": latent(), "end_at_step": 8, "return_with_leftover_noise": "enable", **more}
        left, report, *_ = call(pack.nodes["SafelightKSamplerAdvanced"], **first)
        last = {**given, "latent_image": left, "start_at_step": 8, "add_noise": "disable", **more}
        samples, other, *_ = call(pack.nodes["SafelightKSamplerAdvanced"], **last)
        return samples["samples"], sum(json.loads(each)["remembered_rows"] for each in (report, other))

    stages()
    samples, remembered = stages(safety=0.75)
    assert torch.equal(samples, stages(safety=0.75, memory=False)[0]) and remembered > 0
    samples, remembered = stages(safety=0.0)
    assert torch.equal(samples, stock_advanced(eps, positive, negative, latent())) and remembered > 0


# -- with a detector


def test_a_run_that_looks_takes_what_runs_before_have_left(run):
    for scores, safety in (([CLEAR, SEEN, SEEN, CLEAR], 1.0), ([CLEAR, SEEN, CLEAR], 0.5), ([CLEAR, CLEAR], 1.0)):
        risk = {"risk": 0.0, "detector": Script(*scores), "safety": safety}
        fresh, plain = run(**{**risk, "memory": False})
        assert plain["memory"] == "within the run"
        samples, report = run(**{**risk, "detector": Script(*scores)})
        assert torch.equal(samples, fresh) and report["plain_rows"] == plain["plain_rows"]
        assert report["rows"] + report["remembered_rows"] == plain["rows"] + plain["remembered_rows"]
    assert report["rows"] == 0, "the plain run was known"
    level = run(0.5, risk=1.0, schedule=LOOKING)
    assert level[1]["rows"] == 0, "and so was the level's, without a detector"


def test_pictures_of_a_batch_that_go_their_own_ways_do_it_again_bit_for_bit(run):
    scores = [CLEAR, SEEN, CLEAR, CLEAR, SEEN, SEEN, CLEAR, CLEAR]
    looked = {"risk": 0.0, "safety": 1.0, "pictures": 3}
    first, plain = run(**looked, detector=Script(*scores))
    again, report = run(**looked, detector=Script(*scores))
    assert torch.equal(again, first) and report["rows"] == 0 < plain["rows"]


def test_a_whole_call_of_a_run_before_answers_none_that_would_be_cut(run):
    """The last bits of a row depend on how many share its call."""
    looked = {"risk": 0.0, "safety": 1.0, "pictures": 2, "seed": 77}
    run(**looked, detector=Script(SEEN, SEEN, CLEAR, CLEAR))
    again, _ = run(**looked, detector=Script(SEEN, CLEAR, CLEAR, CLEAR))
    fresh, _ = run(**looked, detector=Script(SEEN, CLEAR, CLEAR, CLEAR), memory=False)
    assert torch.equal(again, fresh)


def test_rows_of_looks_at_predictions_are_remembered_too(run, prompts):
    first, seen = run(1.0, risk=0.0, detector=Watched(prompts[0]))
    again, report = run(1.0, risk=0.0, detector=Watched(prompts[0]))
    assert torch.equal(again, first) and report["rows"] == 0 < seen["rows"]
    assert [each["plain_rows"] for each in (seen, report)] == [20, 20]
    assert [each["look"]["look_rows"] for each in (seen, report)] == [6, 6]


# -- another run


def with_lora(model):
    patched = model.clone()
    name = next(key for key in model.model.state_dict() if key.endswith("attn2.to_k.weight"))
    patched.add_patches({name: (0.1 * torch.ones_like(model.model.state_dict()[name]),)}, 1.0)
    return patched


def with_discrete(model):
    return call(extra_node("nodes_model_advanced", "ModelSamplingDiscrete"), model=model, sampling="eps", zsnr=False)[0]


def with_free_u(model, b1=1.3):
    """By the host's node, under the name that a server of the host loads its file by."""
    node = extra_node("nodes_freelunch", "FreeU")
    spec = importlib.util.spec_from_file_location("nodes_freelunch", inspect.getfile(node))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return call(module.FreeU, model=model, b1=b1, b2=1.4, s1=0.9, s2=0.2)[0]


@pytest.mark.parametrize("change", [with_lora, with_discrete])
def test_another_model_is_not_taken_for_this_one(run, same, eps, change):
    changed = change(eps)
    run(0.5)
    assert same(0.5, model=changed) == 0, "of the model as it was nothing holds"
    assert same(0.75, model=changed) > 0
    assert same(0.75) > 0, "and what was known of that is known yet"


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"seed": 8},
        lambda: {"positive": conditioning(31)},
        lambda: {"negative": conditioning(31)},
        lambda: {"pictures": 2},
        lambda: {"latent_image": latent(seed=4), "denoise": 0.9},
    ],
)
def test_other_inputs_are_not_taken_for_these(run, same, change):
    run(0.5)
    assert same(0.5, **change()) == 0


def test_what_acts_above_a_call_needs_no_new_one(run, same):
    run(0.5)
    assert same(0.5, safe=conditioning(31)) > 2, "all before the safe prompt acts"
    assert same(0.5, cfg=4.0) == 2, "the first call"
    assert same(0.5, sampler_name="dpmpp_2m") >= 2


def test_patches_of_the_host_are_known_by_what_they_are(run, same, eps):
    patched = with_free_u(eps)
    run(0.5)
    assert same(0.5, model=patched) == 0 and same(0.75, model=patched) > 0
    assert same(0.75, model=patched.clone()) > 0
    assert same(0.75, model=with_free_u(eps, 1.2)) == 0


# -- what can't be remembered


def with_hook(model):
    patched = model.clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * 0.999)
    return {"model": patched}


def with_block_patch(model):
    patched = model.clone()
    patched.set_model_output_block_patch(lambda h, hsp, options: (h * 0.99, hsp))
    return {"model": patched}


def with_controlnet(model):
    hint = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    control = controlnet().set_cond_hint(hint, 0.5, (0.0, 1.0))
    return {"positive": conditioning(11, control=control, control_apply_to_uncond=True)}


@pytest.mark.parametrize(
    ("change", "why"),
    [(with_hook, "guidance"), (with_block_patch, "another pack"), (with_controlnet, "ControlNet")],
)
def test_where_nothing_can_be_remembered_the_report_says_why_and_the_notes_only_with_a_detector(run, eps, change, why):
    more = change(eps)
    run(0.5, **more)
    for safety in (0.0, 0.5):
        _, report = run(safety, **more)
        assert report["remembered_rows"] == 0 and why in report["memory"]
        assert not any("remembered" in note for note in report["notes"])
    _, report = run(1.0, risk=0.0, detector=Script(CLEAR, CLEAR), **more)
    assert any("nothing was remembered between the levels" in note and why in note for note in report["notes"])


def test_a_wrapper_among_the_options_alone_is_seen(run, eps):
    """Where packs put it without the patcher's own list."""
    extension = pytest.importorskip("comfy.patcher_extension", reason="this host has no wrappers")
    patched, calls = eps.clone(), []

    def wrapped(executor, *args, **kwargs):
        calls.append(1)
        return executor(*args, **kwargs) * (1 + 0.01 * len(calls))

    options = patched.model_options.setdefault("transformer_options", {})
    extension.add_wrapper_with_key(extension.WrappersMP.DIFFUSION_MODEL, "another pack", wrapped, options)
    _, report = run(0.5, model=patched)
    assert "a patch around its calls" in report["memory"]


@pytest.mark.parametrize("how", ["hook", "forward"])
def test_what_a_pack_has_put_into_a_module_may_remember_things(run, eps, monkeypatch, how):
    network = eps.model.diffusion_model
    if how == "hook":
        handle = network.register_forward_hook(lambda module, args, answer: answer)
    else:
        forward = network.forward
        monkeypatch.setattr(network, "forward", lambda *args, **kwargs: forward(*args, **kwargs))
    _, report = run(0.5)
    assert "a module of the model carries a hook, or another forward" in report["memory"]
    if how == "hook":
        handle.remove()
    else:
        network.forward = forward  # as packs put it back
    assert run(0.5)[1]["memory"] == "between runs"


def test_a_forward_that_a_pack_has_replaced_is_another_model(run, same, eps):
    run(0.5)
    with count_rows(eps):
        assert same(0.5) == 0
        assert same(0.75) > 0


# -- its bounds


def test_off_nothing_is_left_and_nothing_taken(run, memory):
    _, report = run(0.5, memory=False)
    assert memory.size == 0 and report["memory"] == "off"
    run(0.5)
    assert run(0.75, memory=False)[1]["remembered_rows"] == 0


def test_it_is_bounded_and_what_does_not_fit_is_evaluated(run, same, memory):
    run(0.5)
    whole = memory.size
    for limit in (0, whole // 3, 2 * whole):
        memory.limit = limit
        for seed in range(2):
            run(0.5, seed=seed)
            assert memory.size <= limit
            assert (same(0.75, seed=seed) > 0) == (limit > 0)


def test_it_is_emptied_with_the_model(run, memory):
    run(0.5)
    before, model = memory.size, unet_model()
    run(0.5, model=model)
    assert memory.size == 2 * before
    comfy.model_management.unload_all_models()
    del model
    gc.collect()
    comfy.model_management.cleanup_models()
    gc.collect()
    assert memory.size == before
    assert run(0.5)[1]["rows"] == 0


def test_an_interrupted_run_leaves_nothing_wrong(run, same, eps, monkeypatch):
    calls = []
    apply_model = eps.model.apply_model

    def stop(*args, **kwargs):
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return apply_model(*args, **kwargs)

    monkeypatch.setattr(eps.model, "apply_model", stop)
    with pytest.raises(KeyboardInterrupt):
        run(0.5)
    assert same(0.75) > 0
