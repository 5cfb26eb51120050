"""Patches around a model's calls or its guidance: they may keep things from call to call, which belong to one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_HOOKS = (
    "sampler_cfg_function",
    "sampler_pre_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
    "model_function_wrapper",
)


def has_call_patch(model: ModelPatcher) -> bool:
    """Whether the model carries a step cache, a wrapper, or a hook of its calls or its guidance."""
    options = model.model_options
    cached = options.get("transformer_options", {}).get("easycache") is not None
    carried = options.get("transformer_options", {})  # where packs put wrappers without the patcher's own list
    kinds = (getattr(model, "wrappers", {}), carried.get("wrappers", {}), carried.get("callbacks", {}))
    wrapped = any(functions for each in kinds for keyed in each.values() for functions in keyed.values())
    return cached or wrapped or any(options.get(name) for name in _HOOKS)
