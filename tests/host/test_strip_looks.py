"""A strip with a detector: what was found at each level, and the least that passes."""

from __future__ import annotations

import json

import comfy.model_management
import comfy.utils
import pytest
import torch
from host import SETTINGS, call, count_rows
from safelight_pack import PlainVAE
from test_fail_closed import refused
from test_look_then_steer import CLEAR, SEEN, Script
from tiny_models import latent

from safelight.views import contact_sheet


@pytest.fixture
def looked(pack, eps, prompts):
    """SafelightStrip's outputs with a detector that says these scores: (strip, frames, samples, report, passed)."""

    def sample(*scores, detector=None, **settings):
        positive, safe, negative = prompts
        given = {**SETTINGS, "levels": "0.5, 0, 1", "vae": PlainVAE(), "latent_image": latent(), **settings}
        script = Script(*scores) if detector is None else detector
        given = {"model": eps, "positive": positive, "safe": safe, "negative": negative, **given}
        strip, frames, samples, report, passed = call(pack.nodes["SafelightStrip"], **given, detector=script)
        return strip, frames, samples["samples"], json.loads(report), passed

    return sample


def test_every_frame_is_looked_at_and_the_least_level_that_passes_is_told(pack, eps, prompts, looked):
    levels = {"levels": "0.5, 0, 1"}
    with count_rows(eps) as plain:
        expected, without, strip, frames = pack.strip(eps, *prompts, latent(), **levels)
    script = Script(CLEAR, SEEN, CLEAR)
    with count_rows(eps) as seen:
        marked, pictures, samples, report, passed = looked(detector=script)
    assert seen == plain and torch.equal(samples, expected) and torch.equal(pictures, frames)
    assert passed is True and torch.equal(torch.stack(script.shown), frames)
    assert "look" not in without and marked.shape[1] > strip.shape[1] and marked.shape[2] == strip.shape[2]
    corners = [marked[0, 20, x] for x in (4, 24, 44)]  # of the captions, under the levels' numbers
    inks = [torch.tensor(ink) for ink in (contact_sheet.INK, contact_sheet.PAPER, contact_sheet.PAPER)]
    assert all(torch.allclose(corner, ink) for corner, ink in zip(corners, inks, strict=True)), "the least is marked"
    (picture,) = report["look"]["pictures"]
    assert report["look"]["passed"] is True and report["look"]["detector"] == "the script"
    assert picture["safety"] == 0.5 and picture["passed"] is True
    assert [(one["safety"], one["score"], one["words"]) for one in picture["looks"]] == [
        (0.0, SEEN, "a thing"),
        (0.5, CLEAR, "nothing"),
        (1.0, CLEAR, "nothing"),
    ]
    assert report["notes"][-1] == "a thing in the picture at safety 0; at safety 0.5 nothing was found."


def test_a_strip_passes_where_every_picture_has_a_level_that_does(looked):
    two = {"latent_image": latent(batch=2)}
    *_, report, passed = looked(SEEN, CLEAR, SEEN, SEEN, CLEAR, CLEAR, **two)  # by level: .5, 0, 1
    assert passed is True and [one["safety"] for one in report["look"]["pictures"]] == [1.0, 0.5]
    *_, report, passed = looked(SEEN, CLEAR, SEEN, SEEN, SEEN, CLEAR, **two)
    assert passed is False and [one["passed"] for one in report["look"]["pictures"]] == [False, True]
    assert report["look"]["pictures"][0]["safety"] == 1.0


def test_behind_a_closed_gate_a_strip_looks_too(looked):
    *_, report, passed = looked(SEEN, SEEN, SEEN, risk=0.1)
    assert passed is False and report["rows"] * 3 == report["plain_rows"] and report["notes"][-1].endswith("pass.")


def test_without_a_detector_no_strip_passes(pack, eps, prompts):
    given = {**SETTINGS, "levels": "0, 1", "vae": PlainVAE(), "latent_image": latent(), "model": eps}
    positive, safe, negative = prompts
    given |= {"positive": positive, "safe": safe, "negative": negative}
    assert call(pack.nodes["SafelightStrip"], **given)[4] is False
    refused("detector", call, pack.nodes["SafelightStrip"], **given, detector="nudenet")


def test_looking_at_a_strip_has_a_bar_and_can_be_interrupted(looked, monkeypatch):
    updates = []
    monkeypatch.setattr(comfy.utils.ProgressBar, "update", lambda self, value: updates.append((self.total, value)))
    looked(*[CLEAR] * 9, levels="0, .1, .2, .3, .4, .5, .6, .7, .8")
    assert updates[-2:] == [(9, 8), (9, 1)]

    class Stop(Script):
        def _look(self, pictures):
            comfy.model_management.interrupt_current_processing(True)
            return super()._look(pictures)

    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  its base is another one on each host
            looked(detector=Stop(*[CLEAR] * 3))
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert type(caught.value).__name__ == "InterruptProcessingException"
