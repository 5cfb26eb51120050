"""The Safe Adapter of ForceForget (arXiv 2606.14351): separate key and value projections for the last text tokens.

In every cross-attention the text states c are split. The last k tokens of a prompt, which carry the least of its
meaning, go through separate projections W', and the others through the model's W with a low-rank addition:

    K = W c + strength * delta(c),    delta(c) = (W' - W) c on the last k tokens, up down c on the others

and V likewise. As an addition it leaves the model's weights as they are and vanishes at strength 0. W' is stored as its
difference from W, which is zero before training. The source gives k = 4 and says that the other tokens go through a
LoRA. We do not know the LoRA's rank and layers; here it is on the same projections.

The parameters are a flat dictionary, as in safetensors: LAYER.own (W' - W), LAYER.down and LAYER.up, where LAYER is a
projection's name in the network, such as "middle_block.1.transformer_blocks.0.attn2.to_k".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

TAIL = 4  # number of tokens with separate projections, as published
CHUNK = 77  # tokens in a prompt as CLIP's encoders pad it
RANK = 4
ENDINGS = ("attn2.to_k", "attn2.to_v")  # how the projections' names end

_PARTS = ("own", "down", "up")


@dataclass(frozen=True)
class Projection:
    """The addition to one projection. difference: W' - W, [out, in]; down: [rank, in]; up: [out, rank]."""

    difference: torch.Tensor
    down: torch.Tensor
    up: torch.Tensor

    @property
    def widths(self) -> tuple[int, int]:
        """(in, out)"""
        return self.difference.shape[1], self.difference.shape[0]

    def to(self, like: torch.Tensor) -> Projection:
        """The same on the device and in the dtype of `like`."""
        return Projection(*(part.to(like) for part in (self.difference, self.down, self.up)))

    def delta(self, states: torch.Tensor, tail: int = TAIL, chunk: int = CHUNK) -> torch.Tensor:
        """The addition for text states [..., L, in], as [..., L, out].

        In a sequence of whole chunks each chunk has a tail at its end. So every chunk of a long prompt is treated as
        in training, and repeating a short prompt, as hosts do to batch it with a longer one, changes nothing. Any
        other sequence has one tail, its last tokens.
        """
        length = states.shape[-2]
        size = chunk if length % chunk == 0 else length
        parts = states.unflatten(-2, (length // size, size))
        rest, end = parts.split([size - min(tail, size), min(tail, size)], dim=-2)
        added = torch.cat([F.linear(F.linear(rest, self.down), self.up), F.linear(end, self.difference)], dim=-2)
        return added.flatten(-3, -2)


def start(widths: Mapping[str, tuple[int, int]], rank: int = RANK, seed: int = 0) -> dict[str, torch.Tensor]:
    """Parameters that add nothing yet, for layers of these (in, out) widths; `down` is drawn from the seed."""
    draw = torch.Generator().manual_seed(seed)
    parameters = {}
    for layer, (inner, outer) in widths.items():
        parameters[f"{layer}.own"] = torch.zeros(outer, inner)
        parameters[f"{layer}.down"] = torch.randn(rank, inner, generator=draw) / inner**0.5
        parameters[f"{layer}.up"] = torch.zeros(outer, rank)
    return parameters


def projections(parameters: Mapping[str, torch.Tensor]) -> dict[str, Projection]:
    """The additions by layer. Raises ValueError, naming the layer, where parts are missing or don't fit together.

    What to do about it is for the caller to say, who knows where the parameters come from.
    """
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in parameters.items():
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = tensor
    additions = {}
    for layer, parts in layers.items():
        if set(parts) != set(_PARTS) or not layer.endswith(ENDINGS):
            raise ValueError(
                f"{layer or name}: expected {', '.join(_PARTS)} of a layer that ends in {' or '.join(ENDINGS)}, got "
                f"{', '.join(sorted(parts))}"
            )
        one = Projection(*(parts[part] for part in _PARTS))
        fits = all(part.ndim == 2 for part in parts.values()) and (
            one.down.shape[1],
            one.up.shape[0],
            one.up.shape[1],
        ) == (*one.widths, one.down.shape[0])
        if not fits:
            shapes = ", ".join(f"{part} {list(parts[part].shape)}" for part in _PARTS)
            raise ValueError(f"{layer}: expected own [out, in], down [rank, in] and up [out, rank], got {shapes}")
        additions[layer] = one
    if not additions:
        raise ValueError("adapter: expected at least one projection, got none")
    return additions
