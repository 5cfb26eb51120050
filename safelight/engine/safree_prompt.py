"""A prompt as SAFREE reads it: one vector for the prompt without each of its words, one for every concept phrase.

SAFREE takes CLIP's pooler_output for such a vector: the end token's state after the final layer norm, unprojected. That
is the state of the end token among the states themselves wherever these are the last ones and normed (SD 1.x; SD 2,
whose released pipeline cuts the encoder one layer short, as the host does), so it is read from there, and all masked
prompts go as chunks of a few calls. The host's own pooled output is projected, and that of a call's first chunk alone.
SDXL's blocks get the end token's state as well, in the very layer and width that is changed (the released code has the
projected output of CLIP-G alone). A T5 or a language model has no such token: there the mean of the words' states
stands for it (the released code for SD 3 has T5's first state).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.clip_model
import comfy.model_management
import comfy.utils
import torch

from safelight.engine.encoder import check_clip, encode_entries, encode_prompt, encode_tokens
from safelight.engine.token_layout import (
    Token,
    Tokens,
    describe,
    encoder_named,
    is_weighted,
    layout_of,
    read_tokens,
    unweighted,
)
from safelight.text.concepts import join_concepts, split_concepts
from safelight.text.conditioning import Conditioning
from safelight.text.encoding import Encoding
from safelight.text.safree import PromptChunk, filter_prompt

MASK = 0  # the token that stands in for a masked one
_TOGETHER = 16  # chunks in one call of the encoder
_CLIPS = ("l", "g")  # encoders that may lie side by side, in this order
_UNREADABLE = (
    "clip: it can't be told which of this text encoder's states belongs to which word, so SAFREE can't read it. Use "
    "Safelight Guider with a safe prompt of your own instead."
)


@dataclass(frozen=True)
class SafePrompt:
    """conditioning: CONDITIONING; words: the trigger words; t: SAFREE's t', of 50 steps; notes: for the artist."""

    conditioning: list[Any]
    words: tuple[str, ...]
    t: int
    notes: tuple[str, ...]


def encode_safe(clip: Any, prompt: str, concepts: str, variant: str) -> SafePrompt:
    """SAFREE's safe embedding of the prompt, everything but its trigger tokens as the host encodes it.

    A prompt without triggers comes back as written. Raises ValueError, naming the input.
    """
    check_clip(clip)
    for name, text in (("prompt", prompt), ("concepts", concepts)):
        if not isinstance(text, str):
            raise ValueError(f"{name}: expected a text, got {text!r}. Write the text or link it.")
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError("concepts: the list is empty, so SAFREE has nothing to keep out. Name what is unsafe.")
    positive = encode_prompt(clip, prompt)
    if not all(torch.is_tensor(entry[0]) and entry[0].ndim == 3 and len(entry[0]) == 1 for entry in positive):
        raise ValueError(_UNREADABLE)
    tokens = read_tokens(clip, prompt)
    plain = unweighted(tokens)
    entries = [(entry[0], entry[1].get("pooled_output")) for entry in positive]
    if is_weighted(tokens):
        entries = encode_entries(clip, plain)
    encodings = [describe(clip, tokens, states, pooled).check("the prompt") for states, pooled in entries]
    prompt_chunks = _prompt_chunks(clip, tokens, encodings[0], phrases)
    if not prompt_chunks:
        return SafePrompt(positive, (), -1, ("SAFREE: the prompt has no words, so it stays as written.",))

    safe, words, t = [], [], -1
    for (states, extra, *_), encoding in zip(positive, encodings, strict=True):
        found = filter_prompt(states[0], encoding.states[0], encoding.weights, prompt_chunks, variant)
        safe.append([found.states[None], dict(extra)])
        words += [word for word, chosen in zip(encoding.words, found.triggers.tolist(), strict=True) if chosen]
        t = max(t, found.t) if found.triggers.any() else t
    words = list(dict.fromkeys(words))
    if t < 0:
        return SafePrompt(positive, (), -1, ("SAFREE: no word of the prompt is a trigger, so it stays as written.",))
    return SafePrompt(safe, tuple(words), t, (f"SAFREE: trigger words {', '.join(words)}; steps 0 to {t} of 50.",))


def encode_concepts(clip: Any, concepts: str) -> Conditioning:
    """The concepts as one text, for the negative prompt. Raises ValueError, naming the input."""
    conditioning = encode_prompt(clip, join_concepts([], concepts))
    if not all(torch.isfinite(entry[0]).all() for entry in conditioning):
        raise ValueError(
            "concepts: expected finite states from the text encoder, got others for them as one text. Name fewer, or "
            "try another precision of the encoder (fp32 or bf16)."
        )
    return conditioning


def _prompt_chunks(clip: Any, tokens: Tokens, encoding: Encoding, phrases: list[str]) -> list[PromptChunk]:
    """The prompt's chunks with words, by block; none for a prompt without words."""
    layout = layout_of(clip, tokens, *encoding.states.shape[-2:])
    if not layout:
        raise ValueError(_UNREADABLE)
    masked, places = _with_each_masked(tokens)
    if not any(places.values()):
        return []
    concepts = sentence_vectors(clip, _phrase_chunks(clip, phrases))
    vectors = sentence_vectors(clip, masked)
    if concepts.keys() != vectors.keys():
        raise ValueError(_UNREADABLE)
    prompt_chunks = []
    for p, (name, skip, part) in enumerate(layout):
        for b, columns in enumerate(part.blocks):
            own = _name_of(name, b, len(part.blocks))
            first = part.start - skip
            for number, chunk in enumerate(tokens[own]):
                reach = range(part.start - first, part.stop - first)  # of the chunk's places, those with states
                variants = [v for v, (c, place) in enumerate(places[own]) if c == number and place in reach]
                if variants:
                    rows = torch.tensor([first + places[own][v][1] for v in variants])
                    attended = torch.tensor([first + i for i in range(_end(chunk) + 1) if i in reach])
                    prompt_chunks.append(
                        PromptChunk((p, b), slice(*columns), attended, rows, vectors[p, b][variants], concepts[p, b])
                    )
                first += len(chunk)
    return prompt_chunks


