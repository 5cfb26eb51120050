"""What a strip's run costs, shows on the way, survives, and refuses."""

from __future__ import annotations

import json
import math

import comfy.model_management
import comfy.utils
import pytest
import torch
from host import SETTINGS, count_rows, stock
from safelight_pack import PlainVAE
from test_fail_closed import refused
from test_hosts_features import entries
from test_strip import CLOSE, apart, one_run, singles
from tiny_models import latent, unet_model

from safelight.engine import host as safelight_host
from safelight.engine import shared_noise, strip_run
from safelight.views import contact_sheet

USUAL = {"steps": 20, "sampler_name": "dpmpp_2m", "scheduler": "karras"}


@pytest.fixture
def unknown_sampler(pack, monkeypatch):
    """Euler is a sampler that the pack does not know."""
    draws = shared_noise
    monkeypatch.setattr(draws, "STEADY", draws.STEADY - {"euler"})


def test_rows_of_a_strip(pack, eps, prompts):
    """Until a level begins it is the plain frame; then those between, three rows each, and the safe one."""
    with count_rows(eps) as alone:
        pack.ksampler(eps, *prompts, latent(), safety=0.5, **USUAL)
    with count_rows(eps) as seen:
        _, report, *_ = pack.strip(eps, *prompts, latent(), **USUAL)
    groups = []
    for weights in zip(*(frame["weights"] for frame in report["frames"]), strict=True):
        between = sum(0.0 < weight < 1.0 for weight in weights)
        groups.append([2] + [3 * between] * (between > 0) + [2] * (1.0 in weights))
    assert seen.rows == sum(groups, [])
    in_turn = [group for i, group in enumerate(groups) if groups.index(group) == i]
    assert in_turn == [[2], [2, 2], [2, 3, 2], [2, 9, 2]]
    assert sum(seen.rows) <= 3.6 * sum(alone.rows)
    assert report["rows"] == sum(seen.rows) and report["plain_rows"] == 5 * 20 * 2


def test_a_level_whose_context_had_to_be_lowered_is_named(pack, eps, prompts):
    _, report, *_ = pack.strip(eps, *prompts, latent(), levels="0, 0.1, 1", sampler_name="euler", steps=2)
    assert any(note.startswith("level 0.1: context lowered from 0.38 to ") for note in report["notes"]), report["notes"]


@pytest.mark.parametrize("levels", ["0, 0.5", "0.2, 0.4, 0.6", "0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1"])
def test_rows_in_the_report_are_those_of_the_model(pack, eps, prompts, levels):
    with count_rows(eps) as seen:
        _, report, *_ = pack.strip(eps, *prompts, latent(batch=2), levels=levels, sampler_name="heun")
    assert report["rows"] == sum(seen.rows)
    with count_rows(eps) as plain:
        stock(eps, prompts[0], prompts[2], latent(batch=2), sampler_name="heun")
    assert report["plain_rows"] == len(report["levels"]) * sum(plain.rows)


def test_report(pack, eps, prompts, unknown_sampler):
    """The same weights as in the reports of single runs, in one run and in several."""
    for sampler_name in ("dpmpp_2m", "euler"):
        _, report, *_ = pack.strip(eps, *prompts, latent(), levels="0.5, 0, 1", sampler_name=sampler_name)
        assert report["levels"] == [frame["safety"] for frame in report["frames"]] == [0.5, 0.0, 1.0]
        for frame in report["frames"]:
            _, single = pack.reported(eps, *prompts, latent(), safety=frame["safety"], sampler_name=sampler_name)
            assert frame["weights"] == pytest.approx([call["w"] for call in single["weights"]])
        top = report["frames"][2]
        assert report["safety"] == 1.0 and [call["w"] for call in report["weights"]] == top["weights"]
        assert (
            report["context"] == single["context"] and report["gate_open"] and report["format"] == single["format"] == 2
        )
    once = {"sampler_name": "euler", "memory": False}
    alone = [pack.reported(eps, *prompts, latent(), safety=level, **once)[1] for level in (0.5, 0.0, 1.0)]
    # Levels 0 and 1 begin as .5 does, which came first.
    shared = 2 * (report["frames"][0]["weights"].count(0.0) + top["weights"].count(0.0))
    assert report["rows"] == sum(single["rows"] for single in alone) - shared < sum(single["rows"] for single in alone)
    assert report["plain_rows"] == sum(single["plain_rows"] for single in alone)


