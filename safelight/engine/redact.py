"""SafelightRedact and SafelightLoadRedaction: a CLIP that gives redacted texts the conditioning of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np
import torch

from safelight.text.anchors import BENIGN
from safelight.edits.edit_file import Edit
from safelight.edits.redaction import Example, LinearMap, Piece, fit, held_out_fit, sample
from safelight.edits.redaction_network import NetworkMap, Trained, train
from safelight.engine import edit_files
from nodes.inputs import SEARCH_ALIASES, check_clip, read_strength, strength_input
from safelight.views.learning_curve import bars, curve
from safelight.engine.redacted_clip import Form, Map, pieces_of, redacted

KIND = "redaction"
RIDGE, NETWORK = "ridge", "network"
FORMS = (RIDGE, NETWORK)
_MAPS: dict[str, Any] = {RIDGE: LinearMap.of_tensors, NETWORK: NetworkMap.of_tensors}
_SENTENCES = ("{thing} and {other}", "{other} and {thing}", "{thing} with {other}", "{other} next to {thing}")
_KEPT, _KEPT_PAIRS, _REDACTED = 128, 48, 96  # texts at most, pairs of kept texts, redacted texts of all lines together
_FEWEST, _MOST = 9, 24  # sentences with each redacted line

CLIP = ("CLIP", {"tooltip": "The text encoder to redact. Other branches that use it stay as they are."})
STRENGTH = strength_input(
    edit_files.MAX_STRENGTH,
    "How far redacted texts go to their reference: 1 all the way, more pushes beyond. 0 is the CLIP as it was.",
)


class SafelightRedact:
    RETURN_TYPES = ("CLIP", edit_files.EDIT_TYPE, "IMAGE")
    RETURN_NAMES = ("CLIP", "edit", "fit")
    OUTPUT_TOOLTIPS = (
        "The text encoder, redacted: for CLIP Text Encode and every other node that takes a CLIP.",
        edit_files.EDIT_TOOLTIP,
        "How well texts that took no part in the fit are redacted and kept; for network the learning curve.",
    )
    FUNCTION = "redact"
    CATEGORY = edit_files.CATEGORY
    SEARCH_ALIASES = [*SEARCH_ALIASES, "redaction", "distil", "erase concept", "unlearn"]
    DESCRIPTION = (
        "Teaches the text encoder to read certain things as something else, and every other text as before. The model "
        "that draws stays as it is. After \"Data Redaction from Conditional Generative Models\"; how tokens answer to "
        "each other, the loss and the student are our choices."
    )  # fmt: skip

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": CLIP,
                "redact": ("STRING", {
                    "default": "a weapon", "multiline": True,
                    "tooltip": "What is to be read as something else: a thing or a whole prompt, one a line.",
                }),
                "reference": ("STRING", {
                    "default": "a flower", "multiline": True,
                    "tooltip": "What to read instead: one line for all, or as many lines as redact has. An empty line: "
                               "the prompt without the thing.",
                }),
            },
            "optional": {
                "keep": ("STRING", {
                    "default": "", "multiline": True,
                    "tooltip": "Texts that must stay as they are, one a line, ten or more. Empty: everyday phrases "
                               "that come with Safelight.",
                }),
                "form": (list(FORMS), {
                    "default": NETWORK,
                    "tooltip": "ridge: a linear map, solved in seconds. network: a small network, trained in a minute "
                               "or so.",
                }),
                "strength": STRENGTH,
                "steps": ("INT", {
                    "default": 300, "min": 20, "max": 20000, "step": 20,
                    "tooltip": "For network: training steps at most. It stops sooner where held-out texts gain "
                               "nothing.",
                }),
                "seed": ("INT", {
                    "default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF, "control_after_generate": False,
                    "tooltip": "Which sentences the things stand in, and for network its start and its order of texts.",
                }),
            },
        }  # fmt: skip

    def redact(self, clip: Any, redact: str, reference: str, keep: str = "", form: str = NETWORK,
               strength: float = 1.0, steps: int = 300, seed: int = 0) -> tuple[Any, Edit, torch.Tensor]:  # fmt: skip
        check_clip(clip)
        read_strength(strength, edit_files.MAX_STRENGTH)
        if form not in FORMS:
            raise ValueError(f"form: {form!r} is unknown; choose one of {', '.join(FORMS)}.")
        pairs, kept = _texts(clip, redact, reference, keep, seed)
        rounds = 2 * len(pairs) + len(kept)
        bar = comfy.utils.ProgressBar(rounds + (steps if form == NETWORK else 1))
        encoder, examples = _examples(clip, pairs, kept, lambda: _advance(bar))
        if form == RIDGE:
            kept_fit, redacted_fit = held_out_fit(examples)
            picture = bars(kept_fit, redacted_fit)
            maps: Mapping[str, Map] = fit(examples)
            told: dict[str, Any] = {}
        else:
            trained = train(examples, steps, seed, progress=lambda step: _advance(bar))
            picture, maps, told = curve(trained), trained.maps, _record(trained)
        bar.update_absolute(bar.total)
        settings = {"form": form, "encoder": encoder.record(), "redact": redact, "reference": reference, "keep": keep,
                    "seed": seed, **told}  # fmt: skip
        tensors = {f"{key}/{name}": tensor for key, each in maps.items() for name, tensor in each.tensors().items()}
        return redacted(clip, encoder, maps, strength), Edit(KIND, tensors, settings), picture


class SafelightLoadRedaction(edit_files.LoadsEdit):
    KIND = KIND
    RETURN_TYPES = ("CLIP",)
    OUTPUT_TOOLTIPS = ("The text encoder, redacted.",)
    FUNCTION = "load"
    CATEGORY = edit_files.CATEGORY
    SEARCH_ALIASES = [*SEARCH_ALIASES, "redaction", "erase concept", "unlearn"]
    DESCRIPTION = (
        "Applies a redaction from a file to a text encoder of the kind that it was made on. Several in a row work one "
        "after the other."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": CLIP,
                "file": (edit_files.files(KIND), {
                    "tooltip": "A redaction in models/safelight or output/safelight, from Safelight Save Edit.",
                }),
            },
            "optional": {"strength": STRENGTH},
        }  # fmt: skip

    def load(self, clip: Any, file: str, strength: float = 1.0) -> tuple[Any]:
        check_clip(clip)
        if read_strength(strength, edit_files.MAX_STRENGTH) == 0.0:
            return (clip,)
        edit = edit_files.load(file, KIND)
        form, maps = maps_of(edit, file)
        found, _ = pieces_of(clip, "")
        if found != form:
            raise ValueError(f"file: {file} is a redaction of another kind of text encoder ({form}) than this clip "
                             f"({found}); link the clip that it was made on, or make it again.")  # fmt: skip
        return (redacted(clip, form, maps, strength),)


def maps_of(edit: Edit, name: str) -> tuple[Form, dict[str, Map]]:
    """The text encoder's form and every block's map. Raises ValueError, naming the file, where they can't be read."""
    try:
        form = Form.of_record(edit.settings["encoder"])
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
        raise ValueError(f"reference: it has {len(instead)} lines, and redact {len(things)}; write one line for all, "
                         "or one for each.")  # fmt: skip
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
            pairs.append((form.format(thing=thing, other=beside),
                          form.format(thing=other, other=beside) if other else beside))  # fmt: skip
    both = [f"{kept[a]} and {kept[b]}" for a, b in rng.integers(len(kept), size=(_KEPT_PAIRS, 2)) if a != b]
    chosen = rng.permutation(len(kept))[:_KEPT]
    return pairs, list(dict.fromkeys([*(kept[i] for i in chosen), *both]))


def _examples(clip: Any, pairs: Sequence[tuple[str, str]], kept: Sequence[str],
              advance: Any) -> tuple[Form, list[Example]]:  # fmt: skip
    """The text encoder's form, and what its states of the texts are and should become."""
    form: Form | None = None

    def read(text: str) -> dict[str, Piece]:
        nonlocal form
        advance()
        own, pieces = pieces_of(clip, text)
        form = form or own
        if own != form:
            raise ValueError(f"clip: this text encoder gives texts of several forms ({form}; {own}), so they can't be "
                             "redacted.")  # fmt: skip
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
    best = trained.looks[trained.best]
    return {"steps": trained.looks[-1].step, "best_step": best.step, "held_out_keep": round(best.keep, 6),
            "held_out_redact": round(best.redact, 6)}  # fmt: skip


NODE_CLASS_MAPPINGS = {"SafelightRedact": SafelightRedact, "SafelightLoadRedaction": SafelightLoadRedaction}
NODE_DISPLAY_NAME_MAPPINGS = {
    "SafelightRedact": "Safelight Redact",
    "SafelightLoadRedaction": "Safelight Load Redaction",
}
