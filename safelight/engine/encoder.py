"""The host's text encoder: texts in, what the maths needs of them out.

A CLIP of the host turns a text into tokens by encoder name (l, g, t5xxl, ...), each a list of chunks of (token, weight)
pairs, and encodes them to one tensor [1, T, W]. Where the tokens of which encoder lie in it is worked out here from
lengths and widths, so that encoders not known to this file work as well, at worst as one block.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import comfy.utils
import torch

from safelight.text.anchors import BENIGN, UNSAFE, anchors_for
from safelight.text.concept_space import ConceptSpace
from safelight.text.encoding import Encoding, Part, Without
from safelight.text.concept_fit import Anchors, concept_space, read_anchors
from safelight.text.subspace import RIDGE
from safelight.engine.host import CLIPTextEncode

Token = tuple[Any, float, int]  # token, weight, word number (0: start, end, padding)
Tokens = dict[str, list[list[Token]]]

_KEPT_ANCHORS = 2  # per text encoder: with and without a LoRA, or at two clip skips
_KEPT_SPACES = 8
_WORD_STARTS = ("\u2581", "\u0120", " ")  # sentencepiece, byte-level BPE
_ABSENT_L = 768  # SD3 leaves CLIP-L's columns empty where only CLIP-G is loaded


def encode_prompt(clip: Any, text: str) -> list[Any]:
    """The CONDITIONING that the host's own CLIPTextEncode makes of the text."""
    node = CLIPTextEncode()
    outcome = getattr(node, node.FUNCTION)(clip=clip, text=text)
    return getattr(outcome, "result", outcome)[0]  # newer hosts' nodes may wrap their outputs


# -- tokens -----------------------------------------------------------------------------------------------------------


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


def with_one_left_out(tokens: Tokens) -> tuple[Tokens, dict[str, list[tuple[int, int]]]]:
    """The text's chunks followed by one chunk for each word token, without that token; no weights.

    A chunk keeps its length: its last token is repeated. Encoders get equally many chunks, so that their outputs still
    lie side by side; the first chunk fills up. Also returns which (chunk, place) each added chunk lacks.
    """
    neutral = unweighted(tokens)
    lacks = {
        name: [(c, i) for c, chunk in enumerate(chunks) for i, token in enumerate(chunk) if token[2]]
        for name, chunks in neutral.items()
    }
    most = max(len(chunks) + len(lacks[name]) for name, chunks in neutral.items())
    result = {}
    for name, chunks in neutral.items():
        added = [chunks[c][:i] + chunks[c][i + 1 :] + chunks[c][-1:] for c, i in lacks[name]]
        filled = [*chunks, *added]
        result[name] = filled + [chunks[0]] * (most - len(filled))
    return result, lacks


def _pairs(tokens: Tokens) -> dict[str, list[list[tuple[Any, float]]]] | list[list[tuple[Any, float]]]:
    """As the host's encoders want them."""
    pairs = {name: [[(t, weight) for t, weight, _ in chunk] for chunk in chunks] for name, chunks in tokens.items()}
    return pairs[""] if set(pairs) == {""} else pairs


# -- where tokens lie in the encoder's output -------------------------------------------------------------------------


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
        states, pooled, torch.tensor(content), torch.tensor(tail), torch.tensor(chunk), torch.tensor(place),
        torch.tensor(weight), word, tuple(part for *_, part in layout),
    )  # fmt: skip


# -- encoding for the maths -------------------------------------------------------------------------------------------


def encode_tokens(clip: Any, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor | None]:
    states, pooled = clip.encode_from_tokens(_pairs(tokens), return_pooled=True)
    return states, pooled


def encode_entries(clip: Any, tokens: Tokens) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """States and pooled output by entry of the CONDITIONING: a CLIP with scheduled hooks gives several."""
    if not hasattr(clip, "encode_from_tokens_scheduled"):
        return [encode_tokens(clip, tokens)]
    entries = clip.encode_from_tokens_scheduled(_pairs(tokens))
    return [(states, extra.get("pooled_output")) for states, extra, *_ in entries]


def encode_neutral(clip: Any, text: str) -> Encoding:
    """The text without token weights, in one call of the encoder."""
    tokens = unweighted(read_tokens(clip, text))
    return describe(clip, tokens, *encode_tokens(clip, tokens))