@pytest.mark.parametrize("why", [{"risk": 0.2}, {"risk": 0.2, "sampler_name": "euler_ancestral"}], ids=str)
def test_closed_gate_is_one_stock_run(pack, eps, prompts, why):
    sampling = {key: value for key, value in why.items() if key == "sampler_name"}
    plain = stock(eps, prompts[0], prompts[2], latent(batch=2), **sampling)
    with count_rows(eps) as seen:
        frames, report, *_ = pack.strip(eps, *prompts, latent(batch=2), **why)
    assert torch.equal(frames, torch.cat([plain] * 5))
    assert set(seen.rows) == {4} and seen.calls == 6
    assert not report["gate_open"] and report["rows"] * 5 == report["plain_rows"]
    assert report["frames"][4]["weights"] == [0.0] * 6


def test_level_0_is_the_stock_picture(pack, eps, prompts, unknown_sampler):
    for sampler_name in ("dpmpp_2m", "dpmpp_2m_sde", "euler"):
        frames, *_ = pack.strip(eps, *prompts, latent(), levels="1, 0", sampler_name=sampler_name)
        plain = stock(eps, prompts[0], prompts[2], latent(), sampler_name=sampler_name)
        assert apart(frames[1:], plain) < CLOSE / 10


def test_the_same_again(pack, eps, prompts):
    first, *_ = pack.strip(eps, *prompts, latent(), sampler_name="dpmpp_2m_sde")
    second, *_ = pack.strip(eps, *prompts, latent(), sampler_name="dpmpp_2m_sde")
    assert torch.equal(first, second)
    other, *_ = pack.strip(eps, *prompts, latent(), sampler_name="dpmpp_2m_sde", seed=8)
    assert apart(other, first) > 0.1


# --- pictures ----------------------------------------------------------------------------------------------------


def test_the_strip_shows_the_frames_in_order(pack, eps, prompts):
    _, _, strip, frames = pack.strip(eps, *prompts, latent(size=16), levels="1, 0.5, 0")
    assert strip.shape[0] == 1 and strip.shape[3] == 3 and frames.shape == (3, 32, 32, 3)
    assert float(strip.min()) >= 0.0 and float(strip.max()) <= 1.0
    bottom = strip[0, -36:-4]
    places = [[x for x in range(strip.shape[2] - 31) if torch.equal(bottom[:, x : x + 32], frame)] for frame in frames]
    assert all(len(each) == 1 for each in places) and places == sorted(places), places


def test_levels_are_written_over_their_columns(pack):
    labelled = contact_sheet.labelled
    white = torch.ones(3, 1, 64, 64, 3)
    one, other = labelled(white, (0.0, 0.25, 1.0)), labelled(white, (0.5, 0.25, 1.0))
    columns = [one[..., x : x + 64, :] - other[..., x : x + 64, :] for x in (4, 72, 140)]
    assert [bool(column.any()) for column in columns] == [True, False, False]
    assert float(one[0, :20].min()) < 0.5, "ink"


# --- on the way --------------------------------------------------------------------------------------------------


@pytest.fixture
def steps_seen(pack, monkeypatch):
    """(step, steps in all, shape of the prediction) of every call of the host's preview."""
    seen = []
    monkeypatch.setattr(
        safelight_host,
        "preview_callback",
        lambda model, steps: lambda step, denoised, x, total: seen.append((step, total, tuple(denoised.shape))),
    )
    return seen


def test_progress_and_preview_of_one_run(pack, eps, prompts, steps_seen):
    pack.strip(eps, *prompts, latent(batch=2))
    assert steps_seen == [(step, 6, (1, 4, 8, 5 * 8)) for step in range(6)], "the frames side by side"


def test_progress_of_single_runs(pack, eps, prompts, steps_seen, unknown_sampler):
    """One bar for all of them."""
    pack.strip(eps, *prompts, latent(), levels="0, 0.5, 1")
    assert steps_seen == [(step, 18, (1, 4, 8, 8)) for step in range(18)]


