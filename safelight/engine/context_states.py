"""Safe counterparts made from the states of the artist's text encoder: words projected out, concepts subtracted.

For encoders whose rows are known to be right (known_rows.py). After SAFREE and Ring-A-Bell; see concept_space.py and
concept_vector.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.concept_spaces import space_of
from safelight.engine.context import Context
from safelight.engine.encoder import encode_entries, encode_prompt
from safelight.engine.known_rows import check_rows
from safelight.engine.token_layout import describe, is_weighted, read_tokens, unweighted
from safelight.text.concept_space import ConceptSpace
from safelight.text.concept_vector import ConceptVector
from safelight.text.concepts import split_concepts
from safelight.text.conditioning import Conditioning
from safelight.text.encoding import Encoding
from safelight.text.inherit import HARMLESS, ROWS
from safelight.text.safe_prompt import PROJECT, SUBTRACT, Verdict

if TYPE_CHECKING:
    from comfy.sd import CLIP


@dataclass(frozen=True)
class EncodedPrompt:
    """encodings: one per entry of `positive`, without token weights."""

    positive: Conditioning
    encodings: Sequence[Encoding]


def project_context(
    clip: CLIP, prompt: str, concepts: str, strength: float, risk: float, removal: str = "whole"
) -> Context:
    """safe is the prompt with everyday states in the place of those that carry something unsafe.

    risk: of the text, as the reader has it; where it or the encoder's own is .5 and more, something is changed.
    removal: see ConceptSpace.project.
    """
    encoded, space = _encode(clip, prompt, PROJECT), _space(clip, concepts, PROJECT)
    safe, words, any_changed = [], [], False
    for (states, extra, *_), encoding in zip(encoded.positive, encoded.encodings, strict=True):
        projected, pooled, changed = space.project(
            encoding, states, extra.get("pooled_output"), strength, max(risk, space.risk(encoding)), removal
        )
        safe.append(_entry(projected, extra, pooled))
        any_changed = any_changed or bool(changed.any())
        words += [
            word for t, word in enumerate(encoding.words) if word and word not in space.common and changed[:, t].any()
        ]
    if strength == 0.0:
        return _unchanged(encoded, risk, PROJECT)
    notes: tuple[str, ...] = ()
    if not any_changed:
        notes = ("Nothing unsafe was found in the prompt: safe is the prompt as written.",)
        safe = [[states, {**extra, HARMLESS: True}, *more] for states, extra, *more in encoded.positive]
    return Context(encoded.positive, safe, Verdict(risk, PROJECT, tuple(dict.fromkeys(words)), notes))


def subtract_context(clip: CLIP, prompt: str, concepts: str, strength: float, risk: float) -> Context:
    """safe is the prompt with every word moved away from the concepts."""
    encoded, space = _encode(clip, prompt, SUBTRACT), _space(clip, concepts, SUBTRACT)
    return _subtracted(encoded, space.subtract, strength, risk)


def subtract_vector_context(clip: CLIP, prompt: str, strength: float, vector: ConceptVector, risk: float) -> Context:
    """safe is the prompt less the concept vector."""
    return _subtracted(_encode(clip, prompt, SUBTRACT), vector.subtract, strength, risk)


def _subtracted(
    encoded: EncodedPrompt,
    subtract: Callable[..., tuple[torch.Tensor, torch.Tensor | None]],
    strength: float,
    risk: float,
) -> Context:
    if strength == 0.0:
        return _unchanged(encoded, risk, SUBTRACT)
    safe = []
    for (states, extra, *_), encoding in zip(encoded.positive, encoded.encodings, strict=True):
        moved, pooled = subtract(encoding, states, extra.get("pooled_output"), strength)
        safe.append(_entry(moved, extra, pooled))
    return Context(encoded.positive, safe, Verdict(risk, SUBTRACT))


def _unchanged(encoded: EncodedPrompt, risk: float, method: str) -> Context:
    note = "strength is 0: safe is the prompt as written and would guard nothing."
    return Context(encoded.positive, list(encoded.positive), Verdict(risk, method, notes=(note,)))


def _entry(states: torch.Tensor, extra: dict[str, Any], pooled: torch.Tensor | None) -> list[Any]:
    changed = {"pooled_output": pooled} if "pooled_output" in extra else {}
    return [states, {**extra, **changed, ROWS: torch.arange(states.shape[1])[None]}]  # each row stands for itself


def _encode(clip: CLIP, prompt: str, method: str) -> EncodedPrompt:
    check_rows(
        clip, f"the method {method!r}", "Choose the method 'auto' or 'rewrite', or write a safe_prompt ('typed')."
    )
    positive, tokens = encode_prompt(clip, prompt), read_tokens(clip, prompt)
    entries = [(entry[0], entry[1].get("pooled_output")) for entry in positive]
    if is_weighted(tokens):
        entries = encode_entries(clip, unweighted(tokens))
    encodings = [describe(clip, tokens, states, pooled).check("the prompt") for states, pooled in entries]
    return EncodedPrompt(positive, encodings)


def _space(clip: CLIP, concepts: str, method: str) -> ConceptSpace:
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError(
            f"concepts: expected words for the method {method!r}, got an empty list. Name what is unsafe, or write a "
            "safe_prompt."
        )
    return space_of(clip, phrases)
