"""Redaction: a text encoder is taught to give certain texts the conditioning of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np
import torch

from safelight.edits.edit_file import Edit
from safelight.edits.redaction import ChunkStates, Example, LinearMap, fit, held_out_fit, sample
from safelight.edits.redaction_network import NetworkMap, Trained, train
from safelight.engine import edit_files
from safelight.engine.redacted_clip import EncoderLayout, Map, chunks_of
from safelight.text.anchors import BENIGN
from safelight.views.learning_curve import bars, curve

KIND = "redaction"
RIDGE, NETWORK = "ridge", "network"
FORMS = (RIDGE, NETWORK)
_MAPS: dict[str, Any] = {RIDGE: LinearMap.of_tensors, NETWORK: NetworkMap.of_tensors}
_SENTENCES = ("{thing} and {other}", "{other} and {thing}", "{thing} with {other}", "{other} next to {thing}")
_KEPT, _KEPT_PAIRS, _REDACTED = 128, 48, 96  # texts at most, pairs of kept texts, redacted texts of all lines together
_FEWEST, _MOST = 9, 24  # sentences with each redacted line


def make_redaction(
    clip: Any, redact: str, reference: str, keep: str, form: str, steps: int, seed: int
) -> tuple[EncoderLayout, dict[str, Map], Edit, torch.Tensor]:
    """The encoder's layout, a map for each of its blocks, the edit that saves them, and a picture of the fit.

    Raises ValueError, naming the input.
    """
    if form not in FORMS:
        raise ValueError(f"form: unknown form {form!r}. Choose one of {', '.join(FORMS)}.")
    pairs, kept = _texts(clip, redact, reference, keep, seed)
    rounds = 2 * len(pairs) + len(kept)
    bar = comfy.utils.ProgressBar(rounds + (steps if form == NETWORK else 1))
    layout, examples = _examples(clip, pairs, kept, lambda: _advance(bar))
    maps: dict[str, Map]
    if form == RIDGE:
        kept_fit, redacted_fit = held_out_fit(examples)
        picture, maps, training = bars(kept_fit, redacted_fit), {**fit(examples)}, {}
    else:
        trained = train(examples, steps, seed, on_progress=lambda step: _advance(bar))
        picture, maps, training = curve(trained), {**trained.maps}, _record(trained)
    bar.update_absolute(bar.total)
    settings = {
        "form": form,
        "encoder": layout.record(),
        "redact": redact,
        "reference": reference,
        "keep": keep,
        "seed": seed,
        **training,
    }
    tensors = {f"{key}/{name}": tensor for key, each in maps.items() for name, tensor in each.tensors().items()}
    return layout, maps, Edit(KIND, tensors, settings), picture


def load_redaction(clip: Any, file: str) -> tuple[EncoderLayout, dict[str, Map]]:
    """The redaction in a file, for this CLIP. Raises ValueError, naming the file, where it is another encoder's."""
    layout, maps = maps_of(edit_files.load(file, KIND), file)
    clip_layout, _ = chunks_of(clip, "")
    if clip_layout != layout:
        raise ValueError(
            f"file: expected a redaction of this clip's kind of text encoder ({clip_layout}), got one of another in "
            f"{file} ({layout}). Link the clip that it was made on, or make it again."
        )
    return layout, maps


def maps_of(edit: Edit, name: str) -> tuple[EncoderLayout, dict[str, Map]]:
    """The text encoder's form and every block's map. Raises ValueError, naming the file, where they can't be read."""
    try:
        form = EncoderLayout.of_record(edit.settings["encoder"])
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in edit.tensors.items():
            block, _, inner = key.partition("/")
            parts.setdefault(block, {})[inner] = tensor
        maps = {block: _MAPS[edit.settings["form"]](tensors) for block, tensors in parts.items()}
        widths = {block: each.width for block, each in maps.items()}
        if widths != form.widths():
            raise ValueError(f"it holds {widths} where its encoder has {form.widths()}")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"file: {name} is no whole redaction ({error}); make it again.") from error
    return form, maps


def _lines(text: str) -> list[str]:
    """The lines with single spaces; an empty one counts, except at the end."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def _texts(clip: Any, redact: str, reference: str, keep: str, seed: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Texts to redact, each with its reference, and texts to keep: the lines as such, and in sentences with others."""
    things = _lines(redact)
    instead = _lines(reference)
    if not any(things):
        raise ValueError("redact: it is empty; write what is to be read as something else, one thing or prompt a line.")
    if len(instead) not in (1, len(things)):
        raise ValueError(
            f"reference: it has {len(instead)} lines, and redact {len(things)}; write one line for all, "
            "or one for each."
        )
    instead = instead * (len(things) if len(instead) == 1 else 1)
    lines = [(thing, other) for thing, other in zip(things, instead, strict=True) if thing]
    if any(thing == other for thing, other in lines):
        raise ValueError("reference: a line is the same as its line in redact, so nothing would change; write another.")
    kept = [line for line in _lines(keep) if line]
    if not kept:
        own = getattr(clip.tokenizer, "safelight_anchors", None)
        kept = list(BENIGN if own is None else own["benign"])
    kept = list(dict.fromkeys(kept))
    rng = np.random.default_rng(seed)
    pairs = [(thing, other) for thing, other in lines if other]  # without the thing nothing would be left to read
    each = min(max(_REDACTED // len(lines), _FEWEST), _MOST)
    for thing, other in lines:
        for i in range(each):
            beside = kept[rng.integers(len(kept))]
            form = _SENTENCES[i % len(_SENTENCES)]
            pairs.append(
                (form.format(thing=thing, other=beside), form.format(thing=other, other=beside) if other else beside)
            )
    both = [f"{kept[a]} and {kept[b]}" for a, b in rng.integers(len(kept), size=(_KEPT_PAIRS, 2)) if a != b]
    chosen = rng.permutation(len(kept))[:_KEPT]
    return pairs, list(dict.fromkeys([*(kept[i] for i in chosen), *both]))


def _examples(
    clip: Any, pairs: Sequence[tuple[str, str]], kept: Sequence[str], advance: Any
) -> tuple[EncoderLayout, list[Example]]:
    """The text encoder's form, and what its states of the texts are and should become."""
    form: EncoderLayout | None = None

    def read(text: str) -> dict[str, ChunkStates]:
        nonlocal form
        advance()
        own, pieces = chunks_of(clip, text)
        form = form or own
        if own != form:
            raise ValueError(
                f"clip: this text encoder gives texts of several forms ({form}; {own}), so they can't be redacted."
            )
        return pieces

    examples: list[Example] = []
    for text, other in pairs:
        pieces, references = read(text), read(other)
        examples.append({key: sample(piece, references[key]) for key, piece in pieces.items()})
    for text in kept:
        examples.append({key: sample(piece) for key, piece in read(text).items()})
    assert form is not None
    return form, examples


def _advance(bar: Any) -> None:
    comfy.model_management.throw_exception_if_processing_interrupted()
    bar.update(1)


def _record(trained: Trained) -> dict[str, Any]:
    best = trained.eval_points[trained.best]
    return {
        "steps": trained.eval_points[-1].step,
        "best_step": best.step,
        "held_out_keep": round(best.keep, 6),
        "held_out_redact": round(best.redact, 6),
    }
