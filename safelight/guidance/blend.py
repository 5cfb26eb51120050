"""The merge of two predictions, and what the safe conditioning takes over from the written one."""

from __future__ import annotations

from typing import Any

import torch

# What describes the words of one prompt and so never passes to another: the extras of the hosts' text encoders
# (comfy/text_encoders, comfy/sd.py) and text nodes, and the host's own forms of an entry's text (the last line).
TEXT_KEYS = frozenset({
    "pooled_output", "attention_mask", "attention_mask_img_shape", "num_layers_stacked", "text_input_ids",
    "t5xxl_ids", "t5xxl_weights", "conditioning_llama3", "conditioning_mt5xl", "attention_mask_mt5xl",
    "conditioning_byt5small", "conditioning_lyrics", "audio_codes", "minimax_token_tags", "sam3_multi_cond",
    "unprocessed_ltxav_embeds", "reference_latents_text_embeds",
    "cross_attn", "model_conds", "uuid",
})  # fmt: skip


def blend(denoised_u: torch.Tensor, denoised_s: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """(1 - weight) * denoised_u + weight * denoised_s.

    denoised_u, denoised_s: predictions under the written and the safe conditioning, [B, C, ...], any number of
        dimensions.
    weight: a number in [0, 1], or a tensor that broadcasts against them, one value per latent cell.
    Exact at the ends: for weight 0 and 1 the very tensor comes back, and a cell of weight 0 or 1 keeps its bits. A
    weight tensor's NaN counts as 1.
    """
    if isinstance(weight, torch.Tensor):
        weight = weight.to(device=denoised_u.device, dtype=denoised_u.dtype)
        mixed = (1 - weight) * denoised_u + weight * denoised_s
        mixed = torch.where(weight <= 0, denoised_u, mixed)
        return torch.where(weight < 1, mixed, denoised_s)
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"safety: the weight is {weight}; it must lie between 0 and 1.")
    if weight == 0.0:
        return denoised_u
    if weight == 1.0:
        return denoised_s
    return (1 - weight) * denoised_u + weight * denoised_s


def cover(
    denoised_u: torch.Tensor,
    denoised_s: torch.Tensor,
    covered_u: torch.Tensor | None,
    covered_s: torch.Tensor | None,
    weight: float | torch.Tensor,
) -> torch.Tensor:
    """blend, except that a branch yields where its areas and masks leave a cell uncovered.

    covered_u, covered_s: boolean, broadcastable against the predictions; None means everywhere.
    Where only one branch covers a cell its prediction stands, whatever the weight; where neither does, the host's value
    of both (zero) is blended.
    """
    if covered_u is None and covered_s is None:
        return blend(denoised_u, denoised_s, weight)
    everywhere = torch.ones((), dtype=torch.bool, device=denoised_u.device)
    covered_u = everywhere if covered_u is None else covered_u
    covered_s = everywhere if covered_s is None else covered_s
    merged = blend(denoised_u, denoised_s, weight)
    merged = torch.where(covered_u & ~covered_s, denoised_u, merged)
    return torch.where(covered_s & ~covered_u, denoised_s, merged)


def inherit(safe_entries: list[Any], written_entries: list[Any]) -> list[Any]:
    """The safe conditioning with everything but text that its written counterpart carries.

    safe_entries, written_entries: CONDITIONING as nodes pass it, lists of [tensor, dict].
    Each safe entry takes every key that it lacks, except TEXT_KEYS: the same objects, so that the host shares a
    ControlNet between the branches and batches their rows. Equal counts pair by position. Otherwise every safe entry
    meets every written one (one safe entry and n areas give n copies), and copies that came out the same are dropped.
    Neither input is changed.
    """
    if not written_entries:
        return list(safe_entries)
    if len(safe_entries) == len(written_entries):
        return [_take(safe, written) for safe, written in zip(safe_entries, written_entries, strict=True)]
    result: list[Any] = []
    for safe in safe_entries:
        copies: list[Any] = []
        for written in written_entries:
            entry = _take(safe, written)
            if not any(_same(entry[1], other[1]) for other in copies):
                copies.append(entry)
        result += copies
    return result


def _take(safe: Any, written: Any) -> list[Any]:
    taken = {key: value for key, value in written[1].items() if key not in TEXT_KEYS and key not in safe[1]}
    return [safe[0], {**safe[1], **taken}, *safe[2:]]


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        a[key] is b[key] or (isinstance(a[key], (int, float, str)) and a[key] == b[key]) for key in a
    )
