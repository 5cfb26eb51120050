"""The predictions of a run for a detector that looks at them: the run's own, taken as they come, and further rows under
the detector's texts at the calls on which it looks. The run itself stays as it is, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from safelight.detect.run_predictions import NO_TEXT, RunPredictions
from safelight.engine.branches import CondEntries, branch
from safelight.engine.cond_batch import ModelCall, calc_denoised
from safelight.engine.draws import undone_draws
from safelight.engine.run_plan import RunPlan
from safelight.engine.run_record import RunRecord
from safelight.guidance.blend import NEGATIVE
from safelight.guidance.progress import noise_level_progress
from safelight.text.conditioning import Conditioning, as_branch, check_width
from safelight.text.inherit import same_prompt

LATE = 0.7  # progress; from here on the predictions tell no more of the picture than here


def text_branches(texts: Mapping[str, Conditioning], positive: Conditioning) -> dict[str, Conditioning]:
    """The detector's conditionings with what they inherit. Raises ValueError, naming clip, for another encoder's."""
    for conditioning in texts.values():
        check_width(conditioning, positive)
    return {name: as_branch(conditioning, positive) for name, conditioning in texts.items()}


class PredictionWatch:
    """Of one run. names: the detector's conditionings among the guider's. late: the predictions of the last look, from
    the first call at progress LATE on, or of the run's last step where that is before."""

    def __init__(self, names: list[str], plan: RunPlan, record: RunRecord) -> None:
        self.late: RunPredictions | None = None
        self._names, self._plan, self._record = names, plan, record
        starts = plan.step_call_sigmas
        self._late_sigma = next((sigma for sigma in starts if self._progress(sigma) >= LATE), starts[-1])
        self._has_uncond = False  # whether the negative prompt is no text
        self._call: ModelCall | None = None
        self._taken: dict[str, Any] = {}

    def start(self, conds: dict[str, CondEntries]) -> None:
        """The run begins with these conditionings, as the host converted them."""
        negative, no_text = (
            [[entry.get("cross_attn"), entry] for entry in conds.get(name) or ()] for name in (NEGATIVE, NO_TEXT)
        )
        self._has_uncond = same_prompt(negative, no_text)

    def taking(self, call: ModelCall) -> ModelCall:
        """The same call, whose predictions are kept for a look at it."""

        def take(args: dict[str, Any]) -> torch.Tensor:
            # Not all of it: the hooks among the options would hold this object, and with it the run.
            self._taken = {name: args[name] for name in ("uncond", "cond_denoised", "uncond_denoised")}
            return args["denoised"]

        self._call = replace(call, x=call.x.clone())
        hooks = [*call.model_options.get("sampler_post_cfg_function", []), take]
        return replace(call, model_options={**call.model_options, "sampler_post_cfg_function": hooks})

    def look_late(self) -> None:
        """After a call: keeps its predictions where it is the one to look at last."""
        if self.late is None and self._call is not None and self._call.level <= self._late_sigma:
            self.late = self.predictions(last=True)

    def predictions(self, last: bool = False) -> RunPredictions:
        """Of the call that was taken last, with a row for each text of the detector, noted as a look's."""
        assert self._call is not None
        call, rows = self._apart(self._call), self._record.asked_rows
        known = self._has_uncond and self._taken["uncond"] is not None
        names = [name for name in self._names if not (known and name == NO_TEXT)]
        first, *others = (branch(call.guider.conds, name) for name in names)
        extra_rows = self._record.extra_rows
        with undone_draws(call.x):
            first_denoised, _, *denoised = calc_denoised(call, [first, None, *others], self._record)
        self._record.note_look(rows, extra_rows)
        concepts = dict(zip(names, (first_denoised, *denoised), strict=True))
        uncond = self._taken["uncond_denoised"] if known else concepts[NO_TEXT]
        return RunPredictions(self._progress(call.level), last, self._taken["cond_denoised"], uncond, concepts)

    def _progress(self, sigma: float) -> float:
        return noise_level_progress(sigma, self._plan.percent_to_sigma)

    @staticmethod
    def _apart(call: ModelCall) -> ModelCall:
        """The call with a step cache of its own, if the host has one on the model."""
        options = call.model_options.get("transformer_options", {})
        cache = options.get("easycache")
        if cache is None:
            return call
        own = cache.clone().prepare_timesteps(call.model.model_sampling)
        return replace(call, model_options={**call.model_options, "transformer_options": {**options, "easycache": own}})
