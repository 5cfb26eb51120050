"""A MODEL with a trained Safe Adapter on its cross-attentions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from safelight.edits import safe_adapter
from safelight.edits.edit_file import Edit
from safelight.engine import host
from safelight.engine.row_forwards import RowForward, put_forward

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

KIND = "adapter"
_NETWORK = "diffusion_model."


class Adapted(RowForward):
    """A projection's forward with the adapter's addition. It holds no weights of the model.

    weights: the parts of a Projection, which the host moves between devices.
    """

    def __init__(
        self,
        forward: Callable[..., torch.Tensor],
        weights: torch.nn.ParameterList,
        tail: int,
        chunk: int,
        strength: float,
    ) -> None:
        super().__init__(forward)
        self._weights, self._tail, self._chunk, self._strength = weights, tail, chunk, strength

    def __call__(self, states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        projected = self._forward(states, *args, **kwargs)
        added = safe_adapter.Projection(*self._weights).to(states).delta(states, self._tail, self._chunk)
        return projected + (self._strength * added).to(projected.dtype)


def adapted(model: ModelPatcher, edit: Edit, name: str, strength: float) -> ModelPatcher:
    """A clone of the model with the adapter on it. name: the file's, for errors."""
    settings = edit.settings
    tail, chunk = (
        settings.get(key, default) for key, default in (("tail", safe_adapter.TAIL), ("chunk", safe_adapter.CHUNK))
    )
    try:
        if any(not isinstance(number, int) or number < 1 for number in (tail, chunk)):
            raise ValueError(f"a tail of {tail!r} tokens in chunks of {chunk!r}")
        projections = safe_adapter.projections(edit.tensors)
    except ValueError as error:
        raise ValueError(
            f"file: expected a whole Safe Adapter, got {name} ({error}). Choose another file, or train the adapter "
            "again."
        ) from error
    _check_fit(model, projections, name, settings)
    patched = model.clone()
    weights = torch.nn.ModuleList()
    for layer, projection in projections.items():
        held = _held(projection, _dtype(model))
        weights.append(held)
        put_forward(
            patched, f"{_NETWORK}{layer}", partial(Adapted, weights=held, tail=tail, chunk=chunk, strength=strength)
        )
    host.add_weights(patched, weights)
    return patched


def _dtype(model: ModelPatcher) -> torch.dtype:
    """The dtype in which the model computes, or one that comes close."""
    dtype = getattr(model.model, "manual_cast_dtype", None) or model.model.get_dtype()
    return dtype if dtype.itemsize > 1 else torch.float16


def _held(projection: safe_adapter.Projection, dtype: torch.dtype) -> torch.nn.ParameterList:
    parts = (projection.difference, projection.down, projection.up)
    return torch.nn.ParameterList([torch.nn.Parameter(part.to(dtype), requires_grad=False) for part in parts])


def _check_fit(
    model: ModelPatcher, projections: dict[str, safe_adapter.Projection], name: str, settings: dict[str, Any]
) -> None:
    """Raises ValueError, naming file and model, unless the file has an addition for every projection of the model."""
    in_model = {
        layer: (module.in_features, module.out_features)
        for layer, module in model.model.diffusion_model.named_modules()
        if layer.endswith(safe_adapter.ENDINGS) and hasattr(module, "in_features")
    }
    in_file = {layer: projection.widths for layer, projection in projections.items()}
    if in_model == in_file:
        return
    family = type(getattr(model.model, "model_config", model.model)).__name__
    expected = f"the model that {name} was made for ({settings.get('model', 'another one')}, {_counted(in_file)})"
    if not in_model:
        raise ValueError(
            f"model: expected {expected}, got {family}, which has no cross-attentions with key and value projections "
            "of the text (attn2.to_k, attn2.to_v). Choose a model of that kind."
        )
    raise ValueError(
        f"model: expected {expected}, got {family} with {_counted(in_model)}. Choose the file that was made for this "
        "model, or the model that the file was made for."
    )


def _counted(widths: dict[str, tuple[int, int]]) -> str:
    texts = " and ".join(str(width) for width in sorted({inner for inner, _ in widths.values()}))
    return f"{len(widths)} projections of texts {texts} wide"
