"""SafelightStrip: each frame is what Safelight KSampler gives at its level, for less work."""

from __future__ import annotations

import comfy.model_management
import pytest
import torch
from host import SAMPLERS, count_rows, stock
from test_fail_closed import refused
from tiny_models import conditioning, latent

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
CLOSE = 1e-3
ALONE = "each level was a run of its own"


def text(levels):
    return ", ".join(f"{level:g}" for level in levels)


def singles(pack, model, prompts, latent_image, levels=LEVELS, **settings):
    """Safelight KSampler's latents at each level."""
    return torch.cat([pack.ksampler(model, *prompts, latent_image, safety=level, **settings) for level in levels])


def apart(frames, expected):
    """The largest difference, and whether the frames differ from each other at all."""
    assert frames.shape == expected.shape
    assert torch.isfinite(expected).all()
    return float((frames - expected).abs().max())


def one_run(report):
    return not any(ALONE in note for note in report["notes"])


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_frames_are_the_single_runs(pack, eps, prompts, sampler_name):
    """With every sampler of the host."""
    settings = {"sampler_name": sampler_name, "scheduler": "karras", "steps": 6, "seed": 3}
    expected = singles(pack, eps, prompts, latent(size=16), **settings)
    frames, report, *_ = pack.strip(eps, *prompts, latent(size=16), **settings)
    assert apart(frames, expected) < CLOSE
    different = [float((a - b).abs().max()) for a, b in zip(expected, expected[1:], strict=False)]
    assert min(different) > 10 * CLOSE, "the levels would not be told apart"
    mixing = sampler_name == "dpm_adaptive" or "cfg_pp" in sampler_name
    assert one_run(report) != mixing, report["notes"]


def test_a_sampler_that_the_pack_does_not_know_runs_each_level_alone(pack, eps, prompts, monkeypatch, caplog):
    monkeypatch.setattr(pack.part("nodes.draws"), "STEADY", frozenset())
    expected = singles(pack, eps, prompts, latent())
    with caplog.at_level("INFO", "safelight"):
        frames, report, *_ = pack.strip(eps, *prompts, latent())
    assert torch.equal(frames, expected)
    assert not one_run(report) and "euler" in report["notes"][-1]
    assert ALONE in caplog.text
