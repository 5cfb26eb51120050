"""The batching of cond, uncond and safe: one call of the model with more conditionings than a stock run has.

Patches of other packs index rows by 0 and 1, as a stock run's are. So the others' rows are shown as conditional ones;
and where a patch may take one conditional row only, each of them is evaluated in a pair with the negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch

from safelight.engine.branches import CondEntries, CondPair
from safelight.engine.draws import undone_draws
from safelight.engine.host import renew_step_cache
from safelight.engine.run_record import RunRecord
from safelight.text.inherit import other_hooks

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
    # Not by CFGGuider.predict_noise, which other packs replace for their runs.
    return comfy.samplers.sampling_function(
        call.model,
        call.x,
        call.sigma,
        pair[1],
        pair[0],
        call.guider.cfg,
        model_options=call.model_options,
        seed=call.seed,
    )


def predict_aside(call: ModelCall, pair: CondPair, record: RunRecord) -> torch.Tensor:
    """As predict_stock, for a comparison: its rows are extra, and what is drawn later is as without it."""
    rows = record.asked_rows
    with undone_draws(call.x):
        denoised = predict_stock(call, pair)
    record.extra_rows += record.asked_rows - rows
    return denoised


def calc_denoised(
    call: ModelCall, conds: Sequence[CondEntries | None], record: RunRecord, plain: Collection[int] = (0, 1)
) -> list[torch.Tensor]:
    """Denoised predictions of [cond, uncond, others ...], in one call of the host's batching where that is possible.

    None for a conditioning gives zeros, as with the host. plain: which of them a stock run would evaluate as well; the
    rows of the others are noted as extra.
    """
    replaced = call.model_options.get("sampler_calc_cond_batch_function")
    if replaced is not None:
        return _calc_by_pairs(_replaced_pair(call, replaced), conds, record, plain, uncond_each=False)
    if rows_matter(call.guider, call.model_options, conds):
        return _calc_by_pairs(_host_pair(call), conds, record, plain, uncond_each=True)
    cond, uncond, *others = conds
    # The host evaluates a list from its end on, and a stock call has the negative's rows first.
    order, negative = [cond, *others, uncond], len(conds) - 1
    extra = {0: 0 not in plain, negative: 1 not in plain}
    previous = call.model_options.get("model_function_wrapper")

    def shown_as_pair(apply_model: Callable[..., torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
        # The host's own list, by which it sorts the results, stays as it is.
        given, before = args["cond_or_uncond"], record.asked_rows
        shown = [int(index == negative) for index in given]
        c = dict(args["c"])
        c["transformer_options"] = {**c.get("transformer_options", {}), "cond_or_uncond": shown[:]}
        if previous is None:
            return apply_model(args["input"], args["timestep"], **c)
        predicted = previous(apply_model, {**args, "c": c, "cond_or_uncond": shown})
        # Of the rows that were asked for: a memory may leave out those of pictures that are done.
        asked = record.asked_rows - before
        record.extra_rows += asked // len(given) * sum(extra.get(index, True) for index in given)
        return predicted

    options = {**call.model_options, "model_function_wrapper": shown_as_pair}
    first, *rest = comfy.samplers.calc_cond_batch(call.model, order, call.x, call.sigma, options)
    return [first, rest.pop(), *rest]


def rows_matter(
    guider: comfy.samplers.CFGGuider, model_options: dict[str, Any], conds: Iterable[CondEntries | None]
) -> bool:
    """Whether something may take the rows of a call for one positive prompt and one negative.

    Those are patches and hooks of the attention, which guide by one row from another or change some of the rows alone,
    and other packs' ControlNets and guiders: the former see the host's own list of rows, the latter may have replaced
    the network's forward for their run.
    """
    entries = [entry for entries in conds for entry in entries or ()]
    if any(_of_another_pack(control) for entry in entries for control in _controls(entry)) or _of_another_pack(guider):
        return True
    options = model_options.get("transformer_options", {})
    attention = any(name.startswith("attn") and not by_row(*each) for name, each in options.get("patches", {}).items())
    return attention or any(options.get("patches_replace", {}).values()) or _patched_or_hooked(guider, entries)


def may_bring_words(
    guider: comfy.samplers.CFGGuider, model_options: dict[str, Any], conds: Iterable[CondEntries | None]
) -> bool:
    """Whether a patch or a hook may bring words of its own to the attention that reads the prompts."""
    options = model_options.get("transformer_options", {})
    patches, replaced = options.get("patches", {}).get("attn2_patch", ()), options.get("patches_replace", {})
    crossed = not by_row(*patches) or bool(replaced.get("attn2"))
    return crossed or _patched_or_hooked(guider, [entry for entries in conds for entry in entries or ()])


def _patched_or_hooked(guider: comfy.samplers.CFGGuider, entries: CondEntries) -> bool:
    """Whether the network has another pack's forward in it, or an entry a hook that is more than weights."""
    forwards = (
        patch
        for key, patch in getattr(guider.model_patcher, "object_patches", {}).items()
        if key.startswith("diffusion_model.") and key.rpartition(".")[2].startswith("forward")
    )
    return any(map(other_hooks, entries)) or not by_row(*forwards)


