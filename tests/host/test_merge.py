"""The merge of the two branches: against a merge of latents by hand, row by row, and as separate trajectories."""

from __future__ import annotations

import pytest
import torch
from host import count_rows, sigmas_of, stock, stock_advanced
from methods import nudged
from tiny_models import conditioning, latent, sd3_model, unet_model

from safelight.guidance import trajectories

CURVE = ((0.0, 0.2), (0.5, 0.9), (1.0, 0.4))


def progress_of(model, sigma):
    """The share of the noise scale that lies behind sigma, found on a grid of the host's percent_to_sigma."""
    sampling = model.get_model_object("model_sampling")
    if sigma <= 0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sampling.percent_to_sigma(middle)) >= sigma else (low, middle)
    return low


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_equals_two_latents_merged_after_each_euler_step(pack, kind):
    """Every step is taken twice from the same latent, by the stock sampler, once for each prompt; then z is blended."""
    model = {"eps": unet_model, "v": lambda: unet_model("V_PREDICTION"), "flow": sd3_model}[kind]()
    channels = 16 if kind == "flow" else 4
    positive, safe, negative = conditioning(21), conditioning(22), conditioning(23)
    steps, safety, context = 10, 0.7, 0.2
    settings = {"steps": steps, "noise_seed": 3}

    z = latent(channels)
    weights = []
    for step, sigma in enumerate(sigmas_of(model, steps=steps)[:-1]):
        share = progress_of(model, float(sigma))
        height = torch.tensor([y for _, y in CURVE])
        weight = 0.0
        if share >= context:
            weight = safety * float(
                height[0] + (share / 0.5) * (height[1] - height[0])
                if share < 0.5
                else height[1] + ((share - 0.5) / 0.5) * (height[2] - height[1])
            )
        weights.append(weight)
        slice_of_run = {
            "start_at_step": step,
            "end_at_step": step + 1,
            "return_with_leftover_noise": "enable",
            "add_noise": "enable" if step == 0 else "disable",
            **settings,
        }
        z_u = stock_advanced(model, positive, negative, z, **slice_of_run)
        z_s = stock_advanced(model, safe, negative, z, **slice_of_run)
        z = {"samples": (1 - weight) * z_u + weight * z_s}
    assert 0.0 in weights and max(weights) > 0.5

    ours, report = pack.reported(
        model,
        positive,
        safe,
        negative,
        latent(channels),
        steps=steps,
        seed=3,
        safety=safety,
        schedule=pack.schedule(CURVE, context=context),
    )
    by_hand = z["samples"]
    plain = stock(model, positive, negative, latent(channels), steps=steps, seed=3)
    assert torch.linalg.norm(ours - by_hand) <= 1e-4 * torch.linalg.norm(by_hand)
    assert torch.linalg.norm(ours - plain) > 1e-2 * torch.linalg.norm(plain), "the safe prompt did nothing"


@pytest.mark.parametrize("batch", [1, 2])
def test_one_batched_call_of_three_rows_where_both_prompts_act(pack, eps, prompts, batch):
    """Weight 0 until progress .3, in between until .7, 1 from there: 2, 3 and 2 rows a latent, one call a step."""
    steps = 12
    schedule = pack.schedule(((0.0, 0.5), (0.7, 1.0), (1.0, 1.0)), context=0.3, interpolation="step")
    with count_rows(eps) as seen:
        pack.ksampler(eps, *prompts, latent(batch=batch), steps=steps, safety=1.0, schedule=schedule)
    shares = [progress_of(eps, float(sigma)) for sigma in sigmas_of(eps, steps=steps)[:-1]]
    expected = [3 if 0.3 <= share < 0.7 else 2 for share in shares]
    assert set(expected) == {2, 3}
    assert seen.rows == [batch * rows for rows in expected]


def test_rows_of_the_guider_and_of_a_longer_safe_prompt(pack, eps, prompts):
    positive, _, negative = prompts
    for sample in (pack.ksampler, pack.custom):
        with count_rows(eps) as seen:
            sample(eps, positive, conditioning(5, tokens=154), negative, latent(), schedule=pack.schedule())
        assert seen.rows == [3] * 6


def test_cfg_one_drops_the_negative(pack, eps, prompts):
    for safety, rows in ((0.0, 1), (0.5, 2), (1.0, 1)):
        with count_rows(eps) as seen:
            pack.ksampler(eps, *prompts, latent(), cfg=1.0, safety=safety, schedule=pack.schedule())
        assert seen.rows == [rows] * 6


def test_report_tells_the_rows_and_weights_of_the_run(pack, eps, prompts):
    schedule = pack.schedule(((0.0, 0.5), (1.0, 1.0)), context=0.4)
    with count_rows(eps) as seen:
        _, report = pack.reported(eps, *prompts, latent(), safety=0.8, schedule=schedule, risk=0.75, gate=0.5)
    assert report["rows"] == sum(seen.rows)
    assert report["plain_rows"] == 2 * seen.calls
    assert (report["risk"], report["gate"]) == (0.75, 0.5)
    weights = [call["w"] for call in report["weights"]]
    assert len(weights) == 6
    shares = [progress_of(eps, float(sigma)) for sigma in sigmas_of(eps)[:-1]]
    for weight, share in zip(weights, shares, strict=True):
        assert weight == pytest.approx(0.8 * (0.5 + 0.5 * share) if share >= 0.4 else 0.0, abs=1e-3)


