"""The input `economy`: almost the rows of a stock run, and almost the picture of the full dual evaluation."""

from __future__ import annotations

import host
import pytest
import torch
from host import SAMPLERS, call, count_rows, stock
from test_hosts_features import entries
from test_selective import choose
from tiny_models import conditioning, latent, sd3_model

from demo import world

ALLOWED = {"balanced": 1.10, "free": 1.05}
FEW = [
    name for name in ("euler", "dpmpp_2m", "dpmpp_sde", "heun", "dpm_2_ancestral", "uni_pc", "lcm") if name in SAMPLERS
]
DEMO = {"seed": 5, "steps": 20, "cfg": 3.0, "scheduler": "karras"}


@pytest.fixture(scope="module")
def scene(pack):
    """(model, positive, safe, negative, four empty latents) of the demo model."""
    model, clip, _ = call(pack.nodes["SafelightDemoLoader"])
    encode = host.base_nodes.CLIPTextEncode
    text = "a cat and a kitchen knife on a green background"
    concepts = world.CONCEPTS
    positive, safe = call(pack.nodes["SafelightContextEncode"], clip=clip, prompt=text, concepts=concepts)[:2]
    empty = call(host.base_nodes.EmptyLatentImage, width=96, height=96, batch_size=4)[0]
    return model, positive, safe, call(encode, clip=clip, text="")[0], empty


def unlikeness(ours, full, plain):
    """How far a picture is from the full evaluation's, as a part of what that changed; the median."""
    distances = [(full - other).square().mean(dim=(1, 2, 3)).sqrt() for other in (ours, plain)]
    assert distances[1].min() > 0.02
    return float((distances[0] / distances[1]).median())


@pytest.mark.parametrize("economy", ALLOWED)
@pytest.mark.parametrize("settings", [{"safety": 0.0}, {"safety": 0.5, "risk": 0.1}, {"safety": 1.0}])
def test_where_one_prompt_alone_is_evaluated_nothing_changes(pack, eps, prompts, economy, settings):
    settings = {"schedule": pack.schedule(context=0.2), **settings}
    usual, thrifty = (
        pack.ksampler(eps, *prompts, latent(batch=2), economy=mode, **settings) for mode in ("off", economy)
    )
    assert torch.equal(thrifty, usual)


def test_at_cfg_1_the_negatives_entries_are_none_of_its_business(pack, eps, prompts):
    """A negative of two halves of the run is left out as one is; with it, the directions are others from there on."""
    positive, safe, negative = prompts
    halves = entries(negative, *({"start_percent": a, "end_percent": b} for a, b in ((0.0, 0.5), (0.5, 1.0))))
    settings = {"steps": 20, "economy": "free", "schedule": pack.schedule()}
    rows = {}
    for cfg in (1.0, 5.0):
        for name, given in (("whole", negative), ("halves", halves)):
            with count_rows(eps) as seen:
                pack.ksampler(eps, positive, safe, given, latent(), cfg=cfg, **settings)
            rows[cfg, name] = seen.rows
    assert rows[1.0, "halves"] == rows[1.0, "whole"]
    assert sum(rows[5.0, "halves"]) > sum(rows[5.0, "whole"])


@pytest.mark.parametrize("economy", ALLOWED)
@pytest.mark.parametrize("cfg", [5.0, 1.0])
@pytest.mark.parametrize("sampler_name", FEW)
def test_rows_of_twenty_steps(pack, eps, prompts, economy, cfg, sampler_name):
    settings = {"steps": 20, "cfg": cfg, "sampler_name": sampler_name}
    with count_rows(eps) as plain:
        stock(eps, prompts[0], prompts[2], latent(), **settings)
    with count_rows(eps) as ours:
        _, report = pack.reported(eps, *prompts, latent(), economy=economy, **settings)
    with count_rows(eps) as full:
        pack.ksampler(eps, *prompts, latent(), **settings)
    assert sum(plain.rows) < sum(ours.rows) <= ALLOWED[economy] * sum(plain.rows)
    assert sum(full.rows) > 1.2 * sum(plain.rows)
    assert (report["rows"], report["plain_rows"]) == (sum(ours.rows), sum(plain.rows))
    assert report["economy"] == economy


