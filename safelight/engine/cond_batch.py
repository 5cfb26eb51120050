"""Calls of the model with more conditionings than a stock run has, and what the host does after a call.

The first two conditionings are a stock run's, written and negative; the others' rows are shown to patches of other
packs, which index rows by 0 and 1, as conditional ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import comfy.samplers
import torch

from safelight.engine.branches import Entries
from safelight.engine.host import renew_step_cache
from safelight.engine.run_record import RunRecord

Pair = tuple[Entries, Entries | None]


class StepCaches:
    """Keeps the host's step cache from answering for branches that it has not seen, over one run."""

    def __init__(self) -> None:
        self._branches = ""

    def expect(self, branches: str, model: Any, model_options: dict[str, Any]) -> None:
        """The next call of the model is of these branches."""
        if self._branches not in ("", branches):
            renew_step_cache(model, model_options)
        self._branches = branches


def drops_negative(cfg: float, model_options: dict[str, Any]) -> bool:
    """Whether a stock run leaves out the negative conditioning, as the host does at CFG 1."""
    return math.isclose(cfg, 1.0) and not model_options.get("disable_cfg1_optimization", False)


def stock(guider: Any, pair: Pair, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any],
          seed: int | None) -> torch.Tensor:  # fmt: skip
    """The host's own prediction for a pair of conditionings: rows, indices and bits are a stock run's."""
    conds = guider.conds
    guider.conds = {**conds, "positive": pair[0], "negative": pair[1]}
    try:
        return comfy.samplers.CFGGuider.predict_noise(guider, x, timestep, model_options, seed)
    finally:
        guider.conds = conds


def evaluate(
    model: Any, conds: Sequence[Entries | None], x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any],
    record: RunRecord, plain: Collection[int] = (0, 1),
) -> list[torch.Tensor]:  # fmt: skip
    """Denoised predictions of [written, negative, others ...], in one call of the host's batching.

    None for a conditioning gives zeros, as with the host. plain: which of them a stock run would evaluate as well; the
    rows of the others are noted as extra.
    """
    replaced = model_options.get("sampler_calc_cond_batch_function")
    if replaced is not None:
        return _evaluate_by_pairs(replaced, model, conds, x, sigma, model_options, record)
    previous = model_options.get("model_function_wrapper")

    def shown_as_pair(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        # The host's own list, by which it sorts the results, stays as it is.
        given = args["cond_or_uncond"]
        record.extra_rows += args["input"].shape[0] // len(given) * sum(index not in plain for index in given)
        shown = [0 if index > 1 else index for index in given]
        c = dict(args["c"])
        c["transformer_options"] = {**c.get("transformer_options", {}), "cond_or_uncond": shown[:]}
        if previous is None:
            return apply_model(args["input"], args["timestep"], **c)
        return previous(apply_model, {**args, "c": c, "cond_or_uncond": shown})

    options = {**model_options, "model_function_wrapper": shown_as_pair}
    return comfy.samplers.calc_cond_batch(model, list(conds), x, sigma, options)


def _evaluate_by_pairs(
    replaced: Any, model: Any, conds: Sequence[Entries | None], x: torch.Tensor, sigma: torch.Tensor,
    model_options: dict[str, Any], record: RunRecord,
) -> list[torch.Tensor]:  # fmt: skip
    """Another pack's evaluation of a (cond, uncond) pair in the host's stead: it keeps getting pairs."""

    def pair(cond: Entries | None, uncond: Entries | None) -> Any:
        return replaced({"conds": [cond, uncond], "input": x, "sigma": sigma, "model": model,
                         "model_options": model_options})  # fmt: skip

    first, rows = pair(conds[0], conds[1]), record.rows
    others = [pair(cond, None)[0] for cond in conds[2:]]
    record.extra_rows += record.rows - rows
    return [first[0], first[1], *others]


def guide(guider: Any, pair: Pair, denoised: torch.Tensor, denoised_0: torch.Tensor, x: torch.Tensor,
          timestep: torch.Tensor, model_options: dict[str, Any]) -> torch.Tensor:  # fmt: skip
    """What the host does after a call: pre-CFG hooks, classifier-free guidance, post-CFG hooks.

    pair: the conditionings that hooks are shown; denoised, denoised_0: the conditional and the negative prediction.
    """
    model, cfg, out = guider.inner_model, guider.cfg, [denoised, denoised_0]
    for hook in model_options.get("sampler_pre_cfg_function", []):
        out = hook({"conds": list(pair), "conds_out": out, "cond_scale": cfg, "timestep": timestep, "input": x,
                    "sigma": timestep, "model": model, "model_options": model_options})  # fmt: skip
    return comfy.samplers.cfg_function(model, out[0], out[1], cfg, x, timestep, model_options=model_options,
                                       cond=pair[0], uncond=pair[1])  # fmt: skip
