"""The vectors that SAFREE compares: one of the prompt with each word token masked, one of each concept phrase.

SAFREE's vector of a text is CLIP's pooler_output: the end token's state after the final layer norm, unprojected. Where
the encoder's states are the last ones and normed (SD 1.x; SD 2, whose released pipeline cuts the encoder one layer
short, as the host does), that vector is among the states, so it is read from there, and masked prompts are encoded
several per call, as chunks. The host's pooled output would not do: it is projected, and of a call's first chunk alone.
For SDXL we take the end token's state too, in the layer and width that is changed (the released code takes the
projected output of CLIP-G alone). T5 and language models have no end token of this kind; there we take the mean of the
words' states (the released code for SD 3 takes T5's first state).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import comfy.clip_model
import comfy.model_management
import comfy.utils
import torch

from safelight.checks import check_texts
from safelight.engine.encoder import (
    check_clip,
    check_known,
    encode_entries,
    encode_prompt,
    encode_tokens,
    known_phrases,
)
from safelight.engine.known_rows import check_rows
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

if TYPE_CHECKING:
    from comfy.sd import CLIP

MASK = 0  # the token in place of a masked one
_CHUNKS_PER_CALL = 16  # of the encoder
_CLIPS = ("l", "g")  # encoders whose blocks may be side by side, in this order
_UNREADABLE = (
    "clip: expected a text encoder with a known place for the states of each word, got another kind, which SAFREE "
    "can't read. Use Safelight Guider with a safe prompt of your own."
)


@dataclass(frozen=True)
class SafePrompt:
    """conditioning: CONDITIONING; words: the trigger words; t: SAFREE's t', of 50 steps; notes: for the artist."""

    conditioning: Conditioning
    words: tuple[str, ...]
    t: int
    notes: tuple[str, ...]


def encode_safe(clip: CLIP, prompt: str, concepts: str, variant: str) -> SafePrompt:
    """SAFREE's safe embedding of the prompt: all but its trigger tokens are as the host encodes them.

    A prompt without triggers comes back as written. Raises ValueError, naming the input.
    """
    check_clip(clip)
    check_texts(prompt=prompt, concepts=concepts)
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError("concepts: expected words for SAFREE to keep out, got an empty list. Name what is unsafe.")
    phrases = known_phrases(clip, phrases, "concepts")
    check_rows(clip, "SAFREE", "Use Safelight Guider with the safe output of Safelight Context Encode.")
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
        filtered = filter_prompt(states[0], encoding.states[0], encoding.weights, prompt_chunks, variant)
        safe.append([filtered.states[None], dict(extra)])
        words += [word for word, chosen in zip(encoding.words, filtered.triggers.tolist(), strict=True) if chosen]
        t = max(t, filtered.t) if filtered.triggers.any() else t
    words = list(dict.fromkeys(words))
    if t < 0:
        return SafePrompt(positive, (), -1, ("SAFREE: no word of the prompt is a trigger, so it stays as written.",))
    return SafePrompt(safe, tuple(words), t, (f"SAFREE: trigger words {', '.join(words)}; steps 0 to {t} of 50.",))


def encode_concepts(clip: CLIP, concepts: str) -> Conditioning:
    """The concepts as one text, for the negative prompt. Raises ValueError, naming the input."""
    check_known(clip, concepts, "concepts")
    conditioning = encode_prompt(clip, join_concepts([], concepts))
    if not all(torch.isfinite(entry[0]).all() for entry in conditioning):
        raise ValueError(
            "concepts: expected finite states from the text encoder, got others for them as one text. Name fewer, or "
            "try another precision of the encoder (fp32 or bf16)."
        )
    return conditioning


def _prompt_chunks(clip: CLIP, tokens: Tokens, encoding: Encoding, phrases: list[str]) -> list[PromptChunk]:
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
            encoder = _encoder_of(name, b, len(part.blocks))
            first = part.start - skip
            for number, chunk in enumerate(tokens[encoder]):
                reach = range(part.start - first, part.stop - first)  # of the chunk's places, those with states
                variants = [v for v, (c, place) in enumerate(places[encoder]) if c == number and place in reach]
                if variants:
                    rows = torch.tensor([first + places[encoder][v][1] for v in variants])
                    attended = torch.tensor([first + i for i in range(_end(chunk) + 1) if i in reach])
                    prompt_chunks.append(
                        PromptChunk((p, b), slice(*columns), attended, rows, vectors[p, b][variants], concepts[p, b])
                    )
                first += len(chunk)
    return prompt_chunks


def _encoder_of(name: str, block: int, blocks: int) -> str:
    """The encoder of a block, in a part that has the tokens of the encoder `name`."""
    return _CLIPS[block] if blocks > 1 else name


def _with_each_masked(tokens: Tokens) -> tuple[Tokens, dict[str, list[tuple[int, int]]]]:
    """By encoder: for each word token of the text, its chunk with that token masked; and the tokens' (chunk, place).

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