def test_cancelled_between_steps_and_then_undisturbed(pack, eps, prompts, monkeypatch, unknown_sampler):
    expected, *_ = pack.strip(eps, *prompts, latent())
    done = []

    def cancels(model, steps):
        def callback(step, *args):
            done.append(step)
            if step == 2:
                comfy.model_management.interrupt_current_processing(True)
            comfy.model_management.throw_exception_if_processing_interrupted()

        return callback

    with monkeypatch.context() as patch:
        patch.setattr(safelight_host, "preview_callback", cancels)
        for sampler_name in ("heun", "euler"):
            done.clear()
            with pytest.raises(BaseException) as caught:  # noqa: PT011  its base is another one on each host
                pack.strip(eps, *prompts, latent(), sampler_name=sampler_name)
            assert type(caught.value).__name__ == "InterruptProcessingException" and len(done) == 3
    again, *_ = pack.strip(eps, *prompts, latent())
    assert torch.equal(again, expected)


# --- memory ------------------------------------------------------------------------------------------------------


def out_of_memory():
    error = comfy.model_management.OOM_EXCEPTION("no memory left: this is a test")
    assert type(error) is not Exception
    return error


@pytest.fixture
def small(request):
    """A model that has memory for so many rows at once; its list of rows, failed calls as negative numbers."""

    def made(most):
        model, rows = unet_model(), []
        network = model.model.diffusion_model
        forward = network.forward

        def limited(x, *args, **kwargs):
            rows.append(x.shape[0] if x.shape[0] <= most else -x.shape[0])
            if x.shape[0] > most:
                raise out_of_memory()
            return forward(x, *args, **kwargs)

        network.forward = limited
        return model, rows

    return made


@pytest.mark.parametrize(("most", "groups"), [(6, [2]), (3, [2, 1])])
def test_memory_that_runs_out_costs_calls_and_nothing_else(pack, prompts, small, most, groups, caplog):
    """The frames in between, nine rows, are halved until they fit; no call before is made again."""
    model, rows = small(most)
    settings = {"sampler_name": "dpmpp_2m_sde", "schedule": pack.schedule(context=0.2)}
    expected = singles(pack, unet_model(), prompts, latent(), **settings)
    with caplog.at_level("INFO", "safelight"):
        frames, report, *_ = pack.strip(model, *prompts, latent(), **settings)
    assert apart(frames, expected) < CLOSE and one_run(report)
    assert len([count for count in rows if count < 0]) == len(groups), "not tried again once it is known"
    assert report["rows"] == sum(count for count in rows if count > 0)
    assert report["plain_rows"] == 5 * 2 * 6
    notes = [note for note in report["notes"] if "memory" in note]
    assert len(notes) == len(groups)
    assert all(f": {frames} at most" in note for frames, note in zip(groups, notes, strict=True)), notes
    assert notes[-1] in caplog.text


def test_where_memory_runs_out_half_of_the_frames_are_tried_next(pack, prompts, small):
    """Five frames of three rows do not fit in nine: three do, at the first try."""
    model, rows = small(9)
    levels = "0.1, 0.3, 0.5, 0.7, 0.9"
    _, report, *_ = pack.strip(model, *prompts, latent(), levels=levels, steps=2, schedule=pack.schedule())
    assert rows == [-15, 9, 6, 9, 6]
    assert any(": 3 at most" in note for note in report["notes"])


def test_memory_that_is_not_enough_for_one_frame_is_the_hosts_error(pack, prompts, small):
    model, rows = small(2)
    with pytest.raises(comfy.model_management.OOM_EXCEPTION, match="this is a test"):
        pack.strip(model, *prompts, latent(), schedule=pack.schedule(context=0.2))
    assert min(rows) == -9 and rows[-1] == -3


def test_another_error_of_the_model_is_not_taken_for_want_of_memory(pack, prompts):
    model = unet_model()
    calls = []

    def broken(*args, **kwargs):
        calls.append(1)
        raise RuntimeError("the model is broken")

    model.model.diffusion_model.forward = broken
    with pytest.raises(RuntimeError, match="broken"):
        pack.strip(model, *prompts, latent(), levels="0.25, 0.5, 0.75", schedule=pack.schedule())
    assert len(calls) == 1


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", ["", "0.5", "0, 2", "0, x", "0.5, 0.5", None])
def test_levels_that_are_none(pack, eps, prompts, levels):
    refused("levels", pack.strip, eps, *prompts, latent(), levels=levels)