def test_weight_is_a_function_of_the_noise_level_also_between_steps(pack, eps, prompts):
    """A second-order sampler's calls between two steps: the weight is that of their own noise level."""
    schedule = pack.schedule(((0.0, 0.0), (1.0, 1.0)), context=0.0)
    with count_rows(eps) as seen:
        _, report = pack.reported(eps, *prompts, latent(), sampler_name="dpm_2", safety=1.0, schedule=schedule)
    weights = [call["w"] for call in report["weights"]]
    assert len(weights) == len(seen.sigmas) == seen.calls > 6
    for weight, sigma in zip(weights, seen.sigmas, strict=True):
        assert weight == pytest.approx(progress_of(eps, sigma), abs=1e-3)


def test_separate_trajectories_of_identical_branches_are_the_single_run(pack, eps, prompts):
    positive, _, negative = prompts
    twin = nudged(positive)
    for sampler_name in ("euler", "euler_ancestral", "dpmpp_2m"):
        plain = stock(eps, positive, negative, latent(), steps=12, sampler_name=sampler_name)
        ours = pack.ksampler(
            eps,
            positive,
            twin,
            negative,
            latent(),
            steps=12,
            sampler_name=sampler_name,
            safety=0.5,
            merge="separate",
            schedule=pack.schedule(context=0.2),
        )
        # A multi-step sampler starts its history anew at the cuts.
        tolerance = 0.2 if sampler_name == "dpmpp_2m" else 1e-3
        if sampler_name != "euler_ancestral":
            assert torch.linalg.norm(ours - plain) <= tolerance * torch.linalg.norm(plain), sampler_name


def test_separate_trajectories_keep_the_size_of_the_noise(pack, eps, prompts, monkeypatch):
    """The noise of the merged latent has the size that the branches' own has, within 2 %, for every weight."""
    merges = []
    merge = trajectories.merge_trajectories

    def spy(*args, **kwargs):
        out = merge(*args, **kwargs)
        merges.append((args, kwargs, out))
        return out

    monkeypatch.setattr(trajectories, "merge_trajectories", spy)
    for safety in (0.25, 0.5, 0.75):
        pack.ksampler(
            eps,
            *prompts,
            latent(size=32),
            steps=12,
            cfg=20.0,
            safety=safety,
            merge="separate",
            merge_at=0.9,
            schedule=pack.schedule(context=0.0),
        )
    assert len(merges) == 3
    shrunk = []
    for args, kwargs, merged in merges:
        names = ("z_cond", "z_safe", "denoised_cond", "denoised_safe", "sigma", "weight")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        z_u, z_s, d_u, d_s = (given[name] for name in names[:4])
        sigma, weight = float(torch.as_tensor(given["sigma"]).max()), float(torch.as_tensor(given["weight"]).max())
        assert sigma > 0 and 0 < weight < 1
        noise_u, noise_s = (z_u - d_u) / sigma, (z_s - d_s) / sigma
        noise = (merged - ((1 - weight) * d_u + weight * d_s)) / sigma
        size = float((1 - weight) * noise_u.std() + weight * noise_s.std())
        assert float(noise.std()) == pytest.approx(size, rel=0.02)
        shrunk.append(1 - float(((1 - weight) * noise_u + weight * noise_s).std()) / size)
    assert max(shrunk) > 0.05, "the two noises are all but the same, so nothing is tested"


@pytest.mark.parametrize("points", [((0.0, 1.0), (1.0, 0.0)), ((0.0, 1.0), (0.5, 0.0), (1.0, 0.0))])
def test_separate_trajectories_guard_with_a_falling_curve(pack, eps, prompts, points):
    positive, safe, negative = prompts
    plain = stock(eps, positive, negative, latent(), steps=12)
    ours, report = pack.reported(
        eps,
        positive,
        safe,
        negative,
        latent(),
        steps=12,
        safety=1.0,
        merge="separate",
        schedule=pack.schedule(points, context=0.1),
    )
    assert max(call["w"] for call in report["weights"]) > 0
    assert torch.linalg.norm(ours - plain) > 1e-2 * torch.linalg.norm(plain)


def test_separate_trajectories_are_guarded_in_short_runs(pack, eps, prompts):
    positive, safe, negative = prompts
    for steps in (1, 2, 4):
        plain = stock(eps, positive, negative, latent(), steps=steps)
        ours = pack.ksampler(eps, positive, safe, negative, latent(), steps=steps, safety=1.0, merge="separate")
        assert torch.linalg.norm(ours - plain) > 1e-2 * torch.linalg.norm(plain), steps


def test_separate_trajectories_know_a_sampler_that_stops_before_the_last_step(pack, eps, prompts):
    """dpm_fast's last call comes earlier than other samplers', and the guard has to count with that."""
    late = pack.schedule(((0.0, 1.0), (1.0, 1.0)), context=0.95)
    contexts = [
        pack.reported(
            eps,
            *prompts,
            latent(),
            steps=6,
            sampler_name="dpm_fast",
            scheduler="sgm_uniform",
            safety=1.0,
            merge=merge,
            schedule=late,
        )[1]["context"]
        for merge in ("every step", "separate")
    ]
    assert contexts[0] == contexts[1] < 0.95


def test_separate_trajectories_reach_the_safe_run_at_full_weight(pack, eps, prompts):
    """At weight 1 from the first step on nothing of the written branch is left."""
    positive, safe, negative = prompts
    plain = stock(eps, safe, negative, latent(), steps=12)
    ours = pack.ksampler(
        eps, positive, safe, negative, latent(), steps=12, safety=1.0, merge="separate", schedule=pack.schedule()
    )
    assert torch.linalg.norm(ours - plain) <= 1e-3 * torch.linalg.norm(plain)
