"""Latent Guard on the artist's text encoder: trained in the node, saved, and asked about prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.utils

from safelight.checks import check_numbers, check_texts
from safelight.edits.edit_file import Edit
from safelight.engine import concept_spaces, edit_files, kept_spaces
from safelight.engine.encoder import check_clip, encode_neutral, known_phrases, unknown_words
from safelight.engine.known_rows import check_rows
from safelight.engine.planned_encoder import PlannedEncoder
from safelight.text.anchors import BENIGN
from safelight.text.concepts import split_concepts
from safelight.text.latent_guard_fit import STEPS_OF_BLOCK, fit
from safelight.text.latent_guard_reading import Guard, Reading, Text, rows_of
from safelight.text.latent_guard_texts import guard_texts
from safelight.text.risk import DECISION, LEAST_AUC

if TYPE_CHECKING:
    from comfy.sd import CLIP

KIND = "latent guard"
_NODE = "Safelight Latent Guard"
_INSTEAD = "Take the risk of Safelight Prompt or Safelight Context Encode."


def make_guard(clip: CLIP, concepts: str, harmless: str, seed: int) -> tuple[Edit, str]:
    """A guard for these concepts, and what is to be said of it. Raises ValueError, naming the input."""
    check_clip(clip)
    check_texts(concepts=concepts, harmless=harmless)
    check_numbers(seed=seed)
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError("concepts: expected what counts as unsafe, got an empty list. Name it, separated by commas.")
    check_rows(clip, _NODE, _INSTEAD)
    fingerprint = _fingerprint(clip)
    anchors = getattr(clip.tokenizer, "safelight_anchors", None)
    texts = guard_texts(
        known_phrases(clip, phrases, "concepts"),
        split_concepts(harmless),
        seed,
        lambda text: not unknown_words(clip, text),
        BENIGN if anchors is None else anchors["benign"],
    )
    bar = comfy.utils.ProgressBar(len(texts.all()))
    encoded = _encode_all(clip, texts.all(), bar)
    bar.total += len(encoded[texts.names[0].text]) * STEPS_OF_BLOCK
    guard = fit(texts, encoded, seed, lambda: _advance(bar))
    alarms = sum(guard.risk(encoded[text]) >= DECISION for text in texts.benign)
    settings = {
        **guard.settings(),
        "encoder": fingerprint,
        "false alarms": [alarms, len(texts.benign)],
        "seed": seed,
        "harmless": harmless,
    }
    return Edit(KIND, guard.tensors(), settings), _note(guard, alarms, len(texts.benign))


def load_guard(file: str) -> Edit:
    """The guard in a file. Raises ValueError, naming the file, where it holds no whole one."""
    edit = edit_files.load(file, KIND)
    try:
        _read(edit)
    except ValueError as error:
        raise ValueError(f"file: expected a whole guard, got {file}. {error}") from error
    return edit


def read_prompt(clip: CLIP, guard: object, prompt: str) -> Reading:
    """What the guard says of a prompt. Raises ValueError, naming the input, where it is not this encoder's."""
    check_clip(clip)
    check_texts(prompt=prompt)
    if not isinstance(guard, Edit) or guard.kind != KIND:
        got = f"one of the kind {guard.kind!r}" if isinstance(guard, Edit) else type(guard).__name__
        raise ValueError(
            f"guard: expected one of the kind {KIND!r}, got {got}. Connect {_NODE} or Safelight Load Latent Guard."
        )
    heads = _read(guard)
    check_rows(clip, _NODE, _INSTEAD)
    if _fingerprint(clip) != guard.settings["encoder"]:
        raise ValueError(
            "guard: expected one that was trained on this text encoder, got one of another. Link the clip that it was "
            f"trained on, with the same clip skip, or train one on this with {_NODE}."
        )
    return heads.read(rows_of(encode_neutral(clip, prompt).check("the prompt")))


def _read(edit: Edit) -> Guard:
    try:
        if not isinstance(edit.settings["encoder"], str):
            raise ValueError("encoder: expected a fingerprint")
        return Guard.of(edit.tensors, edit.settings)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"guard: expected heads with their names and calibration, got others ({error}). Train it with {_NODE}."
        ) from error


def _fingerprint(clip: CLIP) -> str:
    """Of the text encoder. Raises ValueError where patches change it, which nothing would know again."""
    weights = concept_spaces.weights_print(clip)
    if weights is None:
        raise ValueError(
            f"clip: expected a text encoder as its loader gives it for {_NODE}, got one with a LoRA or another patch. "
            "Link the clip from before that."
        )
    return kept_spaces.fingerprint(clip, weights)


def _encode_all(clip: CLIP, texts: Sequence[str], bar: comfy.utils.ProgressBar) -> dict[str, Text]:
    encode = PlannedEncoder(clip, texts, bar.update)
    return {text: rows_of(encode(text).check(f"the text {text!r}")) for text in texts}


def _advance(bar: comfy.utils.ProgressBar) -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()
    bar.update(1)


def _note(guard: Guard, alarms: int, benign: int) -> str:
    best = max((block.calibration for block in guard.blocks.values()), key=lambda one: one.auc)
    if not best.can_tell:
        return (
            f"This text encoder can't tell the concepts from harmless texts (AUC {best.auc:.2f}, needed {LEAST_AUC}), "
            "so every prompt has risk 1. Name the concepts in other words, or more of them."
        )
    return (
        f"{len(guard.names)} names of the concepts. Names left out of a first training were told from harmless texts "
        f"with AUC {best.auc:.2f}. False alarms: {alarms} of {benign} harmless texts that it did not learn."
    )