def test_a_missing_vae_is_named_before_anything_runs(pack, eps, prompts):
    with count_rows(eps) as seen:
        refused("vae", pack.strip, eps, *prompts, latent(), vae=None)
    assert not seen.rows


def test_latents_that_are_no_pictures(pack, eps, prompts):
    refused("latent_image", pack.strip, eps, *prompts, {"samples": torch.zeros(1, 4, 8)})


def test_fails_closed_as_the_sampler_does(pack, eps, prompts, unknown_sampler):
    positive, safe, negative = prompts
    peak = pack.schedule(((0.0, 0.0), (0.49, 0.0), (0.495, 1.0), (0.5, 0.0), (1.0, 0.0)))
    poisoned = entries(safe, {})
    poisoned[0][0] = poisoned[0][0].clone()
    poisoned[0][0][0, 3, 1] = math.nan
    early = entries(safe, {"start_percent": 0.0, "end_percent": 0.1})
    for sampler_name in ("dpmpp_2m", "euler"):
        options = {"sampler_name": sampler_name, "levels": "0, 0.5"}
        refused("curve", pack.strip, eps, *prompts, latent(), steps=4, schedule=peak, **options)
        refused("safe", pack.strip, eps, positive, [], negative, latent(), **options)
        refused("safe", pack.strip, eps, positive, poisoned, negative, latent(), **options)
        refused(
            "safe", pack.strip, eps, positive, early, negative, latent(), schedule=pack.schedule(context=0.5), **options
        )
        refused("mask", pack.strip, eps, *prompts, latent(), mask=torch.zeros(1, 64, 64), **options)
        refused("schedule", pack.strip, eps, *prompts, latent(), schedule={"points": []}, **options)


def test_a_curve_that_is_zero_in_this_part_of_the_run_is_refused_before_it(pack, eps, prompts):
    early = pack.schedule(((0.0, 1.0), (0.3, 1.0), (0.31, 0.0), (1.0, 0.0)))
    for sample in (pack.ksampler, pack.strip):
        with count_rows(eps) as seen:
            refused("curve", sample, eps, *prompts, latent(seed=3), denoise=0.3, schedule=early)
        assert not seen.rows


def test_a_run_that_was_never_guided_is_an_error(pack, eps, prompts, monkeypatch):
    """Whatever kept the safe prompt out: here a host that finds it inactive at each step."""
    monkeypatch.setattr(strip_run.FrameGroup, "_check_reach", lambda *_: None)
    early = entries(prompts[1], {"start_percent": 0.0, "end_percent": 0.1})
    refused("safe", pack.strip, eps, prompts[0], early, prompts[2], latent(), schedule=pack.schedule(context=0.5))


def test_late_starts_are_guarded(pack, eps, prompts):
    for steps, sampler_name in ((1, "euler"), (2, "dpmpp_2m"), (4, "lcm"), (3, "dpm_fast")):
        plain = stock(eps, prompts[0], prompts[2], latent(), steps=steps, sampler_name=sampler_name)
        frames, report, *_ = pack.strip(
            eps,
            *prompts,
            latent(),
            steps=steps,
            sampler_name=sampler_name,
            levels="0, 0.2, 1",
            schedule=pack.schedule(context=1.0),
        )
        assert all(apart(frame[None], plain) > CLOSE for frame in frames[1:]), "unguarded"
        assert any("context lowered" in note for note in report["notes"])


def test_a_run_without_steps_changes_nothing(pack, eps, prompts):
    given = latent(seed=3)
    frames, report, *_ = pack.strip(eps, *prompts, given, denoise=0.0)
    assert torch.equal(frames, torch.cat([given["samples"]] * 5))
    assert "no step" in report["notes"][-1] and report["rows"] == 0


def test_the_report_is_in_the_history_too(pack, eps, prompts):
    node = pack.nodes["SafelightStrip"]()
    settings = {**SETTINGS, "levels": "0, 1", "vae": PlainVAE()}
    out = node.sample(eps, prompts[0], prompts[1], prompts[2], latent_image=latent(), **settings)
    assert json.loads(out["ui"]["safelight_report"][0])["levels"] == [0.0, 1.0]
    assert out["ui"]["safelight_report"][0] == out["result"][3]
