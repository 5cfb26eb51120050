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

from safelight.checks import required_text
from safelight.engine.encoder import check_clip, encode_entries, encode_prompt, known_phrases
from safelight.engine.token_layout import Token, encoder_named, layout_of, read_tokens
from safelight.text.concepts import split_concepts
from safelight.text.encoding import check_finite
from safelight.text.inherit import side_texts

if TYPE_CHECKING:
    from comfy.sd import CLIP

_FILLERS = ("house, tree", "house, car")  # two texts that differ in their last word, of two parts for SAM 3

_reasons: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()


def check_rows(clip: CLIP, what: str, instead: str) -> None:
    """Raises ValueError where the rows are not known, or not finite. what: needs them; instead: what to do."""
    reason = why_unknown(clip)
    if reason:
        raise ValueError(
            f"clip: expected a text encoder whose rows are single words (CLIP, T5) for {what}, got one that {reason}. "
            f"{instead}"
        )


def known_concepts(clip: CLIP, concepts: str, what: str) -> list[str]:
    """The concepts of a text that the encoder knows, for a method inside the cross-attention. what: the method.

    Raises ValueError, naming the input, where there are none, or where the encoder's rows are not known to be single
    words.
    """
    check_clip(clip)
    listed = split_concepts(required_text("concepts", concepts))
    required_text("concepts", ", ".join(listed))  # commas alone are no concept
    check_rows(clip, what, "Use a method that reads whole texts, such as Safelight CRG Guider.")
    return known_phrases(clip, listed, "concepts")


def why_unknown(clip: CLIP) -> str:
    """Why this encoder's rows are not known, for the artist; "" where they are. Two calls of a new encoder."""
    encoder = clip.cond_stage_model
    if encoder not in _reasons:
        _reasons[encoder] = _probe(clip)
    return _reasons[encoder]


def _probe(clip: CLIP) -> str:
    if any(_words(chunk) for chunks in read_tokens(clip, "").values() for chunk in chunks):
        return "puts the prompt in a template, whose tokens run on into its words"
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
    length = min(states.shape[1], other.shape[1])  # a word may be several tokens
    differs = (states[:, :length] != other[:, :length]).any(dim=0)
    for name, _, part in layout:
        chunk, other_chunk = tokens[name][0], other_tokens[name][0]
        pairs = enumerate(zip(chunk, other_chunk, strict=False))
        first = next((i for i, (a, b) in pairs if a[0] != b[0]), None)  # where the last words differ
        rows = differs[part.start : part.stop].any(dim=-1)
        if first not in _words(chunk) or first >= len(rows) or not rows[first]:
            return "orders its states in a way that Safelight doesn't know"
        if isinstance(getattr(encoder_named(clip, name), "transformer", None), comfy.clip_model.CLIPTextModel):
            if rows[:first].any():
                return "has the words of the prompt in rows before theirs"
        elif not rows[0]:
            return "reads on from word to word as language models do, so that every later row carries an earlier word"
    return ""


def _words(chunk: list[Token]) -> list[int]:
    """The places of the tokens that are the prompt's."""
    return [i for i, token in enumerate(chunk) if token[2]]
