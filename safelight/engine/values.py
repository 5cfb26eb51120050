"""A run whose cross-attentions take keys from the positive prompt and values from both (guidance/values.py).

The values' states go through the host's batching as one more kind of conditioning, beside the text that the keys are
made of, so that they are repeated, joined and remembered as that is; a patch for the one call puts them in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.branches import TAG, CondEntries, CondPair, positive_pair
from safelight.engine.cond_batch import ModelCall, predict_stock
from safelight.engine.edit_targets import crosses_texts
from safelight.engine.method_run import MethodRun
from safelight.engine.method_setup import MethodSetup, marked
from safelight.engine.shared_rows import AnyMemory
from safelight.guidance.blend import SAFE, blend
from safelight.guidance.economy import OFF
from safelight.guidance.method import POSITIVE
from safelight.guidance.settings import GuidanceSettings
from safelight.guidance.values import ValueBlend
from safelight.text.conditioning import Conditioning, check_safe, safe_branch
from safelight.text.inherit import HARMLESS, ROWS, other_hooks, same_places, unknown_keys

if TYPE_CHECKING:
    import comfy.samplers
    from comfy.model_patcher import ModelPatcher

_KEY = "safelight_values"  # of the values' states among the conditionings that the host gives the model
_PLACE = "safelight_place"  # of an entry in its branch, by which an entry of the prompt finds its safe counterpart
_TEXT, _CONTROL_TEXT = "c_crossattn", "crossattn_controlnet"


def values_setup(
    settings: GuidanceSettings, model: ModelPatcher, safe: Conditioning, memory: AnyMemory | None = None
) -> MethodSetup | None:
    """The run by values; None where the settings leave it to the stock sampler. safe: as the artist linked it.

    Raises ValueError, naming the input, for a model without cross-attention, and for what one stream can't follow.
    """
    if not settings.acts:
        return None
    check_values(settings, model)
    notes: list[str] = []

    def conditionings(positive: Conditioning) -> dict[str, Conditioning]:
        branch, further = paired(marked(safe, settings), positive)
        notes[:] = [*unknown_keys(safe, positive), *further]
        return {SAFE: branch}

    return MethodSetup(
        "Safelight", lambda: ValueBlend(settings), conditionings, notes=notes, memory=memory, run_type=ValuesRun
    )


def check_values(settings: GuidanceSettings, model: ModelPatcher) -> None:
    """Raises ValueError, naming the input, where merge = values can't be had."""
    if not crosses_texts(model):
        raise ValueError(
            "merge: expected a UNet with text cross-attention (SD1.x, SD2, SDXL) for values, got a "
            f'{type(model.model).__name__}. Set merge to "every step".'
        )
    for name, given in (("selective", settings.selective), ("mask", settings.mask)):
        if given is not None:
            raise ValueError(
                f"{name}: expected nothing with merge = values, where one prediction serves both prompts and there is "
                f'no second one to keep outside. Set merge to "every step", or unlink {name}.'
            )
    if settings.economy != OFF:
        raise ValueError(
            f'economy: expected "{OFF}" with merge = values, which evaluates no more than a stock run, got '
            f'"{settings.economy}". Switch it off, or set merge to "every step".'
        )


def paired(safe: Conditioning, positive: Conditioning) -> tuple[Conditioning, list[str]]:
    """The safe prompt, one entry for each of the positive one's, row for row; and notes on that.

    Raises ValueError, naming the input, where the two can't be paired.
    """
    check_safe(safe, positive)
    safe = list(safe) * (len(positive) if len(safe) == 1 else 1)
    if len(safe) != len(positive):
        raise ValueError(
            f"safe: expected one entry, or as many as positive has ({len(positive)}) with merge = values, got "
            f'{len(safe)}. Make both with the same nodes, or set merge to "every step".'
        )
    notes: list[str] = []
    branch = safe_branch(safe, positive)
    for entry, other in zip(branch, positive, strict=True):
        if not isinstance(other[0], torch.Tensor):
            raise ValueError(
                "positive: expected text in every entry with merge = values, got an entry without. Encode one, or set "
                'merge to "every step".'
            )
        if other[1].get("gligen") is not None or other_hooks(other[1]):
            raise ValueError(
                "positive: expected neither GLIGEN boxes nor hooks that may carry words with merge = values, got one. "
                'Set merge to "every step", or leave that node out.'
            )
        if not same_places(entry[1], other[1]):
            raise ValueError(
                "safe: expected the areas, masks and timestep ranges of positive with merge = values, got others. Give "
                'it none, so that it takes those of positive, or set merge to "every step".'
            )
        entry[0], known = in_rows(entry[0], other[0], entry[1].get(ROWS))
        if not known and not notes and not entry[1][HARMLESS]:
            notes.append(
                "safe: which of its words stands for which of the prompt's is known from Safelight Context Encode alone"
                ", so with merge = values its rows took those of the prompt in turn."
            )
    return branch, notes


