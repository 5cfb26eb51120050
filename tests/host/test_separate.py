"""Separate trajectories from the inside: where they part and merge, what noise they draw, and what is merged."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import comfy.k_diffusion.sampling as k_diffusion
import pytest
import torch
from host import sigmas_of, stock
from test_hosts_features import left_half
from test_merge import progress_of
from tiny_models import conditioning, latent, sd3_model, unet_model

from safelight.engine import host as safelight_host
from safelight.engine import separate
from safelight.guidance import trajectories

STEPS, PART, MERGE = 8, 2, 6  # of test_merge's schedule below, checked in `run`
DRAWING = ["euler_ancestral", "dpmpp_2m_sde"]  # by the global generator or by the run's seed, as the host has it


@pytest.fixture
def parts(monkeypatch):
    """The sampler's runs: their seeds, noise levels and models."""
    seen = []
    for name in ("euler", *DRAWING):
        sample = getattr(k_diffusion, f"sample_{name}")

        def spy(model, x, sigmas, extra_args=None, *args, sample=sample, **kwargs):
            seen.append(SimpleNamespace(model=model, sigmas=sigmas.tolist(), extra_args=extra_args))
            return sample(model, x, sigmas, extra_args, *args, **kwargs)

        monkeypatch.setattr(k_diffusion, f"sample_{name}", spy)
    return seen


