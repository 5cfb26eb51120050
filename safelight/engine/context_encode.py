"""A prompt beside its safe counterpart, and how unsafe it is: one function per method."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import check_numbers, check_texts
from safelight.engine.concept_spaces import space_of
from safelight.engine.encoder import check_clip, encode_entries, encode_prompt
from safelight.engine.token_layout import describe, is_weighted, read_tokens, unweighted
from safelight.text.concept_space import ConceptSpace
from safelight.text.concept_vector import ConceptVector
from safelight.text.concepts import DEFAULT_CONCEPTS, DEMO_CONCEPTS, split_concepts
from safelight.text.conditioning import Conditioning
from safelight.text.encoding import Encoding, text_of
from safelight.text.inherit import HARMLESS, side_texts
from safelight.text.risk import LEAST_AUC

if TYPE_CHECKING:
    from comfy.sd import CLIP

AUTO, TYPED, PROJECT, SUBTRACT = METHODS = ("auto", "typed", "project", "subtract")


@dataclass(frozen=True)
class Context:
    """The prompt as written, its safe counterpart, its risk, and the notes on how it was made."""

    positive: Conditioning
    safe: Conditioning
    risk: float
    method: str
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def verdict(self) -> str:
        """For the artist, as JSON."""
        return json.dumps(
            {"risk": round(self.risk, 4), "method": self.method, "words": list(self.words), "notes": list(self.notes)}
        )


@dataclass(frozen=True)
class EncodedPrompt:
    """encodings: one per entry of `positive`, without token weights; none where the states are not a list of tokens."""

    clip: CLIP
    positive: Conditioning
    encodings: Sequence[Encoding]


def encode_context(
    clip: CLIP,
    prompt: str,
    safe_prompt: str = "",
    concepts: str = DEFAULT_CONCEPTS,
    method: str = AUTO,
    strength: float = 1.0,
    vector: ConceptVector | None = None,
) -> Context:
    """Encodes the prompt, makes its safe counterpart and measures its risk.

    vector: what `subtract` takes away in place of the concepts' own direction.
    Calls of the text encoder once the concepts are in memory: one for the prompt; one more where tokens are weighted;
    one for a typed safe prompt.
    Raises ValueError, naming the input, where no safe counterpart can be made.
    """
    check_clip(clip)
    check_texts(prompt=prompt, safe_prompt=safe_prompt, concepts=concepts)
    check_numbers(strength=strength)
    if method not in METHODS:
        raise ValueError(f"method: unknown method {method!r}. Choose one of {', '.join(METHODS)}.")
    if strength < 0:
        raise ValueError(f"strength: expected a number from 0 up, got {strength}. Give such a number.")
    if split_concepts(concepts) == split_concepts(DEMO_CONCEPTS) and not hasattr(clip.tokenizer, "safelight_anchors"):
        raise ValueError(
            "concepts: expected words for this text encoder, got the demo model's, which know nothing of nudity, hate "
            f"or blood. Write your own, or: {DEFAULT_CONCEPTS}"
        )
    if method == AUTO:
        method = TYPED if safe_prompt.strip() else PROJECT if vector is None else SUBTRACT
    if method == TYPED:
        context = typed_context(clip, prompt, safe_prompt, concepts)
    elif method == PROJECT:
        context = project_context(clip, prompt, concepts, strength)
    elif vector is None:
        context = subtract_context(clip, prompt, concepts, strength)
    else:
        return subtract_vector_context(clip, prompt, concepts, strength, vector)
    if vector is None:
        return context
    note = f"The linked vector is not used: the method is {method!r}, and only 'subtract' takes one away."
    return Context(**{**vars(context), "notes": (*context.notes, note)})


def typed_context(clip: CLIP, prompt: str, safe_prompt: str, concepts: str) -> Context:
    """safe is the safe prompt that the artist wrote. The concepts give the risk alone."""
    if not safe_prompt.strip():
        raise ValueError(
            "safe_prompt: expected a text for the method 'typed', got none. Write what to show instead, or choose the "
            "method 'project'."
        )
    encoded = _encode_prompt(clip, prompt)
    _, risk, notes = _assess(encoded, split_concepts(concepts), needs_space=False)
    with text_of("safe_prompt"):
        safe = encode_prompt(clip, safe_prompt)
    if not all(torch.isfinite(entry[0]).all() for entry in safe):
        raise ValueError(
            "safe_prompt: expected finite states from the text encoder, got others. Write another text, or try the "
            "encoder in fp32 or bf16."
        )
    if safe_prompt.split() == prompt.split():
        notes.append("safe_prompt is the prompt itself: safe would guard nothing.")
    return Context(encoded.positive, safe, risk, TYPED, (), tuple(notes))


def project_context(clip: CLIP, prompt: str, concepts: str, strength: float, removal: str = "whole") -> Context:
    """safe is the prompt with everyday states in the place of those that carry something unsafe.

    removal: see ConceptSpace.project.
    """
    phrases = _required_concepts(concepts, PROJECT)
    encoded = _readable_prompt(clip, prompt, PROJECT)
    space, risk, notes = _assess(encoded, phrases, needs_space=True)
    assert space is not None
    safe, words, any_changed = [], [], False
    for (states, extra, *_), encoding in zip(encoded.positive, encoded.encodings, strict=True):
        projected, pooled, changed = space.project(
            encoding, states, extra.get("pooled_output"), strength, risk, removal
        )
        safe.append(_entry(projected, extra, pooled))
        any_changed = any_changed or bool(changed.any())
        words += [
            word for t, word in enumerate(encoding.words) if word and word not in space.common and changed[:, t].any()
        ]
    if strength == 0.0:
        return _unchanged(encoded, risk, PROJECT, notes)
    if not any_changed:
        notes.append("Nothing unsafe was found in the prompt: safe is the prompt as written.")
        safe = [[states, {**extra, HARMLESS: True}, *more] for states, extra, *more in encoded.positive]
    return Context(encoded.positive, safe, risk, PROJECT, tuple(dict.fromkeys(words)), tuple(notes))


def subtract_context(clip: CLIP, prompt: str, concepts: str, strength: float) -> Context:
    """safe is the prompt with every word moved away from the concepts."""
    phrases = _required_concepts(concepts, SUBTRACT)
    encoded = _readable_prompt(clip, prompt, SUBTRACT)
    space, risk, notes = _assess(encoded, phrases, needs_space=True)
    assert space is not None
    return _subtracted(encoded, space.subtract, strength, risk, notes)


def subtract_vector_context(clip: CLIP, prompt: str, concepts: str, strength: float, vector: ConceptVector) -> Context:
    """safe is the prompt less the concept vector. The concepts give the risk alone."""
    encoded = _readable_prompt(clip, prompt, SUBTRACT)
    _, risk, notes = _assess(encoded, split_concepts(concepts), needs_space=False)
    return _subtracted(encoded, vector.subtract, strength, risk, notes)


def _subtracted(
    encoded: EncodedPrompt,
    subtract: Callable[..., tuple[torch.Tensor, torch.Tensor | None]],
    strength: float,
    risk: float,
    notes: list[str],
) -> Context:
    if strength == 0.0:
        return _unchanged(encoded, risk, SUBTRACT, notes)
    safe = []
    for (states, extra, *_), encoding in zip(encoded.positive, encoded.encodings, strict=True):
        moved, pooled = subtract(encoding, states, extra.get("pooled_output"), strength)
        safe.append(_entry(moved, extra, pooled))
    return Context(encoded.positive, safe, risk, SUBTRACT, (), tuple(notes))


def _unchanged(encoded: EncodedPrompt, risk: float, method: str, notes: list[str]) -> Context:
    note = "strength is 0: safe is the prompt as written and would guard nothing."
    return Context(encoded.positive, list(encoded.positive), risk, method, (), (*notes, note))


def _entry(states: torch.Tensor, extra: dict[str, Any], pooled: torch.Tensor | None) -> list[Any]:
    return [states, {**extra, "pooled_output": pooled} if "pooled_output" in extra else dict(extra)]


def _required_concepts(concepts: str, method: str) -> list[str]:
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError(
            f"concepts: expected words for the method {method!r}, got an empty list. Name what is unsafe, or write a "
            "safe_prompt."
        )
    return phrases


def _encode_prompt(clip: CLIP, prompt: str) -> EncodedPrompt:
    with text_of("prompt"):
        positive = encode_prompt(clip, prompt)
    if not all(torch.is_tensor(entry[0]) and entry[0].ndim == 3 and entry[0].is_floating_point() for entry in positive):
        return EncodedPrompt(clip, positive, ())
    tokens = read_tokens(clip, prompt)
    entries = [(entry[0], entry[1].get("pooled_output")) for entry in positive]
    if is_weighted(tokens):
        entries = encode_entries(clip, unweighted(tokens))
    encodings = [describe(clip, tokens, states, pooled).check("the prompt") for states, pooled in entries]
    return EncodedPrompt(clip, positive, encodings)


def _readable_prompt(clip: CLIP, prompt: str, method: str) -> EncodedPrompt:
    encoded = _encode_prompt(clip, prompt)
    if not encoded.encodings:
        raise ValueError(
            f"clip: expected a list of token states for the method {method!r}, got another form from this text "
            "encoder. Write a safe_prompt and choose the method 'typed'."
        )
    further = sorted({key for _, extras, *_ in encoded.positive for key in side_texts(extras)})
    if further:
        raise ValueError(
            f"method: expected a text encoder with one kind of states for {method!r}, got one whose network also reads "
            f"{', '.join(further)}, which would stay as written. Write a safe_prompt and choose the method 'typed'."
        )
    return encoded


def _assess(
    encoded: EncodedPrompt, phrases: Sequence[str], *, needs_space: bool
) -> tuple[ConceptSpace | None, float, list[str]]:
    """The concept space, the prompt's risk and notes on it. Where the space is not needed, its failure is a note."""
    if not phrases:
        return None, 1.0, ["No concepts are named, so risk is 1."]
    if not encoded.encodings:
        return None, 1.0, ["This text encoder gives no plain list of token states to measure, so risk is 1."]
    try:
        space = space_of(encoded.clip, phrases)
        if any(len(encoding.parts) != len(space.calibration) for encoding in encoded.encodings):
            raise ValueError(
                "clip: expected the prompt in the form of the concepts, got another form from this text encoder. Write "
                "a safe_prompt and choose the method 'typed'."
            )
    except ValueError as error:
        if needs_space:
            raise
        return None, 1.0, [f"Risk is 1, because the concepts could not be read: {error}"]
    risk = max(space.risk(encoding) for encoding in encoded.encodings)
    risk = risk if math.isfinite(risk) else 1.0
    if not any(calibration.can_tell for calibration in space.calibration):
        best = max((calibration.auc for calibration in space.calibration), default=0.0)
        note = (
            f"This text encoder can't tell the unsafe calibration phrases from the benign ones (AUC {best:.2f}, needed "
            f"{LEAST_AUC}), so risk is 1."
        )
        return space, risk, [note]
    if not any(encoding.content.any() for encoding in encoded.encodings):
        return space, risk, ["The prompt has no words, so there is nothing to measure and risk is 1."]
    return space, risk, []