def _name_of(name: str, block: int, blocks: int) -> str:
    """The encoder of a block of a part whose tokens are those of encoder `name`."""
    return _CLIPS[block] if blocks > 1 else name


def _with_each_masked(tokens: Tokens) -> tuple[Tokens, dict[str, list[tuple[int, int]]]]:
    """For each word token of the text its chunk with that token masked, by encoder, and which (chunk, place) it is.

    An encoder without words gets the text's first chunk.
    """
    places = {
        name: [(c, i) for c, chunk in enumerate(chunks) for i, token in enumerate(chunk) if token[2]]
        for name, chunks in tokens.items()
    }
    masked = {
        name: [[*tokens[name][c][:i], (MASK, 1.0, tokens[name][c][i][2]), *tokens[name][c][i + 1 :]] for c, i in pairs]
        or tokens[name][:1]
        for name, pairs in places.items()
    }
    return masked, places


def _phrase_chunks(clip: Any, phrases: list[str]) -> Tokens:
    """A chunk for each concept phrase, by encoder."""
    chunks: Tokens = {}
    for phrase in phrases:
        for name, own in read_tokens(clip, phrase).items():
            if len(own) > 1:
                raise ValueError(
                    f"concepts: the phrase {phrase[:40]!r}... is too long for the text encoder; shorten it."
                )
            if not any(token[2] for token in own[0]):
                raise ValueError(f"concepts: {phrase!r} has no words that the text encoder knows; remove it.")
            chunks.setdefault(name, []).append(own[0])
    return chunks


def _end(chunk: list[Token]) -> int:
    """The place of the end token, behind the last word; the chunk's length where words fill it."""
    return max((i for i, token in enumerate(chunk) if token[2]), default=-1) + 1


def sentence_vectors(clip: Any, texts: Tokens) -> dict[tuple[int, int], torch.Tensor]:
    """A vector [W] for every chunk given, by block: [n, W]. Encoders' chunks need not be equally many."""
    texts = unweighted(texts)
    most = max(map(len, texts.values()))
    filled = {name: [*chunks, *chunks[:1] * (most - len(chunks))] for name, chunks in texts.items()}
    at_once = _TOGETHER if all(len({len(c) for c in chunks}) == 1 for chunks in filled.values()) else 1
    found: dict[tuple[int, int], list[torch.Tensor]] = {}
    bar, start = comfy.utils.ProgressBar(most), 0
    while start < most:
        comfy.model_management.throw_exception_if_processing_interrupted()
        some = {name: chunks[start : start + at_once] for name, chunks in filled.items()}
        states, _ = encode_tokens(clip, some)
        layout = layout_of(clip, some, *states.shape[-2:])
        if at_once > 1 and (not layout or any(skip for _, skip, _ in layout)):
            at_once = 1  # an encoder of one text at a time
            continue
        if not layout:
            raise ValueError(_UNREADABLE)
        if not torch.isfinite(states).all():
            raise ValueError(
                "clip: the text encoder returned values that are not finite for the prompt or the "
                "concepts. Try another precision of the encoder (fp32 or bf16)."
            )
        for p, (name, skip, part) in enumerate(layout):
            for b, (first, last) in enumerate(part.blocks):
                own, row = _name_of(name, b, len(part.blocks)), part.start - skip
                for chunk in some[own]:
                    if row + len(chunk) > part.stop:
                        raise ValueError(_UNREADABLE)
                    rows = states[0, max(row, part.start) : row + len(chunk), first:last].float().cpu()
                    found.setdefault((p, b), []).append(_vector(clip, own, chunk, rows))
                    row += len(chunk)
        bar.update(at_once)
        start += at_once
    return {key: torch.stack(vectors) for key, vectors in found.items()}


def _vector(clip: Any, name: str, chunk: list[Token], rows: torch.Tensor) -> torch.Tensor:
    """[W] of one chunk's states [S, W]; a template that the encoder cuts off in front is missing from them."""
    cut, end = len(chunk) - len(rows), _end(chunk)
    transformer = getattr(encoder_named(clip, name), "transformer", None)
    if isinstance(transformer, comfy.clip_model.CLIPTextModel) and cut <= end < len(chunk):
        return rows[end - cut]
    words = [i - cut for i, token in enumerate(chunk) if token[2] and i >= cut]
    return rows[words].mean(dim=0)
