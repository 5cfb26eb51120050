"""Which row of a safe prompt's states stands for each row of the prompt's, where the text encoder tells its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.token_layout import Token, layout_of, read_tokens
from safelight.text.alignment import aligned
from safelight.text.conditioning import Conditioning
from safelight.text.inherit import ROWS

if TYPE_CHECKING:
    from comfy.sd import CLIP

Row = tuple[bool, int, int, Any]  # is it a word's; number of its chunk; place in it; token


def with_rows(clip: CLIP, prompt: str, positive: Conditioning, text: str, safe: Conditioning) -> Conditioning:
    """`safe`, the encoded text, with the rows that stand for those of `positive`, the encoded prompt: [1, T] in each
    entry, under ROWS. As it is where the encoder does not tell which token a row is."""
    rows, others = _rows(clip, prompt, positive), _rows(clip, text, safe)
    if not rows or not others:
        return safe
    places = torch.tensor([_counterparts(rows, others)])
    return [[entry[0], {**entry[1], ROWS: places}, *entry[2:]] for entry in safe]


def _rows(clip: CLIP, text: str, encoded: Conditioning) -> list[Row]:
    """The rows of the text's states in order; empty where they are not known, or not those of one row of tokens."""
    states = encoded[0][0]
    if not isinstance(states, torch.Tensor) or states.ndim != 3:
        return []
    tokens = read_tokens(clip, text)
    layout = layout_of(clip, tokens, *states.shape[-2:])
    if len(layout) != 1 or layout[0][1]:
        return []
    chunks: list[list[Token]] = tokens[layout[0][0]]
    rows = [
        (word > 0, number, place, token)
        for number, chunk in enumerate(chunks)
        for place, (token, _, word) in enumerate(chunk)
    ]
    return rows if len(rows) == states.shape[1] else []


def _counterparts(rows: list[Row], others: list[Row]) -> list[int]:
    """A word's row points to its counterpart's, that of a word which was left out to the first of its chunk, which says
    nothing; start, end and padding to those of the same chunk, or of the last one."""
    words, other_words = ([i for i, row in enumerate(each) if row[0]] for each in (rows, others))
    texts = ([_comparable(each[i][3]) for i in places] for each, places in ((rows, words), (others, other_words)))
    found = [None if place is None else other_words[place] for place in aligned(*texts)]
    of_word = dict(zip(words, found, strict=True))
    starts: dict[int, int] = {}  # the first row of each chunk of the other text
    tails: dict[int, list[int]] = {}  # and the rows of its end and padding
    for i, (is_word, chunk, place, _) in enumerate(others):
        starts.setdefault(chunk, i)
        if place and not is_word:
            tails.setdefault(chunk, []).append(i)
    result, passed, last = [], [0] * (rows[-1][1] + 1), others[-1][1]
    for i, (is_word, chunk, place, _) in enumerate(rows):
        start, tail = starts[min(chunk, last)], tails.get(min(chunk, last), [])
        counterpart = of_word.get(i)
        if counterpart is None and place and not is_word and tail:
            counterpart = tail[min(passed[chunk], len(tail) - 1)]
            passed[chunk] += 1
        result.append(start if counterpart is None else counterpart)
    return result


def _comparable(token: Any) -> Any:
    """An embedding's vector by its numbers."""
    return tuple(token.flatten().tolist()) if isinstance(token, torch.Tensor) else token