def test_a_run_of_four_steps_evaluates_both_prompts_once(pack, eps, prompts):
    with count_rows(eps) as seen:
        pack.ksampler(eps, *prompts, latent(), economy="free", steps=4)
    assert seen.rows.count(3) == 1
    assert set(seen.rows) == {2, 3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler_name", "most"), [("euler", {"balanced": 0.15, "free": 0.3}), ("heun", {"balanced": 0.25, "free": 0.4})]
)
def test_the_picture_is_almost_that_of_the_full_evaluation(pack, scene, sampler_name, most):
    """At two places of the slider, the middle one of a few pictures: now and then one turns out another."""
    model, positive, safe, negative, empty = scene
    settings = {**DEMO, "sampler_name": sampler_name}
    plain = stock(model, positive, negative, empty, **settings)
    for safety in (0.3, 0.7):
        runs = {
            mode: pack.ksampler(model, positive, safe, negative, empty, safety=safety, economy=mode, **settings)
            for mode in ("off", *ALLOWED)
        }
        for mode, limit in most.items():
            assert unlikeness(runs[mode], runs["off"], plain) < limit, (safety, mode)


@pytest.mark.parametrize("economy", ALLOWED)
def test_more_safety_goes_further_from_the_plain_picture(pack, scene, economy):
    model, positive, safe, negative, empty = scene
    settings = {**DEMO, "sampler_name": "euler"}
    plain = stock(model, positive, negative, empty, **settings)
    ways = [
        pack.ksampler(model, positive, safe, negative, empty, safety=safety, economy=economy, **settings)
        for safety in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    distances = [float((way - plain).square().mean().sqrt()) for way in ways]
    assert distances[0] == 0.0
    assert distances == sorted(distances)


@pytest.mark.parametrize("economy", ALLOWED)
def test_sampler_guider_and_patch_agree(pack, eps, prompts, economy):
    settings = {"safety": 0.5, "economy": economy, "steps": 20}
    by_sampler = pack.ksampler(eps, *prompts, latent(), **settings)
    by_guider = pack.custom(eps, *prompts, latent(), **settings)
    assert torch.equal(by_guider, by_sampler)
    advanced = pack.advanced(eps, *prompts, latent(), safety=0.5, economy=economy)
    assert torch.equal(advanced, by_sampler)


def test_the_patch_is_as_thrifty(pack, eps, prompts):
    by_sampler = pack.ksampler(eps, *prompts, latent(), safety=0.5, economy="free")
    assert torch.equal(pack.patched(eps, *prompts, latent(), safety=0.5, economy="free"), by_sampler)


def test_a_mask_keeps_rows_and_picture(pack, scene):
    """Full safety in the left half: the written prompt alone decides the right one, so both go on being evaluated."""
    model, positive, safe, negative, empty = scene
    mask = torch.zeros(1, 96, 96)
    mask[:, :, :48] = 1.0
    settings = {**DEMO, "sampler_name": "euler"}
    plain = stock(model, positive, negative, empty, **settings)
    full = pack.ksampler(model, positive, safe, negative, empty, safety=1.0, mask=mask, **settings)
    with count_rows(model) as seen:
        ours = pack.ksampler(model, positive, safe, negative, empty, safety=1.0, mask=mask, economy="free", **settings)
    assert sum(seen.rows) <= 1.05 * 2 * 4 * 20
    assert unlikeness(ours, full, plain) < 0.5


@pytest.mark.parametrize("economy", ALLOWED)
def test_selective_on_a_flow_model(pack, economy):
    model, texts = sd3_model(), (conditioning(1), conditioning(2), conditioning(3))
    settings = {"selective": choose(pack), "safety": 1.0, "steps": 20}
    with count_rows(model) as seen:
        ours = pack.ksampler(model, *texts, latent(16), economy=economy, **settings)
    assert torch.isfinite(ours).all()
    assert sum(seen.rows) <= ALLOWED[economy] * 40


def test_a_prompt_that_takes_part_in_a_range_is_evaluated_where_it_enters(pack, eps, prompts):
    """Two texts by turns: what is remembered of the one says nothing of the other."""
    positive, safe, negative = prompts
    first, second = conditioning(21)[0], positive[0]
    by_turns = [
        [first[0], {**first[1], "start_percent": 0.0, "end_percent": 0.5}],
        [second[0], {**second[1], "start_percent": 0.5, "end_percent": 1.0}],
    ]
    with count_rows(eps) as whole:
        pack.ksampler(eps, positive, safe, negative, latent(), economy="free", steps=20)
    with count_rows(eps) as seen:
        pack.ksampler(eps, by_turns, safe, negative, latent(), economy="free", steps=20)
    assert whole.rows.count(3) == 2
    assert seen.rows.count(3) == 3


def test_what_is_no_setting_is_an_error_that_names_it(pack, eps, prompts):
    with pytest.raises(ValueError, match="economy: unknown mode 'cheap'"):
        pack.ksampler(eps, *prompts, latent(), economy="cheap")
