"""Which text encoders have rows that are known: every row of their states is one token of the text, and no other's.

True of CLIP and of encoders of T5's kind. Language models put the prompt in a template that runs on into its words, cut
rows off, and every row behind a word still carries that word; and the host gives some networks further texts beside the
states. What changes single rows would leave what is unsafe in the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import comfy.clip_model
import torch

from safelight.engine.encoder import encode_entries, encode_prompt
from safelight.engine.token_layout import encoder_named, layout_of, read_tokens
from safelight.text.encoding import check_finite
from safelight.text.inherit import side_texts

if TYPE_CHECKING:
    from comfy.sd import CLIP

_FILLERS = ("house tree", "house car")  # two texts that differ in their last word
_WORDS = ("house", "tree")

_reasons: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()


def check_rows(clip: CLIP, what: str, instead: str) -> None:
    """Raises ValueError where the rows are not known, or not finite. what: needs them; instead: what to do."""
    reason = why_unknown(clip)
    if reason:
        raise ValueError(
            f"clip: expected a text encoder whose rows are single words (CLIP, T5) for {what}, got one that {reason}. "
            f"{instead}"
        )


def why_unknown(clip: CLIP) -> str:
    """Why this encoder's rows are not known, for the artist; "" where they are. Two calls of a new encoder."""
    encoder = clip.cond_stage_model
    if encoder not in _reasons:
        _reasons[encoder] = _probe(clip)
    return _reasons[encoder]


def _probe(clip: CLIP) -> str:
    entry = encode_prompt(clip, _FILLERS[0])[0]
    states = entry[0]
    if not torch.is_tensor(states) or states.ndim != 3 or not states.is_floating_point():
        return "gives no plain list of states"
    check_finite(f"the words {_FILLERS[0]!r}", states)
    further = side_texts(entry[1])
    if further:
        return f"gives its network further texts ({', '.join(further)}), which would stay as written"
    tokens, other_tokens = (read_tokens(clip, filler) for filler in _FILLERS)
    layout = layout_of(clip, tokens, *states.shape[-2:])
    if not layout or any(skip for _, skip, _ in layout):
        return "cuts a template off, or orders its states in a way that Safelight doesn't know"
    other = encode_entries(clip, other_tokens)[0][0]
    if other.shape != states.shape:
        return "gives texts of the same length states of different lengths"
    differs = (states != other).any(dim=0)
    for name, _, part in layout:
        chunk, other_chunk = tokens[name][0], other_tokens[name][0]
        words = [i for i, token in enumerate(chunk) if token[2]]
        last = next((i for i, (a, b) in enumerate(zip(chunk, other_chunk, strict=True)) if a[0] != b[0]), None)
        if len(words) != len(_WORDS) or last != words[-1]:
            return "puts the prompt in a template, whose tokens run on into its words"
        rows = differs[part.start : part.stop].any(dim=-1)
        transformer = getattr(encoder_named(clip, name), "transformer", None)
        if not rows[last]:
            return "orders its states in a way that Safelight doesn't know"
        if isinstance(transformer, comfy.clip_model.CLIPTextModel):
            if rows[:last].any():
                return "has the words of the prompt in rows before theirs"
        elif not rows[0]:
            return "reads on from word to word as language models do, so that every later row carries an earlier word"
    return ""
