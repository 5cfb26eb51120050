"""Calls of a model answered from memory: below classifier-free guidance, so that every sampler and every guidance
function sees what it would have seen.

A call is known as a whole: its rows with their noise levels and conditionings, the same bit for bit and in the same
order, and the same model. The last bits of a row depend on how many share its call, so a row of another call is no
answer, and a run with a memory is the run without it, bit for bit.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.branches import CondEntries
from safelight.engine.call_patches import has_call_patch
from safelight.engine.cond_batch import rows_matter
from safelight.engine.digest import UnknownValueError, digest_of
from safelight.engine.model_state import number_of, options_of, state_of
from safelight.engine.run_record import RunRecord
from safelight.guidance.prediction_memory import PredictionMemory

if TYPE_CHECKING:
    import comfy.samplers
    from comfy.model_patcher import ModelPatcher

Inner = Callable[[Callable[..., torch.Tensor], dict[str, Any]], torch.Tensor]  # a model_function_wrapper
_MOST_CONDS = 8  # distinct ones of a run; more are those of a model whose conditionings change from call to call

_between_runs = PredictionMemory()  # of all models together
_models: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()  # those whose end is watched


class RowMemory:
    """What the runs of a node remember.

    between_runs: whether they know what runs before have left, and leave what they have seen; else what is remembered
        ends with this object. scope: the same in words.
    needed: of the pictures of the batch, in turn, those whose rows are needed; the others may get zeros.
    full: whether there was no room for some rows.
    """

    def __init__(self, between_runs: bool = True) -> None:
        self.needed: list[bool] = []
        self.full = False
        self._own: set[bytes] = set()  # calls of this node's runs
        self.scope = "between runs" if between_runs else "within the run"
        self._memory = _between_runs if between_runs else PredictionMemory()

    def before(self, inner: Inner, patcher: ModelPatcher, record: RunRecord) -> Inner:
        """A model_function_wrapper that asks `inner` for the calls that are not known: one run of the model."""
        keys = _Keys(patcher)
        self._memory.begin(_watched(patcher.model))

        def known(key: bytes | None, x: torch.Tensor, rows: list[int]) -> torch.Tensor | None:
            answer = None if key is None else self._memory.ask(key)
            if answer is None:
                return None
            record.remembered_rows += len(rows)
            return answer.to(x.device, copy=True)

        def wrapper(apply_model: Callable[..., torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
            x, rows, key = args["input"], self._needed_rows(args), keys.key(args)
            # A whole call of a node's run before is none that this one would have made: its last bits differ.
            whole = len(rows) == len(x) or key in self._own
            answer = known(key, x, rows) if whole else None
            if answer is None and len(rows) < len(x):
                args = _rows_of(args, rows)
                key = keys.key(args)
                answer = known(key, x, rows)
            if key is not None:
                self._own.add(key)
            if answer is None:
                answer = inner(apply_model, args)
                if key is not None:
                    self.full |= not self._memory.keep(key, answer)
            if len(answer) == len(x):
                return answer
            result = answer.new_zeros((len(x), *answer.shape[1:]))
            result[rows] = answer
            return result

        return wrapper

    def _needed_rows(self, args: dict[str, Any]) -> list[int]:
        """All rows of a call that can't be cut."""
        x, each = args["input"], len(self.needed)
        tensors = [args["timestep"], *(value for name, value in args["c"].items() if name != "transformer_options")]
        cuttable = (
            each
            and len(x) == each * len(args["cond_or_uncond"])
            and all(isinstance(value, torch.Tensor) and value.shape[:1] == (len(x),) for value in tensors)
        )
        return [i for i in range(len(x)) if not cuttable or self.needed[i % each]]


class _Keys:
    """What stands for the calls of one run of a model."""

    def __init__(self, patcher: ModelPatcher) -> None:
        self._patcher = patcher
        self._state: bytes | None = None
        self._conds: list[tuple[dict[str, Any], bytes]] = []  # on the model's device, so that each is copied once

    def key(self, args: dict[str, Any]) -> bytes | None:
        """None where it can't be told what the call depends on."""
        cond = {name: value for name, value in args["c"].items() if name != "transformer_options"}
        if self._state is None:  # not before a call, since the host puts patches in when it loads the model
            self._state = state_of(self._patcher)
        options = options_of(args["c"].get("transformer_options", {}))
        try:
            inputs = self._cond(cond), args["cond_or_uncond"], args["timestep"], args["input"]
            return digest_of([self._state, options, *inputs])
        except UnknownValueError:
            return None

    def _cond(self, cond: dict[str, Any]) -> bytes:
        for known, digest in self._conds:
            if known.keys() == cond.keys() and all(_equal(known[name], value) for name, value in cond.items()):
                return digest
        digest = digest_of(cond)
        if all(isinstance(value, torch.Tensor) for value in cond.values()):
            kept = {name: value.detach().clone() for name, value in cond.items()}
            self._conds = [(kept, digest), *self._conds[: _MOST_CONDS - 1]]
        return digest


def why_forgetful(model: ModelPatcher, guider: comfy.samplers.CFGGuider, conds: dict[str, CondEntries]) -> str:
    """The reason why calls of this model can't be answered from memory; empty where they can.

    A patch may remember things from call to call, and ControlNets give what the memory does not see.
    """
    if has_call_patch(model) or rows_matter(guider, model.model_options, conds.values()):
        return "the model carries a patch around its calls, its guidance or its attention"
    if any(map(_changed_inside, model.model.modules())):
        return "a module of the model carries a hook, or another forward than its own"
    if getattr(model, "additional_models", {}).get("multigpu"):
        return "the model runs on several GPUs at once"
    patches = model.model_options.get("transformer_options", {}).get("patches", {})
    if not all(_of_the_host(patch) for each in patches.values() for patch in each):
        return "the model carries a patch of another pack inside its network"
    entries = [entry for each in conds.values() for entry in each or ()]
    if any(entry.get(name) is not None for entry in entries for name in ("control", "gligen", "hooks")):
        return "a prompt brings a ControlNet, GLIGEN boxes or a hook"
    return ""


def _changed_inside(module: torch.nn.Module) -> bool:
    """Whether a pack has put something into a module without telling the host, which may remember things."""
    forwards = ((name, value) for name, value in vars(module).items() if name.startswith("forward"))
    own = all(
        getattr(forward, "by_row", False) or getattr(forward, "__func__", None) is getattr(type(module), name, None)
        for name, forward in forwards
    )
    return bool(module._forward_hooks or module._forward_pre_hooks) or not own


def _of_the_host(patch: Any) -> bool:
    """The host's own patches keep nothing from call to call and draw no noise.

    By their file, since the host loads its nodes under names that a pack's may have too.
    """
    return "comfy_extras" in Path(getattr(getattr(patch, "__code__", None), "co_filename", "")).parts


def _watched(model: torch.nn.Module) -> int:
    """The model's number. What was remembered of it is forgotten when it is gone."""
    number = number_of(model)
    if model not in _models:
        _models.add(model)
        weakref.finalize(model, _between_runs.forget, number).atexit = False
    return number


def _equal(a: torch.Tensor, b: object) -> bool:
    """Bit for bit: 0 and -0 differ."""
    return (
        isinstance(b, torch.Tensor)
        and (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
        and torch.equal(*(each.contiguous().reshape(-1).view(torch.uint8) for each in (a, b)))
    )


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
