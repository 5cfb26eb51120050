"""Redaction: teaches a text encoder to give certain texts the conditioning of a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.utils
import numpy as np
import torch

from safelight.checks import check_numbers, check_texts
from safelight.edits.edit_file import Edit
from safelight.edits.redaction import ChunkStates, Example, LinearMap, fit, held_out_fit, sample
from safelight.edits.redaction_network import Batch, NetworkMap, Trained, train
from safelight.engine import edit_files
from safelight.engine.encoder import check_known, everyday_phrases
from safelight.engine.known_rows import check_rows
from safelight.engine.redacted_clip import EncoderLayout, Map, chunks_of
from safelight.text.anchors import BENIGN, SENTENCES
from safelight.views.learning_curve import bars, curve

if TYPE_CHECKING:
    from comfy.sd import CLIP

KIND = "redaction"
RIDGE, NETWORK = "ridge", "network"
FORMS = (RIDGE, NETWORK)
Blocks = Mapping[str, ChunkStates]  # a text's states
_MAPS: dict[str, Callable[[dict[str, torch.Tensor]], Map]] = {
    RIDGE: LinearMap.of_tensors,
    NETWORK: NetworkMap.of_tensors,
}
_MAX_KEPT, _KEPT_PAIRS = 128, 48  # texts to keep, and sentences with two of them
_REDACTED, _FEWEST, _MOST = 96, 9, 24  # sentences to redact: of all lines together, and of each line


def make_redaction(
    clip: CLIP, redact: str, reference: str, keep: str, form: str, steps: int, seed: int
) -> tuple[EncoderLayout, dict[str, Map], Edit, torch.Tensor]:
    """The encoder's layout, a map for each of its blocks, the edit that saves them, and a picture of the fit.

    Raises ValueError, naming the input.
    """
    if form not in FORMS:
        raise ValueError(f"form: unknown form {form!r}. Choose one of {', '.join(FORMS)}.")
    check_texts(redact=redact, reference=reference, keep=keep)
    check_numbers(steps=steps, seed=seed)
    check_rows(clip, "a redaction", "Rewrite prompts with Safelight Prompt or Safelight Context Encode.")
    pairs, kept = _texts(clip, redact, reference, keep, seed)
    texts = list(dict.fromkeys([*(text for pair in pairs for text in pair), *kept]))
    bar = comfy.utils.ProgressBar(len(texts) + (steps if form == NETWORK else 1))
    layout, encoded = encode_texts(clip, texts, lambda: advance(bar))
    examples = examples_of(encoded, pairs, kept)
    maps: dict[str, Map]
    if form == RIDGE:
        keep_error, redact_error = held_out_fit(examples)
        picture, maps, training = bars(keep_error, redact_error), {**fit(examples)}, {}
    else:
        trained = train_students(examples, steps, seed, bar, f"choose {RIDGE} as form")
        picture, maps, training = curve(trained), {**trained.maps}, training_record(trained)
    bar.update_absolute(bar.total)
    settings = {"redact": redact, "reference": reference, "keep": keep, "seed": seed, **training}
    return layout, maps, edit_of(layout, maps, form, settings), picture


def train_students(
    examples: Sequence[Example],
    steps: int,
    seed: int,
    bar: comfy.utils.ProgressBar,
    otherwise: str,
    further: Callable[[Batch], torch.Tensor] | None = None,
) -> Trained:
    """The students of a network. otherwise: what the artist can do but give more steps. further: as in `train`.

    Raises ValueError, naming the input, where they learn nothing that helps texts which took no part.
    """
    trained = train(examples, steps, seed, on_progress=lambda step: advance(bar), further=further)
    if not trained.best:
        raise ValueError(
            f"steps: expected training that helps texts which took no part in it, got none in {steps} steps, so the "
            f"encoder would stay as it is. Give more steps, or {otherwise}."
        )
    return trained


def edit_of(layout: EncoderLayout, maps: Mapping[str, Map], form: str, settings: Mapping[str, Any]) -> Edit:
    """The redaction as its file holds it, with the settings that it was made with."""
    tensors = {f"{key}/{name}": tensor for key, each in maps.items() for name, tensor in each.tensors().items()}
    return Edit(KIND, tensors, {"form": form, "encoder": layout.record(), **settings})


def load_redaction(clip: CLIP, file: str) -> tuple[EncoderLayout, dict[str, Map]]:
    """The redaction in a file, for this CLIP. Raises ValueError, naming the file, where it is another encoder's."""
    layout, maps = maps_of(edit_files.load(file, KIND), file)
    clip_layout, _ = chunks_of(clip, "")
    if clip_layout != layout:
        raise ValueError(
            f"file: expected a redaction of this clip's kind of text encoder ({clip_layout}), got {file}, which is of "
            f"another ({layout}). Link the clip that it was made on, or make it again."
        )
    return layout, maps


