"""The node of Safelight Model Presence: it calibrates a model once for its concepts, and keeps that."""

from __future__ import annotations

import comfy.model_management
import pytest
import tiny_encoders
import torch
from host import SETTINGS, call, count_rows
from safelight_pack import PlainVAE
from tiny_models import conditioning, latent

from safelight.detect.run_predictions import NO_TEXT
from safelight.engine import kept_presence, presence_calibration
from safelight.engine.presence_detector import PROMPTS


@pytest.fixture
def made(pack, eps, kept):
    """A call of the node, and how many rows that took."""
    clip = tiny_encoders.fitting_clip()

    def make(**changes):
        given = {"model": eps, "clip": clip, "latent_image": latent(), "cfg": 5.0, "concepts": "a knife, blood"}
        given |= {"false_alarms": 0.1, **changes}
        with count_rows(given["model"]) as rows:
            (detector,) = call(pack.nodes["SafelightModelPresence"], **given)
        return detector, sum(rows.rows)

    return make


def test_a_model_is_calibrated_once_for_the_same_concepts(made, kept):
    detector, rows = made()
    looks, steps = len(presence_calibration.LOOKS), len(presence_calibration.STEPS)
    assert rows == PROMPTS * (2 * steps + 2 * looks) and "a knife, blood" in detector.name
    (file,) = kept.glob("*.safetensors")
    again, rows = made()
    assert rows == 0 and torch.equal(again._thresholds, detector._thresholds)
    loose, rows = made(false_alarms=0.3)
    assert rows == 0 and (loose._thresholds < detector._thresholds).all()
    for changes in ({"cfg": 1.0}, {"concepts": "a knife"}, {"latent_image": latent(size=16)}):
        assert made(**changes)[1] > 0 and made(**changes)[1] == 0
    file.write_bytes(b"")
    assert made()[1] > 0


def test_the_size_of_the_latent_counts_and_not_what_it_holds(made):
    made()
    assert made(latent_image=latent(batch=3, seed=5))[1] == 0


def test_at_cfg_1_the_negative_is_evaluated_where_it_looks_alone(made):
    assert made(cfg=1.0)[1] == PROMPTS * (8 + 3 * 3)


def test_one_prompt_at_a_time_gives_the_same(made, kept, monkeypatch):
    together = made()[0]._thresholds
    for file in kept.glob("*"):
        file.unlink()
    monkeypatch.setattr(presence_calibration, "AT_ONCE", 1)
    assert torch.allclose(made()[0]._thresholds, together, atol=1e-3)


def test_every_harmless_picture_has_a_noise_of_its_own(eps):
    clip = tiny_encoders.fitting_clip()
    texts = {NO_TEXT: conditioning(50), "c 0": conditioning(51)}
    calibrated = presence_calibration.calibrate(eps, clip, ["a cat"] * 5, texts, latent()["samples"], 5.0)
    assert calibrated.values.shape == (3, 5, 1) and len({round(float(p), 5) for p in calibrated.values[0, :, 0]}) == 5


def test_what_has_no_print_is_calibrated_each_time(made, eps, kept):
    patched = eps.clone()
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"])
    assert made(model=patched)[1] == made(model=patched)[1] > 0 and not kept.exists()
    lora = eps.clone()
    name = next(name for name in eps.model.state_dict() if name.endswith("to_k.weight"))
    assert lora.add_patches({name: (torch.ones(eps.model.state_dict()[name].shape),)}, 0.1, 1.0)
    assert kept_presence.fingerprint(lora, tiny_encoders.fitting_clip(), ["a"], ["b"]) is None


def test_other_weights_are_another_model(eps):
    clip = tiny_encoders.fitting_clip()
    before = kept_presence.fingerprint(eps, clip, ["a"], ["b"])
    name, weight = next((n, w) for n, w in eps.model.named_parameters() if n.endswith("to_k.weight"))
    old = weight.clone()
    try:
        with torch.no_grad():
            weight.mul_(1.01)
        assert before is not None and kept_presence.fingerprint(eps, clip, ["a"], ["b"]) != before, name
    finally:
        with torch.no_grad():
            weight.copy_(old)
    assert kept_presence.fingerprint(eps, clip, ["a"], ["b"]) == before


def test_it_looks_at_a_run_with_the_nodes_own_encoder(made, pack, eps, prompts):
    detector, _ = made(cfg=5.0)
    given = {**SETTINGS, "steps": 10, "safety": 1.0, "risk": 0.0, "detector": detector, "vae": PlainVAE()}
    samples, report = pack.reported(eps, *prompts, latent(), **given)
    assert report["look"]["look_rows"] % 3 == 0 and torch.isfinite(samples).all()
    for one in report["look"]["pictures"][0]["looks"]:
        assert 0.0 < one["score"] < 1.0


def test_a_calibration_can_be_interrupted(made, kept):
    comfy.model_management.interrupt_current_processing(True)
    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  its class has another place and base on each host
            made()
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert type(caught.value).__name__ == "InterruptProcessingException" and not kept.exists()


def test_its_progress_is_shown(made, monkeypatch):
    told = []

    class Bar:
        def __init__(self, total):
            self.total = total

        def update(self, count):
            told.append((count, self.total))

    monkeypatch.setattr(presence_calibration.comfy.utils, "ProgressBar", Bar)
    made()
    assert sum(count for count, _ in told) == PROMPTS * 8 == told[0][1]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"concepts": " , "}, "concepts: expected what to look for"),
        ({"clip": None}, "clip: expected"),
        ({"latent_image": None}, "latent_image: expected"),
        ({"false_alarms": 0.0}, "false_alarms"),
    ],
)
def test_wrong_inputs_are_named(made, changes, what):
    with pytest.raises(ValueError, match=what):
        made(**changes)


def test_a_missing_model_is_named(pack):
    given = {"clip": None, "latent_image": latent(), "cfg": 5.0}
    with pytest.raises(ValueError, match="model: expected"):
        call(pack.nodes["SafelightModelPresence"], model=None, **given)


def test_finished_pictures_are_refused_by_look(pack, made):
    with pytest.raises(ValueError, match="Link it to Safelight KSampler"):
        call(pack.nodes["SafelightLook"], images=torch.zeros(1, 8, 8, 3), detector=made()[0])