def _phrase_chunks(clip: CLIP, phrases: list[str]) -> Tokens:
    """A chunk for each concept phrase, by encoder."""
    chunks: Tokens = {}
    for phrase in phrases:
        phrase_tokens = read_tokens(clip, phrase)
        for name, phrase_chunks in phrase_tokens.items():
            if len(phrase_chunks) > 1:
                raise ValueError(
                    f"concepts: expected phrases within one chunk of the text encoder, got {phrase[:40]!r}..., which "
                    "is too long. Shorten it."
                )
            if not any(token[2] for token in phrase_chunks[0]):
                raise ValueError(
                    f"concepts: expected words that the text encoder knows, got none in {phrase!r}. Remove it."
                )
            chunks.setdefault(name, []).append(phrase_chunks[0])
    return chunks


def _end(chunk: list[Token]) -> int:
    """The place of the end token, behind the last word; the chunk's length where words fill it."""
    return max((i for i, token in enumerate(chunk) if token[2]), default=-1) + 1


def sentence_vectors(clip: CLIP, texts: Tokens) -> dict[tuple[int, int], torch.Tensor]:
    """By block, a vector for each of the given chunks: [n, W]. Encoders may have different numbers of chunks."""
    texts = unweighted(texts)
    most = max(map(len, texts.values()))
    filled = {name: [*chunks, *chunks[:1] * (most - len(chunks))] for name, chunks in texts.items()}
    at_once = _CHUNKS_PER_CALL if all(len({len(c) for c in chunks}) == 1 for chunks in filled.values()) else 1
    vectors: dict[tuple[int, int], list[torch.Tensor]] = {}
    bar, start = comfy.utils.ProgressBar(most), 0
    while start < most:
        comfy.model_management.throw_exception_if_processing_interrupted()
        some = {name: chunks[start : start + at_once] for name, chunks in filled.items()}
        states, _ = encode_tokens(clip, some)
        layout = layout_of(clip, some, *states.shape[-2:])
        if at_once > 1 and (not layout or any(skip for _, skip, _ in layout)):
            at_once = 1  # this encoder takes one text at a time
            continue
        if not layout:
            raise ValueError(_UNREADABLE)
        if not torch.isfinite(states).all():
            raise ValueError(
                "clip: expected finite states from the text encoder, got others for the prompt or the concepts. Try "
                "another precision of the encoder (fp32 or bf16)."
            )
        for p, (name, skip, part) in enumerate(layout):
            for b, (first, last) in enumerate(part.blocks):
                encoder, row = _encoder_of(name, b, len(part.blocks)), part.start - skip
                for chunk in some[encoder]:
                    if row + len(chunk) > part.stop:
                        raise ValueError(_UNREADABLE)
                    rows = states[0, max(row, part.start) : row + len(chunk), first:last].float().cpu()
                    vectors.setdefault((p, b), []).append(_vector(clip, encoder, chunk, rows))
                    row += len(chunk)
        bar.update(at_once)
        start += at_once
    return {key: torch.stack(of_block) for key, of_block in vectors.items()}


def _vector(clip: CLIP, name: str, chunk: list[Token], rows: torch.Tensor) -> torch.Tensor:
    """A chunk's vector [W] from its states [S, W], where a template that the encoder cuts off in front is missing."""
    cut, end = len(chunk) - len(rows), _end(chunk)
    transformer = getattr(encoder_named(clip, name), "transformer", None)
    if isinstance(transformer, comfy.clip_model.CLIPTextModel) and cut <= end < len(chunk):
        return rows[end - cut]
    words = [i - cut for i, token in enumerate(chunk) if token[2] and i >= cut]
    return rows[words].mean(dim=0)
