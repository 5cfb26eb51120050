"""The Safe Adapter of ForceForget (arXiv 2606.14351): the last text tokens get key and value projections of their own.

In every cross-attention the text states c are split: the last k tokens of a prompt, which carry the least of what it
says, go through projections W' of their own, the others through the model's W with a low-rank addition:

    K = W c + strength * delta(c),    delta(c) = (W' - W) c on the last k tokens, up down c on the others

and V likewise. An addition leaves the model's weights as they are, at strength 0 nothing is left of it, and W' is
written down as its difference to W, zero before training. The source gives k = 4 and says that the rest goes through
a LoRA; the LoRA's rank and places are not known to us: here it is on the same projections.

The parameters are a flat dictionary, as safetensors holds it: LAYER.own, LAYER.down and LAYER.up, where LAYER is a
projection's name in the network, such as "middle_block.1.transformer_blocks.0.attn2.to_k".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

TAIL = 4  # tokens with projections of their own, as published
CHUNK = 77  # tokens of a prompt as CLIP's encoders pad it
RANK = 4
ENDINGS = ("attn2.to_k", "attn2.to_v")  # of the projections' names

_PARTS = ("own", "down", "up")


@dataclass(frozen=True)
class Projection:
    """What is added to one projection. own: W' - W, [out, in]; down: [rank, in]; up: [out, rank]."""

    own: torch.Tensor
    down: torch.Tensor
    up: torch.Tensor

    @property
    def widths(self) -> tuple[int, int]:
        """(in, out)"""
        return self.own.shape[1], self.own.shape[0]

    def to(self, like: torch.Tensor) -> Projection:
        """With the device and dtype of `like`."""
        return Projection(*(part.to(like) for part in (self.own, self.down, self.up)))

    def delta(self, states: torch.Tensor, tail: int = TAIL, chunk: int = CHUNK) -> torch.Tensor:
        """The addition for text states [..., L, in], as [..., L, out].

        A sequence of whole chunks is taken chunk by chunk: each ends in a tail of its own. So a long prompt is what
        its parts were trained as, and repeating a short one, as hosts do to batch it with a longer one, changes
        nothing. Any other sequence has one tail, its last tokens.
        """
        length = states.shape[-2]
        size = chunk if length % chunk == 0 else length
        parts = states.unflatten(-2, (length // size, size))
        rest, end = parts.split([size - min(tail, size), min(tail, size)], dim=-2)
        added = torch.cat([F.linear(F.linear(rest, self.down), self.up), F.linear(end, self.own)], dim=-2)
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
    """The additions by layer. Raises ValueError, naming the layer, where parts are missing or don't fit together."""
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in parameters.items():
        layer, _, part = name.rpartition(".")
        layers.setdefault(layer, {})[part] = tensor
    found = {}
    for layer, parts in layers.items():
        if set(parts) != set(_PARTS) or not layer.endswith(ENDINGS):
            raise ValueError(f"{layer or name}: no Safe Adapter has {', '.join(sorted(parts))} there.")
        one = Projection(**parts)
        fits = all(part.ndim == 2 for part in parts.values()) and (
            one.down.shape[1],
            one.up.shape[0],
            one.up.shape[1],
        ) == (*one.widths, one.down.shape[0])
        if not fits:
            shapes = ", ".join(f"{part} {list(parts[part].shape)}" for part in _PARTS)
            raise ValueError(f"{layer}: its parts do not fit together ({shapes}).")
        found[layer] = one
    if not found:
        raise ValueError("there is no projection in it.")
    return found