def by_row(*patches: Any) -> bool:
    """Whether all of them say that every row of a call is for itself and no words take the place of the prompt's."""
    return all(getattr(patch, "by_row", False) for patch in patches)


def _of_another_pack(thing: Any) -> bool:
    return type(thing).__module__.partition(".")[0] not in ("comfy", "comfy_extras", "safelight")


def _controls(entry: dict[str, Any]) -> Iterator[Any]:
    """The entry's chain of ControlNets."""
    control = entry.get("control")
    while control is not None:
        yield control
        control = getattr(control, "previous_controlnet", None)


Pair = Callable[[CondEntries | None, CondEntries | None], Sequence[torch.Tensor]]


def _replaced_pair(call: ModelCall, replaced: Callable[[dict[str, Any]], Sequence[torch.Tensor]]) -> Pair:
    """Evaluation by another pack's function for a (cond, uncond) pair."""
    args = {"input": call.x, "sigma": call.sigma, "model": call.model, "model_options": call.model_options}
    return _with_same_draws(call, lambda cond, uncond: replaced({"conds": [cond, uncond], **args}))


def _host_pair(call: ModelCall) -> Pair:
    """Evaluation of a pair as in a stock call."""
    calc = comfy.samplers.calc_cond_batch
    args = (call.x, call.sigma, call.model_options)
    return _with_same_draws(call, lambda cond, uncond: calc(call.model, [cond, uncond], *args))


def _with_same_draws(call: ModelCall, pair: Pair) -> Pair:
    """The same evaluation, each time with the same random draws, as patches may draw."""
    cpu = torch.random.get_rng_state()
    on_cuda = call.x.device.type == "cuda"
    cuda = torch.cuda.get_rng_state(call.x.device) if on_cuda else None

    def evaluate(cond: CondEntries | None, uncond: CondEntries | None) -> Sequence[torch.Tensor]:
        torch.random.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, call.x.device)
        return pair(cond, uncond)

    return evaluate


def _calc_by_pairs(
    pair: Pair,
    conds: Sequence[CondEntries | None],
    record: RunRecord,
    plain: Collection[int],
    *,
    uncond_each: bool,
) -> list[torch.Tensor]:
    """Predictions of [cond, uncond, others ...] pair by pair. uncond_each: whether each pair has the negative in it."""
    cond, uncond, *others = conds
    before = record.asked_rows
    first, rows = pair(cond, uncond), record.asked_rows
    if uncond is not None:
        record.extra_rows += (rows - before) * (2 - len(plain)) // 2
    further = [pair(other, uncond if uncond_each else None)[0] for other in others]
    record.extra_rows += record.asked_rows - rows
    return [first[0], first[1], *further]


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
