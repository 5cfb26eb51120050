"""Safe Latent Diffusion against its equations worked by hand, and against diffusers' own pipeline."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from safelight.guidance.sld import DEFAULT_PRESET, PRESETS, Config, SafeLatentDiffusion

VECTORS = Path(__file__).parents[1] / "vectors"
sys.path.append(str(VECTORS))

from sld_inputs import CFG, STEPS, sequences  # noqa: E402

WARM_UP_STEPS = {"weak": 15, "medium": 10, "strong": 7, "max": 0}  # of 50, as the released code has them


def row(*values, dtype=torch.float64):
    return torch.tensor([values], dtype=dtype)


def noises(shape, seed=3, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for _ in range(3)]


# --- the reference


@pytest.mark.parametrize("preset", PRESETS)
def test_the_guided_noise_is_that_of_the_released_pipeline(preset):
    """50 steps of the same e_0, e_p and e_S: the scheduler gets what the pipeline gives it, momentum included."""
    expected = load_file(VECTORS / "sld_guided.safetensors")[preset]
    method = SafeLatentDiffusion(PRESETS[preset])
    assert len(expected) == STEPS
    worst = 0.0
    for step, (e_0, e_p, e_s) in enumerate(torch.from_numpy(sequences())):
        gamma = method.direction(e_0, e_p, [e_s], step)
        if step < WARM_UP_STEPS[preset]:
            gamma = torch.zeros_like(gamma)
        guided = e_0 + CFG * (e_p - gamma - e_0)
        worst = max(worst, float((guided - expected[step]).abs().max()))
    print(f"{preset}: largest difference {worst:.1e}")
    assert worst <= 1e-6


def test_the_reference_takes_every_branch_of_the_equations():
    e_0, e_p, e_s = torch.from_numpy(sequences()).unbind(1)
    for config in PRESETS.values():
        difference = e_p - e_s
        none = difference >= config.threshold
        clipped = (difference.abs() * config.scale > 1.0) & ~none
        for part in (none, clipped, ~none & ~clipped):
            assert part.double().mean() > 0.05
        assert bool((difference == config.threshold).any())


def test_the_presets_are_the_released_ones():
    assert {name: dataclasses.astuple(config) for name, config in PRESETS.items()} == {
        "weak": (15 / 50, 20, 0.0, 0.0, 0.0),
        "medium": (10 / 50, 1000, 0.01, 0.3, 0.4),
        "strong": (7 / 50, 2000, 0.025, 0.5, 0.7),
        "max": (0 / 50, 5000, 1.0, 0.5, 0.7),
    }
    assert DEFAULT_PRESET == "medium"
    assert {name: SafeLatentDiffusion(config).warm_up for name, config in PRESETS.items()} == {
        name: steps / 50 for name, steps in WARM_UP_STEPS.items()
    }


# --- the equations by hand


def test_scale_threshold_and_clipping_element_by_element():
    """s_S 10, lambda .25: below, at and above the threshold, on both sides of zero, below and above the clipping."""
    e_0 = row(-1.0, 0.0, 0.0, -2.0, 1.0, 0.5)
    e_p = row(0.02, 0.25, 2.0, -0.05, -0.5, 1.0)
    e_s = row(0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    # Differences .02, .25, 1, -.05, -.5, 0: phi .2, (none), (none), .5, 1, 0
    expected = row((0 + 1) * 0.2, 0.0, 0.0, (0 + 2) * 0.5, (0 - 1) * 1.0, 0.0)
    gamma = SafeLatentDiffusion(Config(0.0, 10.0, 0.25, 0.0, 0.0)).direction(e_0, e_p, [e_s], 0)
    assert torch.allclose(gamma, expected, atol=1e-15)


MOMENTUM = Config(0.0, 1e9, 10.0, 0.5, 0.75)  # mu is 1 wherever e_p and e_S differ: gamma is e_S - e_0 and the momentum


def steps_of(method, *calls):
    """gamma of each (e_S, step) with e_0 = 0 and e_p = -1, as numbers."""
    zero, one = row(0.0), row(-1.0)
    return [float(method.direction(zero, one, [row(e_s)], step)) for e_s, step in calls]


def test_momentum_is_added_before_it_is_updated():
    # nu: 0, .25 * 4 = 1, .75 * 1 + .25 * (8 + .5) = 2.875
    assert steps_of(SafeLatentDiffusion(MOMENTUM), (4.0, 0), (8.0, 1), (0.0, 2)) == [4.0, 8.5, 1.4375]


def test_momentum_advances_on_a_steps_first_call_only():
    """Samplers that call twice a step, or go back a step, see the momentum of a run with one call a step."""
    method = SafeLatentDiffusion(MOMENTUM)
    assert steps_of(method, (4.0, 0), (100.0, 0), (8.0, 1), (0.0, 1), (2.0, 0), (0.0, 2)) == [
        4.0,
        100.0,
        8.5,
        0.5,
        2.5,
        1.4375,
    ]


def test_a_step_that_was_never_called_moves_nothing():
    assert steps_of(SafeLatentDiffusion(MOMENTUM), (4.0, 0), (8.0, 5)) == [4.0, 8.5]


def test_a_new_object_has_no_momentum():
    assert steps_of(SafeLatentDiffusion(MOMENTUM), (8.0, 0)) == steps_of(SafeLatentDiffusion(MOMENTUM), (8.0, 7))


def test_it_remembers_where_there_is_momentum():
    assert {name: SafeLatentDiffusion(config).remembers for name, config in PRESETS.items()} == {
        "weak": False,
        "medium": True,
        "strong": True,
        "max": True,
    }


# --- batches, shapes, dtypes


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 16, 3, 4, 4), (2, 4, 16), (3, 5)])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_batch_is_its_samples(preset, shape):
    config = PRESETS[preset]
    together, alone = SafeLatentDiffusion(config), [SafeLatentDiffusion(config) for _ in range(shape[0])]
    for step in range(4):
        e_0, e_p, e_s = noises(shape, seed=step)
        gamma = together.direction(e_0, e_p, [e_s], step)
        assert gamma.shape == e_p.shape
        for i, method in enumerate(alone):
            one = slice(i, i + 1)
            assert torch.equal(gamma[one], method.direction(e_0[one], e_p[one], [e_s[one]], step))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_float32_rounded(dtype):
    half, exact = SafeLatentDiffusion(PRESETS["max"]), SafeLatentDiffusion(PRESETS["max"])
    for step in range(20):
        e_0, e_p, e_s = noises((2, 4, 4, 4), seed=step, dtype=dtype)
        gamma = half.direction(e_0, e_p, [e_s], step)
        assert gamma.dtype == dtype
        assert torch.equal(gamma, exact.direction(e_0.float(), e_p.float(), [e_s.float()], step).to(dtype))


def test_its_inputs_stay_as_they_are():
    e_0, e_p, e_s = noises((2, 4, 4, 4))
    copies = [e_0.clone(), e_p.clone(), e_s.clone()]
    method = SafeLatentDiffusion(PRESETS["max"])
    first = method.direction(e_0, e_p, [e_s], 0)
    kept = first.clone()
    method.direction(e_0, e_p, [e_s], 1)
    assert torch.equal(first, kept)
    assert all(torch.equal(a, b) for a, b in zip((e_0, e_p, e_s), copies, strict=True))


def test_a_prediction_that_is_no_number_is_never_passed_over():
    """NaN in the safety concept's prediction shows in the picture; it does not leave the element unguided."""
    e_0, e_p, e_s = noises((1, 4, 4, 4))
    e_s[0, 0, 0, 0] = float("nan")
    assert SafeLatentDiffusion(PRESETS["medium"]).direction(e_0, e_p, [e_s], 0)[0, 0, 0, 0].isnan()
