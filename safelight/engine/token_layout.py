"""Which states of the host's text encoder belong to which tokens and words.

A CLIP of the host turns a text into tokens by encoder name (l, g, t5xxl, ...), each a list of chunks of (token, weight)
pairs, and encodes them to one tensor [1, T, W]. Where the tokens of which encoder lie in it is worked out here from
lengths and widths, so that encoders not known to this file work as well, at worst as one block.
"""

from __future__ import annotations

from typing import Any

import torch

from safelight.text.encoding import Encoding, Part

Token = tuple[Any, float, int]  # token, weight, word number (0: start, end, padding)
Tokens = dict[str, list[list[Token]]]

_WORD_STARTS = ("\u2581", "\u0120", " ")  # sentencepiece, byte-level BPE
_ABSENT_L = 768  # SD3 leaves CLIP-L's columns empty where only CLIP-G is loaded


def read_tokens(clip: Any, text: str) -> Tokens:
    """The text's tokens with weights and word numbers, by encoder."""
    found = clip.tokenize(text, return_word_ids=True)
    found = found if isinstance(found, dict) else {"": found}
    tokens = {}
    for name, chunks in found.items():
        if isinstance(chunks, list) and chunks and all(isinstance(chunk, list) and chunk for chunk in chunks):
            tokens[name] = [_with_word_numbers(clip, name, chunk) for chunk in chunks]
    return tokens


def _with_word_numbers(clip: Any, name: str, chunk: list[Any]) -> list[Token]:
    if all(len(token) > 2 for token in chunk):
        return [(token[0], float(token[1]), int(token[2])) for token in chunk]
    special = _special_tokens(clip, name)
    return [(t, float(w), 0 if isinstance(t, int) and t in special else i + 1) for i, (t, w, *_) in enumerate(chunk)]


def encoder_named(clip: Any, name: str) -> Any:
    model = clip.cond_stage_model
    return getattr(model, f"clip_{name}", getattr(model, name, None))


def _tokenizer(clip: Any, name: str) -> Any:
    tokenizer = clip.tokenizer
    return getattr(tokenizer, f"clip_{name}", getattr(tokenizer, name, tokenizer))


def _special_tokens(clip: Any, name: str) -> set[int]:
    return {t for t in getattr(encoder_named(clip, name), "special_tokens", {}).values() if isinstance(t, int)}


def _words(clip: Any, name: str, chunk: list[Token]) -> list[str]:
    """The word that each token is or is a piece of; "" for tokens without text."""
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
    """As the host's encoders want them."""
    pairs = {name: [[(t, weight) for t, weight, _ in chunk] for chunk in chunks] for name, chunks in tokens.items()}
    return pairs[""] if set(pairs) == {""} else pairs


def _width(clip: Any, name: str) -> int | None:
    try:
        return int(encoder_named(clip, name).transformer.get_input_embeddings().weight.shape[-1])
    except AttributeError:
        return None


def layout_of(clip: Any, tokens: Tokens, length: int, width: int) -> list[tuple[str, int, Part]]:
    """The parts of an output [1, length, width]: the encoder whose tokens each follows, and from which token on.

    Known forms: one encoder; CLIP-L and CLIP-G side by side (SDXL); those, and another one's tokens after theirs (SD3);
    several encoders, of which one fills the states and the others only the pooled output (Flux); a language model whose
    template is cut off in front. Anything else is [].
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


def describe(clip: Any, tokens: Tokens, states: torch.Tensor, pooled: torch.Tensor | None) -> Encoding:
    """The Encoding of states [B, T, W] that the encoder made of these tokens, their weights left aside."""
    length, width = states.shape[-2:]
    layout = layout_of(clip, tokens, length, width)
    if not layout:  # every token is a word, in one block
        everything, nothing = torch.ones(length, dtype=torch.bool), torch.zeros(length, dtype=torch.bool)
        zeros = torch.zeros(length, dtype=torch.long)
        part = Part(0, length, ((0, width),))
        return Encoding(states, pooled, everything, nothing, zeros, zeros, torch.ones(length), ("",) * length, (part,))
    rows: list[tuple[bool, bool, int, int, float, str]] = []
    for name, skip, part in layout:
        own = []
        for number, chunk in enumerate(tokens[name]):
            words = _words(clip, name, chunk)
            for place, (_, weight, word) in enumerate(chunk):
                own.append((word > 0, word == 0 and place > 0, number, place, weight, words[place]))
        first_chunk = rows[-1][2] + 1 if rows else 0  # a chunk of another encoder is another chunk
        rows += [(a, b, c + first_chunk, d, e, f) for a, b, c, d, e, f in own[skip : skip + part.stop - part.start]]
    content, tail, chunk, place, weight, word = zip(*rows, strict=True)
    return Encoding(
        states,
        pooled,
        torch.tensor(content),
        torch.tensor(tail),
        torch.tensor(chunk),
        torch.tensor(place),
        torch.tensor(weight),
        word,
        tuple(part for *_, part in layout),
    )
