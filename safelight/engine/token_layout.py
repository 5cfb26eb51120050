"""Finds the tokens and words that the states of the host's text encoder belong to.

A CLIP of the host turns a text into tokens by encoder name (l, g, t5xxl, ...), each a list of chunks of (token, weight)
pairs, and encodes them to one tensor [1, T, W]. The place of each encoder's tokens in it follows from lengths and
widths, so that encoders not known to this file work as well, at worst as one block.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from safelight.text.encoding import Encoding, Part

if TYPE_CHECKING:
    from comfy.sd import CLIP

# What the host tokenizes to is Any: an id, or the vector of an embedding.
Token = tuple[Any, float, int]  # token, weight, word number (0: start, end, padding)
Tokens = dict[str, list[list[Token]]]

_WORD_STARTS = ("\u2581", "\u0120", " ")  # sentencepiece, byte-level BPE
_ABSENT_L = 768  # SD3 leaves CLIP-L's columns empty where only CLIP-G is loaded


def read_tokens(clip: CLIP, text: str) -> Tokens:
    """The text's tokens with weights and word numbers, by encoder."""
    host_tokens = clip.tokenize(text, return_word_ids=True)
    by_name = host_tokens if isinstance(host_tokens, dict) else {"": host_tokens}
    tokens = {}
    for name, chunks in by_name.items():
        if isinstance(chunks, list) and chunks and all(isinstance(chunk, list) and chunk for chunk in chunks):
            tokens[name] = [_with_word_numbers(clip, name, chunk) for chunk in chunks]
    return tokens


def _with_word_numbers(clip: CLIP, name: str, chunk: list[Any]) -> list[Token]:
    if all(len(token) > 2 for token in chunk):
        return [(token[0], float(token[1]), int(token[2])) for token in chunk]
    special = _special_tokens(clip, name)
    return [(t, float(w), 0 if isinstance(t, int) and t in special else i + 1) for i, (t, w, *_) in enumerate(chunk)]


def encoder_named(clip: CLIP | SimpleNamespace, name: str) -> Any:
    """One of a CLIP's text encoders, by its name in the tokens; None without one of this name.

    Any, because encoders have no class in common. Of the CLIP only cond_stage_model is read.
    """
    model = clip.cond_stage_model
    return getattr(model, f"clip_{name}", getattr(model, name, None))


def _tokenizer(clip: CLIP, name: str) -> object:
    tokenizer = clip.tokenizer
    return getattr(tokenizer, f"clip_{name}", getattr(tokenizer, name, tokenizer))


def _special_tokens(clip: CLIP, name: str) -> set[int]:
    return {t for t in getattr(encoder_named(clip, name), "special_tokens", {}).values() if isinstance(t, int)}


def _words(clip: CLIP, name: str, chunk: list[Token]) -> list[str]:
    """The word of each token, which may be one of its pieces; "" for tokens without text."""
    vocabulary = getattr(_tokenizer(clip, name), "inv_vocab", {})
    pieces = [str(vocabulary.get(t, "")) if number and isinstance(t, int) else "" for t, _, number in chunk]
    ends_are_marked = any(piece.endswith("</w>") for piece in pieces)  # CLIP; others mark where a word starts
    groups: list[list[int]] = []
    for i, piece in enumerate(pieces):
        before = pieces[i - 1] if i else ""
        starts = before.endswith("</w>") if ends_are_marked else piece[:1] in _WORD_STARTS
        if not groups or not piece or not before or starts:
            groups.append([])
        groups[-1].append(i)
    words = [""] * len(chunk)
    for group in groups:
        word = "".join(pieces[i] for i in group).replace("</w>", "").strip("".join(_WORD_STARTS))
        for i in group:
            words[i] = word
    return words


def unweighted(tokens: Tokens) -> Tokens:
    return {name: [[(t, 1.0, w) for t, _, w in chunk] for chunk in chunks] for name, chunks in tokens.items()}


def is_weighted(tokens: Tokens) -> bool:
    return any(weight != 1.0 for chunks in tokens.values() for chunk in chunks for _, weight, _ in chunk)


