"""Safelight Model Presence: the texts encoded, and the model calibrated for them or its calibration read from disk."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import torch

from safelight.detect.presence import ModelPresence
from safelight.detect.run_predictions import NO_TEXT
from safelight.engine import host, kept_presence
from safelight.engine.encoder import check_clip, encode_prompt, everyday_phrases, known_phrases
from safelight.engine.presence_calibration import LOOKS, STEPS, calibrate
from safelight.text.anchors import FEW_BENIGN, everyday
from safelight.text.concepts import split_concepts

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

PROMPTS = 32  # harmless ones
_numbers = count()  # of detectors, several of which may be combined


def presence_detector(
    model: ModelPatcher, clip: CLIP, latent: dict[str, Any], cfg: float, concepts: str, false_alarms: float
) -> ModelPresence:
    """latent: LATENT, whose size the calibration takes. cfg: as in the sampler.

    The concepts of which the encoder knows no word are left out; the detector's name has the others.
    Raises ValueError, naming the input, for no concepts, or a model that can't be calibrated.
    """
    check_clip(clip)
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError(
            "concepts: expected what to look for, got an empty list. Name it, separated by commas, or link Safelight "
            "Concepts."
        )
    if not isinstance(latent["samples"], torch.Tensor):
        raise ValueError("latent_image: expected the latent of a picture or a video, got another one. Link one.")
    number = next(_numbers)
    texts = {f"safelight concept {number} {i}": text for i, text in enumerate(known_phrases(clip, phrases, "concepts"))}
    conditionings = {NO_TEXT: encode_prompt(clip, ""), **{name: encode_prompt(clip, texts[name]) for name in texts}}
    empty = {**latent, "samples": torch.zeros_like(latent["samples"][:1])}
    samples = host.fix_empty_latent(model, empty)
    prompts = _harmless(clip, list(texts.values()))
    settings = [*samples.shape], cfg, STEPS, LOOKS
    key = kept_presence.fingerprint(model, clip, prompts, list(texts.values()), *settings)
    calibration = None if key is None else kept_presence.load(key)
    if calibration is None:
        calibration = calibrate(model, clip, prompts, conditionings, samples, cfg)
        if key is not None:
            kept_presence.save(key, calibration)
    return ModelPresence(texts, conditionings, calibration, false_alarms)


def _harmless(clip: CLIP, concepts: list[str]) -> list[str]:
    """The prompts to calibrate with."""
    prompts = everyday_phrases(clip, everyday(concepts, FEW_BENIGN))
    return [prompts[i * len(prompts) // PROMPTS] for i in range(PROMPTS)] if len(prompts) > PROMPTS else prompts