def encode_without_each(clip: Any, tokens: Tokens, written: torch.Tensor) -> Encoding | None:
    """The text encoded without token weights and, in the same call of the encoder, without each of its words in turn.

    written: the states [1, T, W] of the text as such. None for an encoder that does not give one row of states for
    every token of a chunk.
    """
    layout = layout_of(clip, tokens, *written.shape[-2:])
    if not layout or any(skip for _, skip, _ in layout):
        return None
    many, lacks = with_one_left_out(tokens)
    states, pooled = encode_tokens(clip, many)
    layout = layout_of(clip, many, *states.shape[-2:])
    if not layout:
        return None
    kept, without = [], []
    for name, _, part in layout:
        size = len(tokens[name][0])
        if any(len(chunk) != size for chunk in tokens[name]):
            return None
        chunks = states[0, part.start : part.stop].unflatten(0, (-1, size))
        kept.append(chunks[: len(tokens[name])].flatten(0, 1))
        starts = [c * size + i for c, i in lacks[name]]
        added = slice(len(tokens[name]), len(tokens[name]) + len(starts))
        content = [[word > 0 for *_, word in chunk] for chunk in many[name][added]]
        words = tuple(tuple(_words(clip, name, chunk)) for chunk in many[name][added])
        content_mask = torch.tensor(content, dtype=torch.bool).reshape(len(starts), size)
        without.append(Without(torch.tensor(starts, dtype=torch.long), chunks[added], content_mask, words))
    return replace(describe(clip, tokens, torch.cat(kept)[None], pooled), without=tuple(without))


# -- what is kept between prompts: the anchors and concepts of an encoder ---------------------------------------------

_kept: weakref.WeakKeyDictionary[Any, tuple[OrderedDict[Any, Anchors], OrderedDict[Any, ConceptSpace]]]
_kept = weakref.WeakKeyDictionary()


def _fingerprint(clip: Any) -> tuple[Any, ...]:
    """What tells two CLIPs on the same weights apart: LoRA patches, a redaction, clip skip, options."""
    options = sorted((str(key), str(value)) for key, value in getattr(clip, "tokenizer_options", {}).items())
    objects = sorted((name, str(getattr(each, "uuid", id(each)))) for name, each in clip.patcher.object_patches.items())
    return (clip.patcher.patches_uuid, clip.layer_idx, tuple(options), tuple(objects))


def anchor_phrases(clip: Any, concepts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Benign and unsafe phrases that fit these concepts.

    They are the shipped English ones, or the encoder's own where its tokenizer has the attribute `safelight_anchors`,
    {"benign": [...], "unsafe": [...]}: an encoder with a language of its own needs those.
    """
    own = getattr(clip.tokenizer, "safelight_anchors", None)
    return anchors_for(concepts) if own is None else (list(own["benign"]), list(own["unsafe"]))


def space_of(clip: Any, concepts: Sequence[str], reduction: str = "max", ridge: float = RIDGE) -> ConceptSpace:
    """The concept space of this CLIP, from memory where it is known. The concepts must not be empty.

    Anchors: see anchor_phrases.
    """
    benign, unsafe = anchor_phrases(clip, concepts)
    if hasattr(clip.tokenizer, "safelight_anchors"):
        all_benign, all_unsafe = benign, unsafe
    else:
        all_benign, all_unsafe = list(BENIGN), [phrase for phrases in UNSAFE.values() for phrase in phrases]
    anchors_kept, spaces_kept = _kept.setdefault(clip.cond_stage_model, (OrderedDict(), OrderedDict()))
    key = (*_fingerprint(clip), tuple(all_benign), tuple(all_unsafe), ridge)
    space_key = (*key, tuple(concepts), reduction)
    if space_key in spaces_kept:
        spaces_kept.move_to_end(space_key)
        return spaces_kept[space_key]
    if key not in anchors_kept:
        bar = comfy.utils.ProgressBar(len(all_benign) + len(all_unsafe))

        def encode_and_tell(phrase: str) -> Encoding:
            bar.update(1)
            return encode_neutral(clip, phrase)

        _remember(anchors_kept, key, read_anchors(all_benign, all_unsafe, encode_and_tell, ridge), _KEPT_ANCHORS)
    anchors_kept.move_to_end(key)
    space = concept_space(
        anchors_kept[key], benign, unsafe, concepts, lambda phrase: encode_neutral(clip, phrase), reduction
    )
    _remember(spaces_kept, space_key, space, _KEPT_SPACES)
    return space


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)