@pytest.fixture
def merges(monkeypatch):
    """The arguments of every merge, by name."""
    seen, merge = [], trajectories.merge_trajectories
    signature = inspect.signature(merge)

    def spy(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        seen.append(SimpleNamespace(**bound.arguments))
        return merge(*args, **kwargs)

    monkeypatch.setattr(trajectories, "merge_trajectories", spy)
    return seen


@pytest.fixture
def run(pack, eps, prompts):
    """A separate run of 8 steps that parts at the third and merges at the seventh; its latent and its report."""

    def sample(model=eps, prompts=prompts, latent_image=None, **settings):
        progress = [progress_of(model, float(sigma)) for sigma in sigmas_of(model, steps=STEPS)]
        context, merge_at = ((progress[i - 1] + progress[i]) / 2 for i in (PART, MERGE))
        settings = {"safety": 0.6, "sampler_name": "euler", **settings}
        return pack.reported(
            model,
            *prompts,
            latent_image or latent(),
            steps=STEPS,
            merge="separate",
            merge_at=merge_at,
            schedule=pack.schedule(context=context),
            **settings,
        )

    return sample


def twins(prompts):
    """The safe prompt has the positive one's numbers, and a key that no model reads, since the same one is refused."""
    positive, _, negative = prompts
    return positive, [[positive[0][0].clone(), {**positive[0][1], "read_by_nobody": 1}]], negative


# --- noise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [7, 2**64 - 1])
def test_each_part_draws_by_a_seed_of_its_own_and_both_branches_by_the_same(run, eps, parts, seed):
    """Else the noise of the first steps would come again behind each cut. The largest seed is followed by 0."""
    run(sampler_name="dpmpp_2m_sde", seed=seed)
    assert [part.extra_args["seed"] for part in parts] == [(seed + number) % 2**64 for number in (0, 1, 1, 2)]
    sigmas = sigmas_of(eps, steps=STEPS).tolist()
    between = sigmas[PART : MERGE + 1]
    assert [part.sigmas for part in parts] == [sigmas[: PART + 1], between, between, sigmas[MERGE:]]


@pytest.mark.parametrize("sampler_name", ["euler", *DRAWING])
def test_branches_of_equal_prompts_are_equal_whatever_noise_is_drawn(run, prompts, merges, sampler_name):
    run(prompts=twins(prompts), sampler_name=sampler_name)
    (merged,) = merges
    assert torch.equal(merged.z_cond, merged.z_safe)
    assert torch.equal(merged.denoised_cond, merged.denoised_safe)


def test_a_single_run_takes_the_seed_that_it_is_given(pack, eps, prompts, parts):
    pack.ksampler(eps, *prompts, latent(), sampler_name="dpmpp_2m_sde", seed=7)
    stock(eps, prompts[0], prompts[2], latent(), sampler_name="dpmpp_2m_sde", seed=7)
    assert [part.extra_args["seed"] for part in parts] == [7, 7]


# --- what is merged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_latents_are_merged_with_their_own_predictions_at_the_level_of_the_merge(run, parts, merges, kind, monkeypatch):
    model = {"eps": unet_model, "v": lambda: unet_model("V_PREDICTION"), "flow": sd3_model}[kind]()
    prompts, again = (conditioning(21), conditioning(22), conditioning(23)), []
    merge = trajectories.merge_trajectories

    def spy(*args, **kwargs):
        part, z_safe, sigma = parts[-1], args[1], args[4]
        again.append(part.model(z_safe, sigma * z_safe.new_ones(len(z_safe)), **part.extra_args))
        return merge(*args, **kwargs)

    monkeypatch.setattr(trajectories, "merge_trajectories", spy)
    run(model, prompts, latent(16 if kind == "flow" else 4))
    (merged,) = merges
    sigma = float(sigmas_of(model, steps=STEPS)[MERGE])
    assert float(merged.sigma) == pytest.approx(sigma)
    assert merged.signal == pytest.approx(1 - sigma if kind == "flow" else 1.0, abs=1e-6)
    assert torch.allclose(merged.denoised_safe, again[0], atol=1e-4)
    assert not torch.allclose(merged.denoised_cond, merged.denoised_safe, atol=1e-2)


def test_a_mask_confines_the_merge(run, merges):
    run(mask=left_half())
    (merged,) = merges
    assert merged.weight[0, 0, 0].tolist() == pytest.approx([0.6] * 4 + [0.0] * 4)


def test_after_the_merge_both_prompts_steer_by_its_weight(run, merges):
    _, report = run()
    assert merges[0].weight == pytest.approx(0.6)
    weights = [call["w"] for call in report["weights"]]
    assert weights[-(STEPS - MERGE) :] == pytest.approx([0.6] * (STEPS - MERGE))
    assert weights[:MERGE] == [0.0] * MERGE, "the positive prompt's trajectory is its own"
    assert report["plain_rows"] == 2 * STEPS and report["rows"] > 3 * STEPS


def test_progress_goes_over_the_parted_steps_twice(run, monkeypatch):
    seen = []
    monkeypatch.setattr(
        safelight_host, "preview_callback", lambda model, steps: lambda step, *others: seen.append(step)
    )
    run()
    assert seen == [*range(MERGE), *range(PART, MERGE), *range(MERGE, STEPS)]


# --- where they part and merge -------------------------------------------------------------------------------------

PROGRESS = {8.0: 0.0, 4.0: 0.25, 2.0: 0.5, 1.0: 0.75, 0.0: 1.0}


def cuts(sigmas, start_percent, merge_at):
    plan = SimpleNamespace(sigmas=sigmas, start_percent=start_percent, progress=PROGRESS.__getitem__)
    return separate.cuts(plan, merge_at)


@pytest.mark.parametrize(
    ("start_percent", "merge_at", "expected"),
    [
        (0.0, 0.5, (0, 2)),
        (0.25, 0.5, (1, 2)),
        (0.2, 0.5, (1, 2)),
        (0.2, 0.51, (1, 3)),
        (0.2, 1.0, (1, 3)),  # not at the end, where no noise is left to merge
        (0.6, 0.7, None),
        (0.5, 0.5, None),
        (0.75, 1.0, None),
    ],
)
def test_they_part_at_the_start_and_merge_at_the_first_step_from_merge_at_on(start_percent, merge_at, expected):
    assert cuts([8.0, 4.0, 2.0, 1.0, 0.0], start_percent, merge_at) == expected


def test_a_stage_that_ends_with_noise_merges_at_its_end_at_the_latest():
    assert cuts([8.0, 4.0, 2.0, 1.0], 0.2, 1.0) == (1, 3)


@pytest.mark.parametrize("start_percent", [0.0, 0.5])
def test_a_stage_behind_the_merge_has_one_trajectory(start_percent):
    """By both prompts from its first step on; also where it begins at merge_at itself."""
    for merge_at in (0.4, 0.5):
        assert cuts([2.0, 1.0, 0.0], start_percent, merge_at) == (0, 0)


def test_a_stage_before_the_start_has_the_positive_prompts():
    assert cuts([8.0, 4.0, 2.0], 0.6, 0.8) == (2, 2)
