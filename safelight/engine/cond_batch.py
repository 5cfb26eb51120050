"""The batching of cond, uncond and safe: one call of the model with more conditionings than a stock run has.

The first two conditionings are a stock run's, cond and uncond; the others' rows are shown to patches of other packs,
which index rows by 0 and 1, as conditional ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch

from safelight.engine.branches import CondEntries, CondPair
from safelight.engine.host import renew_step_cache
from safelight.engine.run_record import RunRecord

if TYPE_CHECKING:
    from comfy.model_base import BaseModel


@dataclass(frozen=True)
class ModelCall:
    """One call of a guider: the arguments of CFGGuider.predict_noise.

    x: noisy latents [B, C, ...]. sigma: noise level, [B].
    """

    guider: comfy.samplers.CFGGuider
    x: torch.Tensor
    sigma: torch.Tensor
    model_options: dict[str, Any]
    seed: int | None

    @cached_property
    def level(self) -> float:
        """The noise level as a number."""
        return float(self.sigma[0])

    @property
    def model(self) -> BaseModel:
        return self.guider.inner_model

    @property
    def drops_negative(self) -> bool:
        """Whether a stock run leaves out the negative conditioning, as the host does at CFG 1."""
        return math.isclose(self.guider.cfg, 1.0) and not self.model_options.get("disable_cfg1_optimization", False)


class StepCaches:
    """Keeps the host's step cache from answering for conditionings that it has not seen, over one run."""

    def __init__(self) -> None:
        self._conds: tuple[str, ...] = ()

    def expect(self, conds: tuple[str, ...], call: ModelCall) -> None:
        """The next call of the model is with these conditionings."""
        if self._conds not in ((), conds):
            renew_step_cache(call.model, call.model_options)
        self._conds = conds


def predict_stock(call: ModelCall, pair: CondPair) -> torch.Tensor:
    """The host's own guided prediction for a pair of conditionings: rows, indices and bits are a stock run's."""
    guider, conds = call.guider, call.guider.conds
    guider.conds = {**conds, "positive": pair[0], "negative": pair[1]}
    try:
        return comfy.samplers.CFGGuider.predict_noise(guider, call.x, call.sigma, call.model_options, call.seed)
    finally:
        guider.conds = conds


def calc_denoised(
    call: ModelCall, conds: Sequence[CondEntries | None], record: RunRecord, plain: Collection[int] = (0, 1)
) -> list[torch.Tensor]:
    """Denoised predictions of [cond, uncond, others ...], in one call of the host's batching.

    None for a conditioning gives zeros, as with the host. plain: which of them a stock run would evaluate as well; the
    rows of the others are noted as extra.
    """
    replaced = call.model_options.get("sampler_calc_cond_batch_function")
    if replaced is not None:
        return _calc_by_pairs(replaced, call, conds, record)
    previous = call.model_options.get("model_function_wrapper")

    def shown_as_pair(apply_model: Callable[..., torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
        # The host's own list, by which it sorts the results, stays as it is.
        given = args["cond_or_uncond"]
        record.extra_rows += args["input"].shape[0] // len(given) * sum(index not in plain for index in given)
        shown = [0 if index > 1 else index for index in given]
        c = dict(args["c"])
        c["transformer_options"] = {**c.get("transformer_options", {}), "cond_or_uncond": shown[:]}
        if previous is None:
            return apply_model(args["input"], args["timestep"], **c)
        return previous(apply_model, {**args, "c": c, "cond_or_uncond": shown})

    options = {**call.model_options, "model_function_wrapper": shown_as_pair}
    return comfy.samplers.calc_cond_batch(call.model, list(conds), call.x, call.sigma, options)


def _calc_by_pairs(
    replaced: Callable[[dict[str, Any]], Sequence[torch.Tensor]],
    call: ModelCall,
    conds: Sequence[CondEntries | None],
    record: RunRecord,
) -> list[torch.Tensor]:
    """Evaluation by another pack's function for a (cond, uncond) pair: it gets pairs here too."""

    def pair(cond: CondEntries | None, uncond: CondEntries | None) -> Sequence[torch.Tensor]:
        return replaced(
            {
                "conds": [cond, uncond],
                "input": call.x,
                "sigma": call.sigma,
                "model": call.model,
                "model_options": call.model_options,
            }
        )

    first, rows = pair(conds[0], conds[1]), record.rows
    others = [pair(cond, None)[0] for cond in conds[2:]]
    record.extra_rows += record.rows - rows
    return [first[0], first[1], *others]


def apply_cfg(
    call: ModelCall, pair: CondPair, denoised_cond: torch.Tensor, denoised_uncond: torch.Tensor
) -> torch.Tensor:
    """The host's work after a call: pre-CFG hooks, classifier-free guidance, post-CFG hooks.

    pair: the conditionings that hooks are shown.
    """
    cfg, denoised = call.guider.cfg, [denoised_cond, denoised_uncond]
    for hook in call.model_options.get("sampler_pre_cfg_function", []):
        denoised = hook(
            {
                "conds": list(pair),
                "conds_out": denoised,
                "cond_scale": cfg,
                "timestep": call.sigma,
                "input": call.x,
                "sigma": call.sigma,
                "model": call.model,
                "model_options": call.model_options,
            }
        )
    return comfy.samplers.cfg_function(
        call.model,
        denoised[0],
        denoised[1],
        cfg,
        call.x,
        call.sigma,
        model_options=call.model_options,
        cond=pair[0],
        uncond=pair[1],
    )
