"""Rows of a model's evaluation answered from memory: below classifier-free guidance, so that every sampler and every
guidance function sees what it would have seen.

A row is known where its latent, its noise level and its conditioning are the same bit for bit. A call is answered where
all of its rows are, else all are evaluated: the last bits of a row depend on how many share its call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.branches import CondEntries
from safelight.engine.cond_batch import rows_matter
from safelight.guidance.prediction_memory import PredictionMemory

if TYPE_CHECKING:
    import comfy.samplers
    from comfy.model_patcher import ModelPatcher

Inner = Callable[[Callable[..., torch.Tensor], dict[str, Any]], torch.Tensor]  # a model_function_wrapper
_HOOKS = (
    "sampler_cfg_function",
    "sampler_pre_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
    "model_function_wrapper",
)
_MOST_CONDS = 64


class RowMemory:
    """The memory of one node's loop over a model. answered: rows so far.

    needed: of the pictures of the batch, in turn, those whose rows are needed; the others' get zeros.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.needed: list[bool] = []
        self._memory = PredictionMemory()
        self._conds: list[dict[str, torch.Tensor]] = []  # distinct conditionings of a row
        self._generation = 0  # of their numbers

    @property
    def full(self) -> bool:
        """Whether there was no room for some rows."""
        return self._memory.full

    def before(self, inner: Inner) -> Inner:
        """A model_function_wrapper that asks `inner` for the rows that are not known."""

        def wrapper(apply_model: Callable[..., torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
            keys = self._keys(args)
            if keys is None:
                return inner(apply_model, args)
            x = args["input"]
            each = len(self.needed) or len(x)
            rows = [i for i in range(len(x)) if not self.needed or len(x) % each or self.needed[i % each]]
            known = [self._memory.ask(keys[i], x[i]) for i in rows]
            if None not in known:
                self.answered += len(rows)
                answers = [answer for answer in known if answer is not None]
            else:
                some = args if len(rows) == len(x) else _rows_of(args, rows)
                answers = list(inner(apply_model, some))
                for i, before, answer in zip(rows, known, answers, strict=True):
                    if before is None:
                        self._memory.keep(keys[i], x[i], answer)
            stacked = torch.stack(answers)
            if len(rows) == len(x):
                return stacked
            result = stacked.new_zeros((len(x), *stacked.shape[1:]))
            result[rows] = stacked
            return result

        return wrapper

    def _keys(self, args: dict[str, Any]) -> list[tuple[Any, ...]] | None:
        """What each row's answer depends on beside its latent; None where that can't be told."""
        rows, kinds = args["input"].shape[0], args["cond_or_uncond"]
        tensors = {name: value for name, value in args["c"].items() if name != "transformer_options"}
        if args["timestep"].shape != (rows,) or not all(
            isinstance(value, torch.Tensor) and value.shape[:1] == (rows,) for value in tensors.values()
        ):
            return None
        levels, each = args["timestep"].tolist(), rows // len(kinds)
        numbers = [self._number({name: value[i] for name, value in tensors.items()}) for i in range(rows)]
        return [(levels[i], kinds[i // each], *numbers[i]) for i in range(rows)]

    def _number(self, cond: dict[str, torch.Tensor]) -> tuple[int, int]:
        """What stands for a row's conditioning; a new one goes to the end of those that are known."""
        for number, known in enumerate(self._conds):
            if known.keys() == cond.keys() and all(_equal(known[name], value) for name, value in cond.items()):
                return self._generation, number
        if len(self._conds) == _MOST_CONDS:  # conditionings that change from call to call
            self._conds, self._generation = [], self._generation + 1
            self._memory.clear()
        self._conds.append({name: value.detach().clone() for name, value in cond.items()})
        return self._generation, len(self._conds) - 1


def why_forgetful(model: ModelPatcher, guider: comfy.samplers.CFGGuider, conds: dict[str, CondEntries]) -> str:
    """The reason why rows of this model can't be answered from memory; empty where they can.

    A patch may remember things from call to call, and ControlNets give what the memory does not see.
    """
    options = model.model_options
    caches = options.get("transformer_options", {}).get("easycache") is not None
    wrapped = any(functions for keyed in getattr(model, "wrappers", {}).values() for functions in keyed.values())
    if caches or wrapped or any(options.get(name) for name in _HOOKS) or rows_matter(guider, options, conds.values()):
        return "the model carries a patch around its calls, its guidance or its attention"
    entries = [entry for each in conds.values() for entry in each or ()]
    if any(entry.get("control") is not None or entry.get("hooks") is not None for entry in entries):
        return "a prompt brings a ControlNet or a hook"
    return ""


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)


def _rows_of(args: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """The same call with some of its rows, each of which is an entry of its own in the host's lists."""
    kinds = args["cond_or_uncond"]
    entries = [row // (args["input"].shape[0] // len(kinds)) for row in rows]
    options = dict(args["c"].get("transformer_options", {}))
    for name in ("cond_or_uncond", "uuids"):
        if len(options.get(name) or ()) == len(kinds):
            options[name] = [options[name][entry] for entry in entries]
    c = {name: value[rows] for name, value in args["c"].items() if name != "transformer_options"}
    return {
        **args,
        "input": args["input"][rows],
        "timestep": args["timestep"][rows],
        "c": {**c, "transformer_options": options} if "transformer_options" in args["c"] else c,
        "cond_or_uncond": [kinds[entry] for entry in entries],
    }
