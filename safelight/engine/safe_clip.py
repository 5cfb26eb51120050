"""Makes a text encoder safe by pairs of captions: Safe-CLIP's terms of the text tower, on the student of redaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import comfy.utils
import numpy as np
import torch

from safelight.checks import check_numbers, check_texts, required_text
from safelight.edits.edit_file import Edit
from safelight.edits.redaction import HELD_OUT, TAIL, WORD
from safelight.edits.safe_clip import Terms, nearest
from safelight.edits.spread import text_vector
from safelight.engine.encoder import check_known, word_test
from safelight.engine.known_rows import check_rows
from safelight.engine.redact import (
    NETWORK,
    Blocks,
    advance,
    edit_of,
    encode_texts,
    examples_of,
    kept_texts,
    phrases_to_keep,
    train_students,
    training_record,
)
from safelight.engine.redacted_clip import EncoderLayout, Map
from safelight.text.caption_pairs import MOST, caption_pairs
from safelight.text.concepts import split_concepts
from safelight.views.learning_curve import curve

if TYPE_CHECKING:
    from comfy.sd import CLIP

OWN, NEAREST = TARGETS = ("own twin", "nearest safe caption")


def make_safe_clip(
    clip: CLIP, concepts: str, target: str, keep: str, steps: int, seed: int, terms: Terms | None = None
) -> tuple[EncoderLayout, dict[str, Map], Edit, torch.Tensor]:
    """The encoder's layout, a student for each of its blocks, the edit that saves them, and the learning curve.

    The encoder itself is only read, once for each text: at most MOST unsafe captions, as many twins, and 176 texts to
    keep. terms: other weights of the loss than the default. Raises ValueError, naming the input.
    """
    if target not in TARGETS:
        raise ValueError(f"target: unknown target {target!r}. Choose one of {', '.join(TARGETS)}.")
    check_texts(concepts=concepts, keep=keep)
    check_numbers(steps=steps, seed=seed)
    listed = split_concepts(required_text("concepts", concepts))
    required_text("concepts", ", ".join(listed))  # commas alone are no concept
    check_rows(clip, "Safe-CLIP", "Rewrite prompts with Safelight Prompt or Safelight Context Encode.")
    phrases = phrases_to_keep(clip, keep)
    for phrase in phrases:
        check_known(clip, phrase, "keep")
    bar = comfy.utils.ProgressBar(2 * MOST + steps)  # until the texts are known
    pairs = _pairs(clip, listed, phrases, seed, bar)
    # The twins are safe captions too.
    kept = list(dict.fromkeys([*kept_texts(phrases, np.random.default_rng(seed)), *(twin for _, twin in pairs)]))
    if len(kept) < HELD_OUT:
        raise ValueError(f"keep: expected at least {HELD_OUT} different texts, got fewer. Write more lines.")
    texts = list(dict.fromkeys([*(caption for caption, _ in pairs), *kept]))
    bar.update_absolute(bar.current, bar.current + len(texts) + steps)
    layout, encoded = encode_texts(clip, texts, lambda: advance(bar))
    if target == NEAREST:
        pairs = nearest_pairs(encoded, [caption for caption, _ in pairs], kept)
    examples = examples_of(encoded, pairs, kept)
    trained = train_students(examples, steps, seed, bar, "name other concepts", terms or Terms())
    bar.update_absolute(bar.total)
    settings = {"method": "Safe-CLIP", "concepts": concepts, "target": target, "keep": keep, "seed": seed}
    maps: dict[str, Map] = {**trained.maps}
    edit = edit_of(layout, maps, NETWORK, {**settings, "pairs": len(pairs), **training_record(trained)})
    return layout, maps, edit, curve(trained)


def nearest_pairs(encoded: Mapping[str, Blocks], unsafe: Sequence[str], safe: Sequence[str]) -> list[tuple[str, str]]:
    """Each unsafe text with the safe one that is nearest by the encoder's own states."""
    blocks = list(encoded[unsafe[0]])
    chosen = nearest(*([_vectors(encoded, texts, key) for key in blocks] for texts in (unsafe, safe)))
    return [(text, safe[i]) for text, i in zip(unsafe, chosen, strict=True)]


def _vectors(encoded: Mapping[str, Blocks], texts: Sequence[str], key: str) -> torch.Tensor:
    chunks = [encoded[text][key] for text in texts]
    return torch.stack([text_vector(each.states, each.kinds == WORD, each.kinds == TAIL) for each in chunks])


def _pairs(
    clip: CLIP, concepts: Sequence[str], phrases: Sequence[str], seed: int, bar: comfy.utils.ProgressBar
) -> list[tuple[str, str]]:
    """Unsafe captions with their twins. Raises ValueError, naming the concepts, where there are too few."""
    knows = word_test(clip)
    pairs = []
    for pair in caption_pairs(concepts, phrases, seed, knows):
        advance(bar)
        if pair is not None:
            pairs.append(pair)
    pairs = list(dict.fromkeys(pairs))
    if len(pairs) < HELD_OUT:
        reads = "" if knows is None else ", in words that the text encoder knows"
        raise ValueError(
            f"concepts: expected things that Safelight can put something harmless in the place of{reads}, got "
            f"{', '.join(concepts)}, of which only {len(pairs)} captions can be made. Name other things."
        )
    return pairs
