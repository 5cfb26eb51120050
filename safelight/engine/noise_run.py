"""Runs of the methods that take a direction from the written prompt's noise (safelight/noise_guidance.py).

In one batched call: written, negative and one conditioning for each unsafe text. The written prediction changes, and
the host's own classifier-free guidance and hooks go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from safelight.guidance.blend import inherit
from safelight.guidance.noise_guidance import NoiseGuidance, steered, step_of, to_noise
from safelight.guidance.schedule import WeightSchedule
from safelight.views.trace import Trace
from safelight.engine.branches import Entries, any_active, branch, covered, marked, written_pair
from safelight.engine.encoder import encode_prompt
from safelight.engine.cond_batch import StepCaches, drops_negative, evaluate, guide, stock
from nodes.inputs import Guidance, check_clip, check_width
from safelight.engine.run_plan import RunPlan, plan_run
from safelight.engine.run_record import RunRecord
from safelight.engine.guider import Conditioning

# What stands for the negative where a guider has none.
_EMPTY = "safelight empty"
_WARM_UP = "warm-up"


class NoiseSteering:
    """A noise guidance method with its settings.

    method: makes it anew, once a run. name: of the node, for messages. texts: the unsafe texts, encoded here with clip.
    Raises ValueError, naming the input `texts_called`, where a text can't be encoded.
    """

    def __init__(self, name: str, method: Callable[[], NoiseGuidance], clip: Any, texts: Sequence[str],
                 texts_called: str, strength: float, trace: Trace) -> None:  # fmt: skip
        check_clip(clip)
        self.name, self.method, self.strength, self.trace = name, method, strength, trace
        self.texts_called = texts_called
        self.own = {f"safelight unsafe {i}": self._encode(clip, text) for i, text in enumerate(texts)}
        self.own[_EMPTY] = encode_prompt(clip, "")

    def _encode(self, clip: Any, text: str) -> Conditioning:
        conditioning = encode_prompt(clip, text)
        for states, extras, *_ in conditioning:
            for tensor in (states, extras.get("pooled_output")):
                if isinstance(tensor, torch.Tensor) and not bool(torch.isfinite(tensor).all()):
                    raise ValueError(f"{self.texts_called}: the text encoder returned values that are not finite for "
                                     f"{text!r}; use another text or another text encoder (CLIP).")  # fmt: skip
        return conditioning

    def conditionings(self, written: Conditioning) -> dict[str, Conditioning]:
        check_width(self.own[_EMPTY], written)
        # Models ask for "positive" or "negative"; the host would call these entries by their key.
        return {name: [[entry[0], {"prompt_type": "positive", **entry[1]}, *entry[2:]]
                       for entry in inherit(conditioning, written)]
                for name, conditioning in self.own.items()}  # fmt: skip

    def begin(self, patcher: Any, sampler: Any, sigmas: torch.Tensor, full: torch.Tensor | None,
              record: RunRecord) -> NoiseRun:  # fmt: skip
        method = self.method()
        schedule = WeightSchedule(((0.0, 1.0), (1.0, 1.0)), context=method.warm_up)
        plan = plan_run(Guidance(1.0, schedule), patcher, sampler, sigmas, full, _WARM_UP)
        record.plan(plan)
        return NoiseRun(method, plan, self.strength, record, self.trace, [name for name in self.own if name != _EMPTY])


class NoiseRun:
    """One run of a guider. The plan's weight is 1 from the end of the method's warm-up on, else 0."""

    def __init__(self, method: NoiseGuidance, plan: RunPlan, strength: float, record: RunRecord, trace: Trace,
                 unsafe: list[str]) -> None:  # fmt: skip
        self.method, self.plan, self.strength, self.unsafe = method, plan, strength, unsafe
        self.record, self.trace = record, trace
        self._caches = StepCaches()

    def handed(self, conds: dict[str, Entries]) -> dict[str, Entries]:
        if conds.get("negative") is not None:
            conds = {key: entries for key, entries in conds.items() if key != _EMPTY}
        return marked(conds)

    def predict(self, guider: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any],
                seed: int | None = None) -> torch.Tensor:  # fmt: skip
        conds, sigma = guider.conds, float(timestep[0])
        progress, strength = self.plan.progress(sigma), self.strength * self.plan.weight(sigma)
        written, negative = written_pair(conds)
        unsafe = [branch(conds, name) for name in self.unsafe]
        base = branch(conds, _EMPTY) if negative is None else negative
        there = all(any_active(entries, timestep[0]) for entries in (written, base, *unsafe))
        if not there or (strength == 0.0 and not self.method.remembers):
            self._begin_call("written", guider, sigma, progress, 0.0, model_options)
            denoised = stock(guider, (written, negative), x, timestep, model_options, seed)
            self.trace.written(sigma, progress, denoised)
            return denoised

        self._begin_call("all", guider, sigma, progress, strength, model_options)
        dropped = negative is None or drops_negative(guider.cfg, model_options)
        denoised_p, denoised_0, *denoised_n = evaluate(
            guider.inner_model, [written, base, *unsafe], x, timestep, model_options, self.record,
            plain=(0,) if dropped else (0, 1))  # fmt: skip
        gamma = self.method.direction(
            to_noise(x, denoised_0, timestep), to_noise(x, denoised_p, timestep),
            [to_noise(x, denoised, timestep) for denoised in denoised_n], step_of(sigma, self.plan.sigmas))  # fmt: skip
        denoised = denoised_p
        if strength > 0.0:
            denoised = steered(denoised_p, gamma, timestep, strength)
            # Where areas and masks leave a text out, its prediction says nothing.
            for entries in (written, base, *unsafe):
                reach = covered(entries, x, timestep)
                denoised = denoised if reach is None else torch.where(reach, denoised, denoised_p)
        change = guider.cfg * (denoised - denoised_p) if strength > 0.0 else None
        self.trace.add(sigma, progress, change, strength)
        # As a stock run has it: no negative, and zeros for its prediction.
        pair = (written, None) if dropped else (written, negative)
        return guide(guider, pair, denoised, torch.zeros_like(x) if dropped else denoised_0, x, timestep, model_options)

    def check_guided(self) -> None:
        if self.plan.ends_in_picture and not self.record.guided:
            raise ValueError("model: the guidance never acted in this run (the prompt's timestep range, a cache of "
                             "another node or the sampler left out every guided step), so the picture is not guided. "
                             "Widen the range, or use more steps.")  # fmt: skip

    def _begin_call(self, branches: str, guider: Any, sigma: float, progress: float, strength: float,
                    model_options: dict[str, Any]) -> None:  # fmt: skip
        self._caches.expect(branches, guider.inner_model, model_options)
        self.record.call(sigma, progress, strength)
