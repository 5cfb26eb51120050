"""A CONDITIONING as a branch of a guided run, and whether it can guide.

A CONDITIONING is a list of [tensor, dict], as nodes pass it.
"""

from __future__ import annotations

from typing import Any

import torch

from safelight.text.inherit import HARMLESS, check_hooks, inherit, same_prompt

Conditioning = list[Any]


def as_branch(conditioning: Conditioning, positive: Conditioning) -> Conditioning:
    """The conditioning with what it inherits from the positive one; models that ask are told "positive"."""
    # The host would otherwise call these entries by the name of their branch.
    inherited = inherit(list(conditioning), positive)
    return [[entry[0], {"prompt_type": "positive", **entry[1]}, *entry[2:]] for entry in inherited]


def as_harmless(conditioning: Conditioning) -> Conditioning:
    """The conditioning with the mark of a safe prompt that may be the prompt as written."""
    return [[entry[0], {**entry[1], HARMLESS: True}, *entry[2:]] for entry in conditioning]


def safe_branch(safe: Any, positive: Conditioning) -> Conditioning:
    """The safe conditioning, checked, as a branch. Raises ValueError, naming the input, where it could not guide."""
    check_safe(safe, positive)
    branch = as_branch(safe, positive)
    if not same_prompt(branch, positive):
        return [[entry[0], {**entry[1], HARMLESS: False}, *entry[2:]] for entry in branch]
    # Of a harmless prompt the safe counterpart is the prompt itself, and that is right.
    if not all(entry[1].get(HARMLESS, False) for entry in safe):
        raise ValueError(
            "safe: expected another prompt than positive, got the same, so nothing would be guarded. Link the safe "
            "output of Safelight Context Encode, or a harmless prompt of your own, or set safety to 0. From Safelight "
            "Prompt link `risk` as well."
        )
    return branch


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
    check_hooks(list(safe), positive)


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
