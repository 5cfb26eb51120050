"""Low-rank additions to a model's attention layers, to train and to save as a LoRA of the common format."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import comfy.lora
import torch
import torch.nn.functional as F

from safelight.engine.row_forwards import RowForward, put_forward

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

NETWORK = "diffusion_model."
CROSS, SELF = "cross", "self"  # what attends to the text, and to the picture; joint attention does both

_OF_TEXT = frozenset({"attn2", "cross_attn", "cross_attention", "crossattn"})
_FUSED = "qkv"  # queries, keys and values of the same tokens
_SINGLE = ("linear1", "linear2")  # Flux's single blocks have the projections in these

Weights = dict[str, tuple[torch.Tensor, torch.Tensor]]  # down [rank, in] and up [out, rank], by layer


def attention_layers(model: ModelPatcher, which: str) -> list[str]:
    """The names, in the diffusion model, of the linear layers of one kind of attention that a LoRA can name.

    Where the model has no cross-attention, as models with joint attention, both kinds are all attention layers. Raises
    ValueError, naming the model, where it has none.
    """
    names = lora_names(model)
    layers = [
        name
        for name, module in model.model.diffusion_model.named_modules()
        if _is_attention(name) and hasattr(module, "in_features") and f"{NETWORK}{name}.weight" in names
    ]
    fused = {name.rpartition(".")[0] for name in layers if name.rpartition(".")[2].startswith(_FUSED)}
    cross = [name for name in layers if _OF_TEXT & {*name.split(".")} and not any(name.startswith(f) for f in fused)]
    of_kind = (cross or layers) if which == CROSS else [name for name in layers if name not in set(cross)]
    if not of_kind:
        raise ValueError(
            f"model: expected a model with attention layers, got {type(model.model).__name__}, which has none that "
            "Safelight knows. Use another model."
        )
    return of_kind


def _is_attention(name: str) -> bool:
    parts = name.split(".")
    named = any("attn" in part or "attention" in part for part in parts)
    return named or (parts[0] == "single_blocks" and parts[-1] in _SINGLE)


def lora_names(model: ModelPatcher) -> dict[str, str]:
    """By the key of a weight its name in a LoRA. The host reads several; its last is what other programs read too."""
    known = comfy.lora.model_lora_keys_unet(model.model, {})
    return {key: name for name, key in known.items() if isinstance(key, str) and name.startswith("lora_unet_")}


class LowRank(RowForward):
    """A linear layer's forward with an addition: up @ down @ x.

    watched: the outputs of the last call, where they are asked for.
    """

    def __init__(self, name: str, adapters: Adapters, forward: Callable[..., torch.Tensor]) -> None:
        super().__init__(forward)
        self.name, self._adapters = name, adapters

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        y, active = self._forward(x, *args, **kwargs), self._adapters.active
        if active is not None:
            down, up = (part.to(device=x.device, dtype=x.dtype) for part in active[self.name])
            y = y + F.linear(F.linear(x, down), up).to(y.dtype)
        if self._adapters.watched is not None:
            self._adapters.watched[self.name] = y
        return y


class Adapters:
    """The additions to some layers of a model: the student's, with gradients, and their running mean.

    active: those that act just now, None for the model before training.
    """

    def __init__(self, model: ModelPatcher, layers: list[str], rank: int, generator: torch.Generator) -> None:
        self.model, self.rank = model, rank
        self.student: Weights = {}
        self.mean: Weights = {}
        self.active: Weights | None = None
        self.watched: dict[str, torch.Tensor] | None = None
        network = dict(model.model.diffusion_model.named_modules())
        for layer in layers:
            wide, tall = network[layer].in_features, network[layer].out_features
            down = torch.randn(min(rank, wide, tall), wide, generator=generator) / math.sqrt(wide)
            parts = [part.to(model.load_device) for part in (down, torch.zeros(tall, len(down)))]
            self.student[layer] = (parts[0].requires_grad_(), parts[1].requires_grad_())
            self.mean[layer] = (parts[0].detach().clone(), parts[1].detach().clone())

    def attach(self, patched: ModelPatcher) -> None:
        """Puts them on a clone of the model."""
        for layer in self.student:
            put_forward(patched, f"{NETWORK}{layer}", partial(LowRank, layer, self))

    def parameters(self) -> list[torch.Tensor]:
        return [part for both in self.student.values() for part in both]

    def means(self) -> list[torch.Tensor]:
        return [part for both in self.mean.values() for part in both]

    @contextmanager
    def using(self, weights: Weights | None) -> Iterator[None]:
        """These act in the block."""
        before, self.active = self.active, weights
        try:
            yield
        finally:
            self.active = before

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Moves the running mean towards the student."""
        for mean, now in zip(self.means(), self.parameters(), strict=True):
            mean.lerp_(now.detach(), 1 - decay)

    def lora(self, weights: Weights) -> dict[str, torch.Tensor]:
        """As a LoRA file has them, in half precision."""
        names, tensors = lora_names(self.model), {}
        for layer, (down, up) in weights.items():
            name = names[f"{NETWORK}{layer}.weight"]
            tensors[f"{name}.lora_down.weight"] = down.detach().half().cpu().contiguous()
            tensors[f"{name}.lora_up.weight"] = up.detach().half().cpu().contiguous()
            tensors[f"{name}.alpha"] = torch.tensor(float(len(down)))
        return tensors
