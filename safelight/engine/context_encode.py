"""A prompt beside its safe counterpart, and how unsafe it is.

typed and rewrite change the text and encode it again, so they hold for every text encoder. project and subtract change
the encoder's states (context_states.py), where single rows are known to be single words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from safelight.checks import check_numbers, check_texts
from safelight.engine.aligned_rows import with_rows
from safelight.engine.context import Context
from safelight.engine.context_states import project_context, subtract_context, subtract_vector_context
from safelight.engine.encoder import check_clip, encode_prompt, unknown_words, word_test
from safelight.text.concept_vector import ConceptVector
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.conditioning import as_harmless
from safelight.text.reader import FALSE_ALARMS
from safelight.text.safe_prompt import (
    AUTO,
    METHODS,
    PROJECT,
    REWRITE,
    SUBTRACT,
    TYPED,
    SafePrompt,
    make_safe_prompt,
    reader_of,
)

if TYPE_CHECKING:
    from comfy.sd import CLIP


def encode_context(
    clip: CLIP,
    prompt: str,
    safe_prompt: str = "",
    concepts: str = DEFAULT_CONCEPTS,
    method: str = AUTO,
    strength: float = 1.0,
    vector: ConceptVector | None = None,
    stand_ins: str = "",
    false_alarms: float = FALSE_ALARMS,
) -> Context:
    """Encodes the prompt, makes its safe counterpart and reads its risk.

    vector: what `subtract` takes away in place of the concepts' own direction. stand_ins, false_alarms: as in
    make_safe_prompt. typed and rewrite call the text encoder twice, once for a prompt that is its own safe counterpart.
    Raises ValueError, naming the input, where no safe counterpart can be made.
    """
    check_clip(clip)
    check_texts(prompt=prompt, safe_prompt=safe_prompt, concepts=concepts, stand_ins=stand_ins)
    check_numbers(strength=strength, false_alarms=false_alarms)
    if method not in METHODS:
        raise ValueError(f"method: unknown method {method!r}. Choose one of {', '.join(METHODS)}.")
    if strength < 0:
        raise ValueError(f"strength: expected a number from 0 up, got {strength}. Give such a number.")
    if method == AUTO:
        method = TYPED if safe_prompt.strip() else REWRITE if vector is None else SUBTRACT
    if method == TYPED and not safe_prompt.strip():
        raise ValueError(
            "safe_prompt: expected a text for the method 'typed', got none. Write what to show instead, or choose the "
            "method 'rewrite'."
        )
    notes: list[str] = []
    if method in (TYPED, REWRITE):
        typed = safe_prompt if method == TYPED else ""
        verdict = make_safe_prompt(prompt, typed, concepts, stand_ins, false_alarms, word_test(clip))
        context = text_context(clip, verdict)
    else:
        reading = reader_of(concepts, false_alarms)(prompt)
        if reading.unread:
            notes.append(f"risk is 1: {reading.unread}.")
        if method == PROJECT:
            context = project_context(clip, prompt, concepts, strength, reading.risk)
        elif vector is None:
            context = subtract_context(clip, prompt, concepts, strength, reading.risk)
        else:
            context = subtract_vector_context(clip, prompt, strength, vector, reading.risk)
    notes += context.verdict.notes
    unknown = list(dict.fromkeys(unknown_words(clip, prompt) + unknown_words(clip, context.verdict.text or "")))
    if unknown:
        notes.append(f"The text encoder does not know {', '.join(unknown)} and reads nothing there.")
    if vector is not None and method != SUBTRACT:
        notes.append(f"The linked vector is not used: the method is {method!r}, and only 'subtract' takes one away.")
    return replace(context, verdict=replace(context.verdict, notes=tuple(notes)))


def text_context(clip: CLIP, safe_prompt: SafePrompt) -> Context:
    """The prompt and its safe prompt, each as CLIP Text Encode gives it, side texts and all."""
    positive = encode_prompt(clip, safe_prompt.prompt)
    safe = as_harmless(positive) if safe_prompt.harmless else encode_prompt(clip, safe_prompt.text)
    if any(torch.is_tensor(entry[0]) and not torch.isfinite(entry[0]).all() for entry in safe):
        raise ValueError(
            "safe_prompt: expected finite states from the text encoder, got others. Write another text, or try the "
            "encoder in fp32 or bf16."
        )
    if not safe_prompt.harmless:
        safe = with_rows(clip, safe_prompt.prompt, positive, safe_prompt.text, safe)
    return Context(positive, safe, safe_prompt.verdict)
