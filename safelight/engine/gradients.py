"""Gradients through the host's networks, which are written for inference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from safelight.engine import host
from safelight.engine.row_forwards import RowForward

_LISTS = (torch.nn.ModuleList, torch.nn.Sequential)
_NORMS = {function for name in ("layer_norm", "group_norm", "rms_norm") if (function := getattr(F, name, None))}


class _CopiesForNorms(TorchFunctionMode):
    """Norms see a copy of the sum that they are of: the host's blocks add to that sum in place afterwards, and autograd
    needs what the norm saw."""

    def __torch_function__(
        self, function: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _NORMS and args and args[0].requires_grad:
            args = (args[0].clone(), *args[1:])
        return function(*args, **(kwargs or {}))


@contextmanager
def trainable_host() -> Iterator[None]:
    """The host's executor runs nodes in inference mode. In the block gradients are possible, where enable_gradients
    is."""
    with torch.inference_mode(False), torch.no_grad(), host.in_training():
        yield


@contextmanager
def enable_gradients() -> Iterator[None]:
    with torch.enable_grad(), _CopiesForNorms():
        yield


def as_normal(value: Any) -> Any:
    """The value with copies of its tensors, which may be saved for a backward pass even if they were made in inference
    mode."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: as_normal(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(as_normal(each) for each in value)
    return value


def make_weights_normal(network: torch.nn.Module) -> None:
    """Weights that were loaded in inference mode can't take part in a backward pass. Others of the same memory take
    their places, which make no difference to inference."""
    for module in network.modules():
        for name, weight in [*module._parameters.items(), *module._buffers.items()]:
            if weight is None or not weight.is_inference():
                continue
            is_plain = type(weight) in (torch.Tensor, torch.nn.Parameter)
            normal = _of_same_memory(weight) if is_plain else weight.clone()
            if name in module._parameters:
                module._parameters[name] = torch.nn.Parameter(normal, requires_grad=False)
            else:
                module._buffers[name] = normal


def _of_same_memory(tensor: torch.Tensor) -> torch.Tensor:
    other = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return other.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


def blocks_of(network: torch.nn.Module, name: str = "") -> Iterator[str]:
    """The names of the blocks in the network's lists, such as residual and transformer blocks."""
    for part, child in network.named_children():
        place = f"{name}.{part}" if name else part
        if isinstance(child, _LISTS):
            yield from blocks_of(child, place)
        elif isinstance(network, _LISTS):
            yield place


class Checkpointed(RowForward):
    """A block's forward that is computed again in the backward pass, so that nothing inside is kept (gradient
    checkpointing, arXiv 1604.06174).

    trains: whether there is something inside that is trained; else it matters only where its inputs have gradients.
    """

    def __init__(self, trains: bool, forward: Callable[..., Any]) -> None:
        super().__init__(forward)
        self._trains = trains

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # What the host passes along changes from block to block, and the backward pass has to see what this one saw.
        given: list[Any] = [dict(each) if isinstance(each, dict) else each for each in (*args, *kwargs.values())]
        places = [i for i, each in enumerate(given) if isinstance(each, torch.Tensor)]
        needed = self._trains or any(given[i].requires_grad for i in places)
        if not needed or not torch.is_grad_enabled():
            return self._forward(*args, **kwargs)

        def run(_: torch.Tensor, *tensors: torch.Tensor) -> Any:
            inputs = list(given)
            for i, tensor in zip(places, tensors, strict=True):
                inputs[i] = tensor.clone()  # the block may add to it in place
            values = dict(zip(kwargs, inputs[len(args) :], strict=True))
            with _CopiesForNorms():  # anew, since the backward pass may be another thread's
                return self._forward(*inputs[: len(args)], **values)

        # Without an input that has a gradient the block's output would have none.
        dummy = torch.zeros((), requires_grad=True)
        tensors = [given[i] for i in places]
        return checkpoint(run, dummy, *tensors, use_reentrant=True, preserve_rng_state=False)