def maps_of(edit: Edit, name: str) -> tuple[EncoderLayout, dict[str, Map]]:
    """The text encoder's layout and every block's map. Raises ValueError, naming the file, where they can't be read."""
    try:
        layout = EncoderLayout.of_record(edit.settings["encoder"])
        tensors_by_block: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in edit.tensors.items():
            block, _, tensor_name = key.partition("/")
            tensors_by_block.setdefault(block, {})[tensor_name] = tensor
        maps = {block: _MAPS[edit.settings["form"]](tensors) for block, tensors in tensors_by_block.items()}
        widths = {block: each.width for block, each in maps.items()}
        if widths != layout.widths():
            raise ValueError(f"maps of widths {widths} for an encoder of widths {layout.widths()}")
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"file: expected a whole redaction, got {name} ({error}). Make it again.") from error
    return layout, maps


def _lines(text: str) -> list[str]:
    """The lines with single spaces; an empty one counts, except at the end."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def _texts(clip: CLIP, redact: str, reference: str, keep: str, seed: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Texts to redact, each with its reference, and texts to keep: the lines alone, and in sentences with others."""
    things = _lines(redact)
    references = _lines(reference)
    if not any(things):
        raise ValueError(
            "redact: expected things or prompts, got an empty text. Write what is to be read as something else, one "
            "per line."
        )
    if len(references) not in (1, len(things)):
        raise ValueError(
            f"reference: expected one line, or {len(things)} as in redact, got {len(references)}. Write one line for "
            "all, or one for each."
        )
    references = references * (len(things) if len(references) == 1 else 1)
    lines = [(thing, instead) for thing, instead in zip(things, references, strict=True) if thing]
    for thing, instead in lines:
        if thing == instead:
            raise ValueError(
                f"reference: expected another text than in redact, got {thing!r} in both, so nothing would change. "
                "Write another reference."
            )
    phrases = phrases_to_keep(clip, keep)
    # Here, because a sentence is made of two of the inputs.
    for input_name, parts in (("redact", things), ("reference", references), ("keep", phrases)):
        for part in parts:
            check_known(clip, part, input_name)
    rng = np.random.default_rng(seed)
    pairs = [(thing, instead) for thing, instead in lines if instead]  # an empty reference needs a phrase beside it
    count = min(max(_REDACTED // len(lines), _FEWEST), _MOST)
    for thing, instead in lines:
        for i in range(count):
            phrase = phrases[rng.integers(len(phrases))]
            sentence = SENTENCES[i % len(SENTENCES)]
            redacted = sentence.format(thing=thing, other=phrase)
            pairs.append((redacted, sentence.format(thing=instead, other=phrase) if instead else phrase))
    return pairs, kept_texts(phrases, rng)


def phrases_to_keep(clip: CLIP, keep: str) -> list[str]:
    """The lines, or everyday phrases that come with the pack or with the encoder."""
    phrases = [line for line in _lines(keep) if line]
    if not phrases:
        phrases = everyday_phrases(clip, BENIGN)
    return list(dict.fromkeys(phrases))


def kept_texts(phrases: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The phrases alone, at most _MAX_KEPT, and in pairs."""
    draws = rng.integers(len(phrases), size=(_KEPT_PAIRS, 2))
    of_two = [f"{phrases[a]} and {phrases[b]}" for a, b in draws if a != b]
    chosen = rng.permutation(len(phrases))[:_MAX_KEPT]
    return list(dict.fromkeys([*(phrases[i] for i in chosen), *of_two]))


def encode_texts(
    clip: CLIP, texts: Sequence[str], on_progress: Callable[[], None]
) -> tuple[EncoderLayout, dict[str, Blocks]]:
    """The text encoder's layout, and every text's states by block, in one call of the encoder each."""
    layout: EncoderLayout | None = None
    encoded: dict[str, Blocks] = {}
    for text in texts:
        on_progress()
        text_layout, encoded[text] = chunks_of(clip, text)
        layout = layout or text_layout
        if text_layout != layout:
            raise ValueError(
                f"clip: expected every text in one layout, got {layout} and {text_layout}. Use another text encoder."
            )
    assert layout is not None
    return layout, encoded


def examples_of(encoded: Mapping[str, Blocks], pairs: Sequence[tuple[str, str]], kept: Sequence[str]) -> list[Example]:
    """For each text its states and what they should become: those of its reference, or themselves."""
    redacted = [
        {key: sample(states, encoded[reference][key]) for key, states in encoded[text].items()}
        for text, reference in pairs
    ]
    return [*redacted, *({key: sample(states) for key, states in encoded[text].items()} for text in kept)]


def advance(bar: comfy.utils.ProgressBar) -> None:
    """A step further, unless the artist has stopped the run."""
    comfy.model_management.throw_exception_if_processing_interrupted()
    bar.update(1)


def training_record(trained: Trained) -> dict[str, Any]:
    """What a file keeps of it."""
    best = trained.eval_points[trained.best]
    return {
        "steps": trained.eval_points[-1].step,
        "best_step": best.step,
        "held_out_keep": round(best.keep, 6),
        "held_out_redact": round(best.redact, 6),
    }
