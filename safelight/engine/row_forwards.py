"""Another forward for a layer or a block, of which the memory of predictions knows whether every row is for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class RowForward:
    """A forward that changes each row of a call for itself.

    by_row: whether what it is around does so too, as it does unless another pack's patch stood there before.
    """

    by_row = True

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward


def put_forward(model: ModelPatcher, layer: str, around: Callable[[Callable[..., Any]], RowForward]) -> None:
    """Puts around(the layer's forward) in its place, on a clone of the model that is the caller's own."""
    place = f"{layer}.forward"
    before = model.object_patches.get(place)
    changed = around(model.get_model_object(place))
    changed.by_row = getattr(before, "by_row", before is None)
    model.add_object_patch(place, changed)
