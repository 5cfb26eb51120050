"""Semantic Surgery on the artist's text encoder: its calibration, kept on disk, and the prompt without the concepts."""

from __future__ import annotations

import json
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import comfy.utils
import torch

from safelight.checks import check_texts
from safelight.engine import calibration_files, kept_spaces
from safelight.engine.concept_spaces import Memory, clip_state, recall, weights_print
from safelight.engine.encoder import check_clip, encode_entries, encode_prompt, known_phrases, own_anchors
from safelight.engine.known_rows import check_rows
from safelight.engine.planned_encoder import PlannedEncoder
from safelight.engine.token_layout import describe, is_weighted, read_tokens, unweighted
from safelight.text.anchors import anchors_for
from safelight.text.concept_vector import ConceptVector
from safelight.text.concepts import split_concepts
from safelight.text.conditioning import Conditioning, as_harmless
from safelight.text.encoding import Encoding, Key
from safelight.text.risk import LEAST_AUC, Calibration
from safelight.text.semantic_surgery import Scale, cut, difference, probabilities, selected, similarity

if TYPE_CHECKING:
    from comfy.sd import CLIP

FORMAT = "semantic surgery 1"  # of the files
_MOST = 2  # lists of concepts per text encoder; with T5 each is some 80 MB


@dataclass(frozen=True)
class Operated:
    """conditioning: the prompt without the concepts; risk: the highest probability that it names one; removed: those
    that were taken out; note: for the artist."""

    conditioning: Conditioning
    risk: float
    removed: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class _Known:
    """Of one encoder and list of concepts: what each concept adds to the empty text, and what similarities mean."""

    directions: list[ConceptVector]
    scales: dict[Key, Scale]


_memory: weakref.WeakKeyDictionary[torch.nn.Module, Memory[_Known]] = weakref.WeakKeyDictionary()


def operate(clip: CLIP, prompt: str, concepts: str, strength: float) -> Operated:
    """The prompt as the host encodes it, less strength times rho times the concepts that it names.

    Bit for bit the host's own where it names none, and at strength 0. Where this encoder can't tell the unsafe
    calibration phrases from everyday ones, rho is 1 and every concept is taken out. Raises ValueError, naming the
    input.
    """
    check_clip(clip)
    check_texts(prompt=prompt, concepts=concepts)
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError("concepts: expected what is to be taken out, got an empty list. Name it, separated by commas.")
    check_rows(clip, "Semantic Surgery", "Use Safelight Context Encode, which rewrites the text.")
    phrases = known_phrases(clip, phrases, "concepts")
    positive, tokens = encode_prompt(clip, prompt), read_tokens(clip, prompt)
    entries = [(entry[0], entry[1].get("pooled_output")) for entry in positive]
    if is_weighted(tokens):
        entries = encode_entries(clip, unweighted(tokens))
    encodings = [describe(clip, tokens, *entry).check("the prompt") for entry in entries]
    if not any(bool(encoding.content.any()) for encoding in encodings):
        return Operated(as_harmless(positive), 0.0, (), "The prompt has no words, so it stays as written.")
    known = _known(clip, phrases)
    by_entry = [
        probabilities(known.scales, [similarity(direction, encoding) for direction in known.directions])
        for encoding in encodings
    ]
    rho = [max(of_concept) for of_concept in zip(*by_entry, strict=True)]
    removed, risk = selected(phrases, rho), max(rho)
    if not removed:
        likeliest = phrases[rho.index(risk)]
        note = f"The prompt names no concept (the likeliest is {likeliest!r}, {risk:.2f}), so it stays as written."
        return Operated(as_harmless(positive), risk, (), note)
    if strength == 0.0:
        return Operated(positive, risk, (), "strength is 0, so the prompt stays as written.")
    together = zip(_encode(clip, ", ".join(removed)), _encode(clip, ""), strict=True)
    operated = []
    for (states, extra, *more), encoding, pair in zip(positive, encodings, together, strict=True):
        moved, pooled = cut(difference(*pair), encoding, states, extra.get("pooled_output"), strength * risk)
        changed = {"pooled_output": pooled} if "pooled_output" in extra else {}
        operated.append([moved, {**extra, **changed}, *more])
    return Operated(operated, risk, tuple(removed), _note(known.scales, removed, dict(zip(phrases, rho, strict=True))))


def _note(scales: Mapping[Key, Scale], removed: Sequence[str], rho: Mapping[str, float]) -> str:
    if any(scale.calibration.can_tell for scale in scales.values()):
        return f"Taken out: {', '.join(f'{concept} ({rho[concept]:.2f})' for concept in removed)}."
    best = max(scale.calibration.auc for scale in scales.values())
    return (
        f"This text encoder can't tell the unsafe calibration phrases from the everyday ones (AUC {best:.2f}, needed "
        f"{LEAST_AUC}), so all concepts are taken out of every prompt."
    )


def _encode(clip: CLIP, text: str) -> list[Encoding]:
    """The text without token weights: an Encoding for each entry of its CONDITIONING."""
    tokens = unweighted(read_tokens(clip, text))
    return [describe(clip, tokens, *entry).check(repr(text)) for entry in encode_entries(clip, tokens)]


def _known(clip: CLIP, concepts: Sequence[str]) -> _Known:
    """From memory where it is known. The calibration is kept on disk; the concepts are encoded anew at every start."""
    own = own_anchors(clip)
    everyday, unsafe = anchors_for(concepts) if own is None else (own["benign"], own["unsafe"])
    memory: Memory[_Known] = _memory.setdefault(clip.cond_stage_model, OrderedDict())
    key: Hashable = (clip_state(clip), tuple(everyday), tuple(unsafe), tuple(concepts))

    def read_or_fit() -> _Known:
        weights = weights_print(clip)
        texts = (everyday, unsafe, concepts, [FORMAT])
        file = None if weights is None else kept_spaces.fingerprint(clip, weights, *texts)
        scales = None if file is None else calibration_files.read(file, _scales)
        planned = list(dict.fromkeys(["", *concepts, *([] if scales else [*everyday, *unsafe])]))
        bar = comfy.utils.ProgressBar(len(planned))
        encode = PlannedEncoder(clip, planned, bar.update)
        empty = encode("").check("the empty text")
        directions = [difference(encode(concept).check(f"the concept {concept!r}"), empty) for concept in concepts]
        if scales is None:
            of_phrases = [
                [[similarity(direction, encoding) for direction in directions] for encoding in map(encode, phrases)]
                for phrases in (everyday, unsafe)
            ]
            scales = {
                block: Scale.fit(*(torch.tensor([[one[block] for one in row] for row in rows]) for rows in of_phrases))
                for block in of_phrases[0][0][0]
            }
            if file is not None:
                calibration_files.write(file, *_stored(scales))
        return _Known(directions, scales)

    return recall(memory, key, read_or_fit, _MOST)


def _stored(scales: Mapping[Key, Scale]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    names = {f"{part} {block}": scale for (part, block), scale in scales.items()}
    tensors = {f"{kind} {name}": getattr(scale, kind) for name, scale in names.items() for kind in ("mean", "spread")}
    fitted = {name: [one.slope, one.decision, one.auc] for name, one in ((n, s.calibration) for n, s in names.items())}
    return tensors, {"calibration": json.dumps(fitted)}


def _scales(tensors: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> dict[Key, Scale]:
    scales = {}
    for name, fitted in json.loads(metadata["calibration"]).items():
        part, block = map(int, name.split())
        scales[part, block] = Scale(tensors[f"mean {name}"], tensors[f"spread {name}"], Calibration(*fitted))
    return scales
