"""p of harmless prompts on disk, so that a model is calibrated once for these concepts (calibration_files.py)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from safelight.detect.presence import Calibration
from safelight.engine import calibration_files, kept_spaces

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

FORMAT = "presence 1"
_PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)  # progress at which the noise schedule is compared


def fingerprint(
    model: ModelPatcher, clip: CLIP, prompts: Sequence[str], texts: Sequence[str], *settings: object
) -> str | None:
    """Of all that the calibration comes from. settings: numbers. None where something without a print is on the model
    or on the text encoder: a LoRA, another noise schedule, a patch or an option."""
    options = {name: value for name, value in model.model_options.items() if value}
    weights, encoder = calibration_files.weights_print(model, model.model, whole=False), kept_spaces.weights_print(clip)
    if options or weights is None or encoder is None:
        return None
    sampling = model.get_model_object("model_sampling")
    schedule = [round(float(sampling.percent_to_sigma(place)), 6) for place in _PLACES]
    of_clip = kept_spaces.fingerprint(clip, encoder, prompts, texts)
    return hashlib.sha256(json.dumps([FORMAT, weights, of_clip, schedule, *settings]).encode()).hexdigest()[:24]


def load(key: str) -> Calibration | None:
    """The calibration with this fingerprint; None where it is not on disk."""
    return calibration_files.read(key, _calibration)


def save(key: str, calibration: Calibration) -> None:
    calibration_files.write(key, {"presence": calibration.values}, {"progress": json.dumps([*calibration.progress])})


def _calibration(tensors: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> Calibration:
    return Calibration(json.loads(metadata["progress"]), tensors["presence"])
