"""A CONDITIONING as a branch of a guided run: what it inherits from the positive one, and whether it can guide.

A CONDITIONING is a list of [tensor, dict], as nodes pass it.
"""

from __future__ import annotations

from typing import Any

import torch

Conditioning = list[Any]

# What describes the words of one prompt and so never passes to another: the extras of the hosts' text encoders
# (comfy/text_encoders, comfy/sd.py) and text nodes, and the host's own forms of an entry's text (the last line).
TEXT_KEYS = frozenset(
    [
        "pooled_output",
        "attention_mask",
        "attention_mask_img_shape",
        "num_layers_stacked",
        "text_input_ids",
        "t5xxl_ids",
        "t5xxl_weights",
        "conditioning_llama3",
        "conditioning_mt5xl",
        "attention_mask_mt5xl",
        "conditioning_byt5small",
        "conditioning_lyrics",
        "audio_codes",
        "minimax_token_tags",
        "sam3_multi_cond",
        "unprocessed_ltxav_embeds",
        "reference_latents_text_embeds",
        "cross_attn",
        "model_conds",
        "uuid",
    ]
)


def as_branch(conditioning: Conditioning, positive: Conditioning) -> Conditioning:
    """The conditioning with what it inherits from the positive one; models that ask are told "positive"."""
    # The host would otherwise call these entries by the name of their branch.
    inherited = inherit(list(conditioning), positive)
    return [[entry[0], {"prompt_type": "positive", **entry[1]}, *entry[2:]] for entry in inherited]


def safe_branch(safe: Any, positive: Conditioning) -> Conditioning:
    """The safe conditioning, checked, as a branch. Raises ValueError, naming the input, where it could not guide."""
    check_safe(safe, positive)
    return as_branch(safe, positive)


def check_safe(safe: Any, positive: Conditioning) -> None:
    """Raises ValueError, naming the input, where the safe conditioning could not guide the positive one's model."""
    same_encoder = "Encode it with the same text encoder (CLIP) as the prompt."
    if not isinstance(safe, (list, tuple)) or len(safe) == 0:
        raise ValueError(
            "safe: expected a CONDITIONING, got an empty one, so nothing could guide. Connect the safe output of "
            "Safelight Context Encode or another conditioning, or set safety to 0."
        )
    texts = [entry[0] for entry in positive if isinstance(entry[0], torch.Tensor)]
    widths = {text.shape[-1] for text in texts}
    has_pooled = any(entry[1].get("pooled_output") is not None for entry in positive)
    for entry in safe:
        text, pooled = entry[0], entry[1].get("pooled_output")
        for name, tensor in (("text", text), ("pooled output", pooled)):
            if isinstance(tensor, torch.Tensor) and not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"safe: expected finite numbers, got others in its {name}. Encode it again.")
        if isinstance(text, torch.Tensor) and widths and text.shape[-1] not in widths:
            raise ValueError(
                f"safe: expected states {min(widths)} wide, as the prompt's, got {text.shape[-1]}. {same_encoder}"
            )
        if text is None and texts:
            raise ValueError(f"safe: expected text in every entry, got an entry without. {same_encoder}")
        if has_pooled and pooled is None:
            raise ValueError(f"safe: expected a pooled output, as the prompt has, got none. {same_encoder}")


def check_width(encoded: Conditioning, positive: Conditioning) -> None:
    """Raises ValueError, naming the clip, where it gives texts of another width than the prompt's.

    encoded: a CONDITIONING made with the clip.
    """
    widths = {entry[0].shape[-1] for entry in positive if isinstance(entry[0], torch.Tensor)}
    for states, *_ in encoded:
        if isinstance(states, torch.Tensor) and widths and states.shape[-1] not in widths:
            raise ValueError(
                f"clip: expected texts {min(widths)} wide, as the prompt, got {states.shape[-1]}. Link the text "
                "encoder (CLIP) that encoded the prompt."
            )


def inherit(safe_conditioning: list[Any], positive: list[Any]) -> list[Any]:
    """The safe conditioning with everything but text that its positive counterpart carries.

    safe_conditioning, positive: CONDITIONING as nodes pass it, lists of [tensor, dict].
    Each safe entry takes every key that it lacks, except TEXT_KEYS: the same objects, so that the host shares a
    ControlNet between the branches and batches their rows. Equal counts pair by position. Otherwise every safe entry
    meets every positive one (one safe entry and n areas give n copies), and copies that came out the same are dropped.
    Neither input is changed.
    """
    if not positive:
        return list(safe_conditioning)
    if len(safe_conditioning) == len(positive):
        return [_take(safe, other) for safe, other in zip(safe_conditioning, positive, strict=True)]
    result: list[Any] = []
    for safe in safe_conditioning:
        copies: list[Any] = []
        for other in positive:
            entry = _take(safe, other)
            if not any(_same(entry[1], other[1]) for other in copies):
                copies.append(entry)
        result += copies
    return result


def _take(safe: Any, positive: Any) -> list[Any]:
    taken = {key: value for key, value in positive[1].items() if key not in TEXT_KEYS and key not in safe[1]}
    return [safe[0], {**safe[1], **taken}, *safe[2:]]


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        a[key] is b[key] or (isinstance(a[key], (int, float, str)) and a[key] == b[key]) for key in a
    )