def token_pairs(tokens: Tokens) -> dict[str, list[list[tuple[Any, float]]]] | list[list[tuple[Any, float]]]:
    """The tokens in the form that the host's encoders take."""
    pairs = {name: [[(t, weight) for t, weight, _ in chunk] for chunk in chunks] for name, chunks in tokens.items()}
    return pairs[""] if set(pairs) == {""} else pairs


def _width(clip: CLIP | SimpleNamespace, name: str) -> int | None:
    try:
        return int(encoder_named(clip, name).transformer.get_input_embeddings().weight.shape[-1])
    except AttributeError:
        return None


def layout_of(clip: CLIP | SimpleNamespace, tokens: Tokens, length: int, width: int) -> list[tuple[str, int, Part]]:
    """The parts of an output [1, length, width], each with the encoder of its tokens and how many of those it skips.

    Known layouts: one encoder; CLIP-L and CLIP-G side by side (SDXL); those, and another one's tokens after theirs
    (SD3); several encoders, of which one fills the states and the others only the pooled output (Flux); a language
    model whose template is cut off in front. Anything else gives [].
    """
    lengths = {
        name: sum(map(len, chunks))
        for name, chunks in tokens.items()
        if len(tokens) == 1 or encoder_named(clip, name) is not None
    }
    clips = [name for name in ("l", "g") if name in lengths]
    blocks = _side_by_side([_width(clip, name) for name in clips], width, clips == ["g"])
    whole = ((0, width),)
    if blocks:
        rows = min(lengths[name] for name in clips)
        first = (clips[0], 0, Part(0, rows, blocks))
        if rows == length and (len(clips) == 2 or len(lengths) == 1):
            return [first]
        for name in lengths.keys() - clips:
            if rows + lengths[name] == length:
                return [first, (name, 0, Part(rows, length, whole))]
    for fits in (lambda name: _width(clip, name) == width, lambda name: len(lengths) == 1):
        for name in filter(fits, lengths):
            if lengths[name] >= length:
                return [(name, lengths[name] - length, Part(0, length, whole))]
    return []


def _side_by_side(widths: list[int | None], width: int, only_g: bool) -> tuple[tuple[int, int], ...]:
    """The columns of encoders of these widths in states of the given width; () where they do not fit."""
    sizes = [size for size in widths if size]
    start = _ABSENT_L if only_g and sizes and sizes[0] + _ABSENT_L <= width else 0
    if not sizes or len(sizes) < len(widths) or start + sum(sizes) > width:
        return ()
    stops = [start + sum(sizes[: i + 1]) for i in range(len(sizes))]
    return tuple((stop - size, stop) for stop, size in zip(stops, sizes, strict=True))


def describe(clip: CLIP, tokens: Tokens, states: torch.Tensor, pooled: torch.Tensor | None) -> Encoding:
    """The Encoding of states [B, T, W] that the encoder made of these tokens without their weights."""
    length, width = states.shape[-2:]
    layout = layout_of(clip, tokens, length, width)
    if not layout:  # every token is a word, in one block
        everything, nothing = torch.ones(length, dtype=torch.bool), torch.zeros(length, dtype=torch.bool)
        zeros = torch.zeros(length, dtype=torch.long)
        part = Part(0, length, ((0, width),))
        return Encoding(states, pooled, everything, nothing, zeros, zeros, torch.ones(length), ("",) * length, (part,))
    rows: list[tuple[bool, bool, int, int, float, str]] = []
    for name, skip, part in layout:
        first_chunk = rows[-1][2] + 1 if rows else 0  # a chunk of another encoder is another chunk
        of_encoder = []
        for number, chunk in enumerate(tokens[name], first_chunk):
            words = _words(clip, name, chunk)
            for place, (_, weight, word) in enumerate(chunk):
                of_encoder.append((word > 0, word == 0 and place > 0, number, place, weight, words[place]))
        rows += of_encoder[skip : skip + part.stop - part.start]
    content, tail, chunks, places, weights = (torch.tensor([row[i] for row in rows]) for i in range(5))
    words_of_rows, parts = tuple(row[5] for row in rows), tuple(part for *_, part in layout)
    return Encoding(states, pooled, content, tail, chunks, places, weights, words_of_rows, parts)
