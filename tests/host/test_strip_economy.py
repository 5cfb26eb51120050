"""A strip with economy: each frame is what Safelight KSampler gives at its level with it, for fewer rows."""

from __future__ import annotations

import pytest
import torch
from host import count_rows, stock
from test_hosts_features import controlled, entries, left_half
from test_strip import CLOSE, LEVELS, apart, one_run
from tiny_models import controlnet, latent, sd3_model

from safelight.guidance import selective

USUAL = {"steps": 20, "sampler_name": "dpmpp_2m", "scheduler": "karras", "cfg": 3.0}


def same_as_singles(pack, model, prompts, latent_image, levels=LEVELS, **settings):
    """The report of a strip, after comparing its frames, weights and movements with Safelight KSampler's."""
    settings = {**USUAL, "steps": 12, **settings}
    text = ", ".join(f"{level:g}" for level in levels)
    frames, report, *_ = pack.strip(model, *prompts, latent_image, levels=text, **settings)
    singles = [pack.reported(model, *prompts, latent_image, safety=level, **settings) for level in levels]
    rounding = apart(frames, torch.cat([samples for samples, _ in singles]))
    middle = len(levels) // 2
    full = pack.ksampler(model, *prompts, latent_image, safety=levels[middle], **{**settings, "economy": "off"})
    assert rounding < CLOSE and rounding < apart(full, singles[middle][0]) / 4, "economy would not be told"
    for frame, (_, single) in zip(report["frames"], singles, strict=True):
        assert frame["weights"] == pytest.approx([call["w"] for call in single["weights"]])
        assert frame["replaced"] == single["replaced"]
        assert frame["moved"] == pytest.approx(single["moved"], rel=0.01)
    assert report["economy"] == settings["economy"]
    return report


@pytest.mark.parametrize(
    ("sampler_name", "economy"),
    [
        ("dpmpp_2m", "balanced"),
        ("euler", "free"),
        ("heun", "free"),
        ("euler_ancestral", "balanced"),
        ("dpmpp_2m_sde", "free"),
        ("uni_pc", "free"),
    ],
)
def test_frames_are_the_single_runs(pack, eps, prompts, sampler_name, economy):
    assert one_run(same_as_singles(pack, eps, prompts, latent(), economy=economy, sampler_name=sampler_name))


@pytest.mark.parametrize(("economy", "most"), [("off", 190), ("balanced", 158), ("free", 152)])
def test_rows_of_the_usual_strip(pack, eps, prompts, economy, most):
    """A stock run has 40 rows, one at .5 has 53."""
    with count_rows(eps) as plain:
        stock(eps, prompts[0], prompts[2], latent(), **USUAL)
    with count_rows(eps) as seen:
        _, report, *_ = pack.strip(eps, *prompts, latent(), economy=economy, **USUAL)
    assert report["rows"] == sum(seen.rows) <= most
    assert report["plain_rows"] == 5 * sum(plain.rows) == 200
    assert (report["remembered_rows"] > 0) == (economy != "off")


def test_off_is_what_it_was(pack, eps, prompts):
    frames, *_ = pack.strip(eps, *prompts, latent(), **USUAL)
    again, *_ = pack.strip(eps, *prompts, latent(), economy="off", **USUAL)
    assert torch.equal(frames, again)


@pytest.mark.parametrize(
    "settings",
    [
        {"cfg": 1.0},
        {"steps": 6},
        {"denoise": 0.5},
        {"levels": (0.9, 0.3)},
        {"mask": left_half() * 0.8},
        {"selective": selective.Selection()},
    ],
    ids=["cfg 1", "6 steps", "denoise", "two levels", "mask", "selective"],
)
def test_settings(pack, eps, prompts, settings):
    same_as_singles(pack, eps, prompts, latent(batch=2, seed=3), economy="free", **settings)


def test_prompts_in_ranges_areas_and_with_a_controlnet(pack, eps, prompts):
    positive, safe, negative = prompts
    early, late = ({"start_percent": a, "end_percent": b} for a, b in ((0.0, 0.6), (0.6, 1.0)))
    left = {"mask": left_half(), "mask_strength": 1.0, "set_area_to_bounds": False}
    for given in (
        (positive, entries(safe, late, early), negative),
        (entries(positive, early), entries(safe, {"start_percent": 0.0}), negative),
        (positive, entries(safe, left), negative),
        controlled(prompts, controlnet(), True),
    ):
        same_as_singles(pack, eps, given, latent(), economy="free", schedule=pack.schedule(context=0.2))


def test_a_flow_model(pack, prompts):
    same_as_singles(pack, sd3_model(), prompts, latent(16), economy="free", scheduler="normal")


def test_a_run_for_each_level_is_thrifty_too(pack, eps, prompts):
    report = same_as_singles(pack, eps, prompts, latent(), economy="free", sampler_name="dpm_adaptive", steps=6)
    assert not one_run(report)


def test_what_is_no_mode_is_named(pack, eps, prompts):
    with pytest.raises(ValueError, match="economy: unknown mode 'cheap'"):
        pack.strip(eps, *prompts, latent(), economy="cheap")
