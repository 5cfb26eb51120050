"""What the artist's model predicts for a concept while it draws harmless prompts: a short run of each, up to the place
of the last look, with rows under the concepts' texts at three places on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import torch

from safelight.detect.presence import Calibration, presence
from safelight.detect.run_predictions import NO_TEXT
from safelight.engine.cond_batch import ModelCall, apply_cfg, calc_denoised
from safelight.engine.encoder import encode_prompt
from safelight.engine.run_record import RunRecord
from safelight.text.conditioning import Conditioning, as_branch, together

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

STEPS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # progress at the start of each
LOOKS = (0.3, 0.5, 0.7)
AT_ONCE = 4  # prompts


def calibrate(
    model: ModelPatcher,
    clip: CLIP,
    prompts: Sequence[str],
    conditionings: Mapping[str, Conditioning],
    samples: torch.Tensor,
    cfg: float,
) -> Calibration:
    """p of the prompts, in the order of the conditionings. These: of the concepts, and that of NO_TEXT.

    samples: an empty latent of one picture, of the size that counts.
    """
    sampling = model.get_model_object("model_sampling")
    levels = [float(sampling.sigma_max), *(float(sampling.percent_to_sigma(place)) for place in (*STEPS[1:], 0.8))]
    bar, values = comfy.utils.ProgressBar(len(prompts) * len(STEPS)), []
    encoded = [encode_prompt(clip, prompt) for prompt in prompts]
    for some in _batches(encoded):
        guider = _CalibrationGuider(model, list(conditionings), bar)
        positive = together([encoded[i] for i in some])
        texts = {name: as_branch(each, positive) for name, each in conditionings.items()}
        guider.inner_set_conds({"positive": positive, **texts})
        guider.set_cfg(cfg)
        noise = torch.cat([comfy.sample.prepare_noise(samples, i) for i in some])
        sampler = comfy.samplers.sampler_object("euler")
        guider.sample(noise, torch.cat([samples] * len(some)), sampler, torch.tensor(levels), disable_pbar=True, seed=0)
        values.append(torch.stack(guider.values))
    return Calibration(LOOKS, torch.cat(values, dim=1))


class _CalibrationGuider(comfy.samplers.CFGGuider):
    """values: at each look p, [prompts, concepts]."""

    def __init__(self, model: ModelPatcher, names: list[str], bar: comfy.utils.ProgressBar) -> None:
        super().__init__(model)
        self.names = [NO_TEXT, *(name for name in names if name != NO_TEXT)]
        self.values: list[torch.Tensor] = []
        self._calls, self._bar = 0, bar

    def predict_noise(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        model_options: dict[str, Any] = {},  # noqa: B006  (the host's signature)
        seed: int | None = None,
    ) -> torch.Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        call = ModelCall(self, x, timestep, model_options, seed)
        looks = STEPS[self._calls] in LOOKS
        no_text, *concepts = (self.conds[name] for name in self.names)
        negative = no_text if looks or not call.drops_negative else None
        conds = [self.conds["positive"], negative, *(concepts if looks else ())]
        cond, uncond, *others = calc_denoised(call, conds, RunRecord())
        if looks:
            self.values.append(torch.stack([presence(cond, uncond, other) for other in others], dim=1).cpu())
        self._calls += 1
        self._bar.update(len(x))
        if call.drops_negative:
            negative, uncond = None, torch.zeros_like(x)
        return apply_cfg(call, (self.conds["positive"], negative), cond, uncond)


def _batches(encoded: Sequence[Conditioning]) -> list[list[int]]:
    """The conditionings that can go together, a few at once, in their order."""
    batches: list[list[int]] = []
    for i, conditioning in enumerate(encoded):
        last = batches[-1] if batches else []
        if last and len(last) < AT_ONCE and _form(conditioning) == _form(encoded[last[0]]) is not None:
            last.append(i)
        else:
            batches.append([i])
    return batches


def _form(conditioning: Conditioning) -> object:
    """What has to be the same in conditionings that go together; None for one that has to be alone."""
    states, extras = conditioning[0][:2]
    rows = {"": states, **extras}
    alike = all(each is None or (isinstance(each, torch.Tensor) and each.shape[:1] == (1,)) for each in rows.values())
    if len(conditioning) != 1 or not alike:
        return None
    return {name: None if each is None else each.shape for name, each in rows.items()}
