"""What a model's answers depend on beside the inputs of a call: its weights, its patches and its options.

Objects are told apart by identity, and never kept alive: one that is gone is never taken for another.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.digest import digest_of

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_OF_A_CALL = frozenset({"cond_or_uncond", "uuids", "sigmas"})  # among the transformer's options
_OF_A_PATCHER = ("patches_uuid", "object_patches", "injections", "callbacks", "forced_hooks")  # as far as a host has it

_numbers = itertools.count()
_known: dict[int, tuple[weakref.ref[Any], int]] = {}  # by id


def state_of(patcher: ModelPatcher) -> bytes:
    """A digest of what a whole run has, once the model is loaded."""
    model = patcher.model
    carried = {name: getattr(patcher, name, None) for name in _OF_A_PATCHER}
    return digest_of([model, model.model_sampling, carried, _replaced(model)], number_of)


def options_of(transformer_options: dict[str, Any]) -> bytes:
    """A digest of a call's options."""
    return digest_of({name: each for name, each in transformer_options.items() if name not in _OF_A_CALL}, number_of)


def number_of(thing: Any) -> int:
    """The object's number, which no other one gets; a new one each time where the object can't be watched."""
    place, known = id(thing), _known.get(id(thing))
    if known is not None:
        return known[1]
    number = next(_numbers)
    try:
        _known[place] = weakref.ref(thing, lambda _: _known.pop(place, None)), number  # before its id can be another's
    except TypeError:
        return number
    return number


def _replaced(model: torch.nn.Module) -> list[Any]:
    """What was put into single modules: some packs replace a forward without telling the host."""
    found: list[Any] = []
    for name, module in model.named_modules():
        own = {key: value for key, value in vars(module).items() if key.startswith("forward")}
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if own or hooks:
            found.append([name, own, hooks])
    return found