def in_rows(safe: torch.Tensor, positive: torch.Tensor, rows: torch.Tensor | None) -> tuple[torch.Tensor, bool]:
    """The safe states [B, S, W] in the rows of the positive ones [B, T, W]: [B, T, W]; and whether `rows`, [B, T] or
    [1, T], told how.

    Raises ValueError, naming the input, where that is not known.
    """
    if rows is not None and rows.shape[-1] == positive.shape[1] and int(rows.max()) < safe.shape[1]:
        places = rows.to(safe.device).expand(len(safe), -1) if len(rows) in (1, len(safe)) else None
        if places is not None:
            return safe.gather(1, places[..., None].expand(-1, -1, safe.shape[-1])), True
    if safe.shape[1] != positive.shape[1]:
        raise ValueError(
            f"safe: expected as many rows of text as positive has with merge = values ({positive.shape[1]}), got "
            f'{safe.shape[1]}. Take both prompts from one Safelight Context Encode, or set merge to "every step".'
        )
    return safe, False


class ValuesRun(MethodRun):
    """One run by values."""

    _acted = False  # whether the last call came to a cross-attention, or was answered from memory

    def select_conds(self, conds: dict[str, CondEntries], guider: comfy.samplers.CFGGuider) -> dict[str, CondEntries]:
        selected = super().select_conds(conds, guider)
        for name in selected.keys() & {POSITIVE, SAFE}:
            selected[name] = [{**entry, _PLACE: place} for place, entry in enumerate(selected[name])]
        return selected

    def _weight_alone(self, call: ModelCall) -> float:
        return self._weight(call.level)

    def _predict_pair(self, call: ModelCall, name: str, pair: CondPair) -> torch.Tensor:
        if name != SAFE:
            return super()._predict_pair(call, name, pair)
        conds, patch, known = call.guider.conds, _Patch(), self.record.remembered_rows
        pair = with_values(positive_pair(conds), conds, self._weight(call.level))
        denoised = predict_stock(patch.around(call), pair)
        self._acted = patch.reached or self.record.remembered_rows > known
        return denoised

    def _note_replaced(self) -> None:
        self.record.movement.valued += self._acted


def with_values(pair: CondPair, conds: dict[str, CondEntries], weight: float) -> CondPair:
    """The pair of conditionings with the states that values are made of: the positive entries' by the weight their safe
    counterparts', all others' their own."""
    own = {entry[_PLACE]: entry for entry in conds[SAFE] if entry.get(TAG) == SAFE}
    counterparts = {
        id(entry["model_conds"][_TEXT]): own[entry[_PLACE]] for entry in conds[POSITIVE] if entry.get(TAG) == POSITIVE
    }

    def valued(entry: dict[str, Any]) -> dict[str, Any]:
        given = dict(entry["model_conds"])
        if _TEXT not in given:
            return entry
        other = counterparts.get(id(given[_TEXT]))
        if other is None:
            given[_KEY] = given[_TEXT]
        else:
            safe = other["model_conds"]
            given[_KEY] = _mixed(given[_TEXT], safe[_TEXT], weight)
            for name in given.keys() & safe.keys() - {_TEXT, _KEY}:
                given[name] = _mixed(given[name], safe[name], weight)
        if any_control:
            given[_CONTROL_TEXT] = given[_KEY] if other is not None else given.get(_CONTROL_TEXT, given[_TEXT])
        return {**entry, "model_conds": given}

    any_control = any(entry.get("control") is not None for each in pair for entry in each or ())
    positive, negative = pair
    return [valued(entry) for entry in positive], None if negative is None else [valued(entry) for entry in negative]


def _mixed(own: Any, safe: Any, weight: float) -> Any:
    """Of one kind of the host's conditionings (1 - weight) of one and `weight` of the other. What is no numbers is the
    same for both, since it is inherited."""
    a, b = getattr(own, "cond", None), getattr(safe, "cond", None)
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor) or not a.is_floating_point():
        return own
    if a.shape == b.shape and torch.equal(a, b):
        return own
    count = max(len(a), len(b))  # one row serves every picture of a batch
    a, b = (each if len(each) == count else each.expand(count, *each.shape[1:]) for each in (a, b))
    return type(own)(blend(a, b.to(a), weight))


class _Patch:
    """Puts the values' states into the cross-attentions of one call. reached: whether any was there."""

    def __init__(self) -> None:
        self.reached = False

    def around(self, call: ModelCall) -> ModelCall:
        previous = call.model_options.get("model_function_wrapper")

        def wrapper(apply_model: Callable[..., torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
            def patched(x: torch.Tensor, t: torch.Tensor, **c: Any) -> torch.Tensor:
                return apply_model(x, t, **self._in(c))

            if previous is None:
                return patched(args["input"], args["timestep"], **args["c"])
            return previous(patched, args)

        return replace(call, model_options={**call.model_options, "model_function_wrapper": wrapper})

    def _in(self, c: dict[str, Any]) -> dict[str, Any]:
        """The arguments of the model with the patch in place of the values' states."""
        values = c.pop(_KEY, None)
        if values is None:
            return c

        def attn2(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, extra_options: dict[str, Any]) -> Any:
            self.reached = True
            return q, k, values.to(v)

        options = dict(c.get("transformer_options", {}))
        patches = dict(options.get("patches", {}))
        # Before those of other packs, which find the values where a stock run has them.
        patches["attn2_patch"] = [attn2, *patches.get("attn2_patch", [])]
        return {**c, "transformer_options": {**options, "patches": patches}}
