"""A CONDITIONING as a branch of a guided run, and whether it can guide.

A CONDITIONING is a list of [tensor, dict], as nodes pass it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from safelight.text.inherit import HARMLESS, ROWS, check_hooks, inherit, same_prompt

Conditioning = list[Any]


def as_branch(conditioning: Conditioning, positive: Conditioning) -> Conditioning:
    """The conditioning with what it inherits from the positive one; models that ask are told "positive"."""
    return named(inherit(list(conditioning), positive), "positive")


def named(conditioning: Conditioning, kind: str) -> Conditioning:
    """What models that ask for the kind of a prompt are told; the host would say the name of its branch."""
    return [[entry[0], {"prompt_type": kind, **entry[1]}, *entry[2:]] for entry in conditioning]


def together(conditionings: Sequence[Conditioning]) -> Conditioning:
    """One-entry conditionings as one entry with a row for each: the host gives every picture of a batch its own. Of
    what is no tensor the first one's counts; one prompt that is guarded is enough for all to be."""
    if len(conditionings) == 1:
        return conditionings[0]
    extras = [conditioning[0][1] for conditioning in conditionings]
    joined = {
        name: torch.cat([each[name] for each in extras]) if isinstance(first, torch.Tensor) else first
        for name, first in extras[0].items()
        if name != ROWS
    }
    if any(ROWS in each for each in extras):  # where they are not told, each row stands for itself
        themselves = torch.arange(conditionings[0][0][0].shape[1])[None]
        joined[ROWS] = torch.cat([each.get(ROWS, themselves) for each in extras])
    if not all(each.get(HARMLESS, False) for each in extras):
        joined.pop(HARMLESS, None)
    return [[torch.cat([other[0][0] for other in conditionings]), joined]]


def beside(conditioning: Conditioning, further: Conditioning) -> Conditioning | None:
    """The conditioning with another text behind that of each entry, as the host's ConditioningConcat has it: states
    [1, tokens, width], and what else has a place for every token, such as attention masks. None where an entry can't
    take it.
    """
    more, more_extras = further[0][:2]
    joined = []
    for states, extras, *rest in conditioning:
        if not isinstance(states, torch.Tensor) or not isinstance(more, torch.Tensor) or states.ndim != 3:
            return None
        if more.shape[-1] != states.shape[-1] or more.ndim != 3:
            return None
        extras = dict(extras)
        for name, value in extras.items():
            if name in ("pooled_output", ROWS) or not isinstance(value, torch.Tensor):
                continue
            if states.shape[1] not in value.shape[1:]:
                continue
            other, place = more_extras.get(name), list(value.shape).index(states.shape[1], 1)
            if not isinstance(other, torch.Tensor) or other.ndim != value.ndim:
                return None
            extras[name] = torch.cat([value, other.to(value)], dim=place)
        rows = more.to(states).expand(len(states), -1, -1)
        joined.append([torch.cat([states, rows], dim=1), extras, *rest])
    return joined


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
