"""Which texts the reader can't read: other scripts than Latin, and other languages than English.

The language is told by the words and by groups of three letters, weighed by a table that is learned with the reader.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator

import torch

from safelight.text.lexicon import folded

BUCKETS = 1 << 13
PRIOR = 8  # features that a short text is taken to have besides, so that it says less
FEWEST_LETTERS = 2  # of another script, that are not taken for signs


def features(text: str) -> list[int]:
    """The places in the table of a text's words and of their groups of three letters, without accents."""
    return [zlib.crc32(part.encode()) % BUCKETS for word in _words(text) for part in _parts(word)]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", folded(text))


def _parts(word: str) -> Iterator[str]:
    yield f"={word}"
    edged = f"^{word}$"
    yield from (edged[i : i + 3] for i in range(len(edged) - 2))


def foreign_score(text: str, table: torch.Tensor) -> float:
    """Over 0 for a text in another language. table: weights [BUCKETS + 1], the last one for every text."""
    places = features(text)
    return float(table[places].sum() / (len(places) + PRIOR) ** 0.5 + table[BUCKETS]) if places else -1.0


def why_unread(text: str, table: torch.Tensor) -> str:
    """Why a text, without markup, can't be read, for the artist; "" for English, names and signs."""
    strange = [sign for sign in text if sign.isalpha() and not _is_latin(sign)]
    if len(strange) >= FEWEST_LETTERS:
        return f"it has {_script(strange[0])} letters, and the reader knows English alone"
    return "it seems to be in another language than English" if foreign_score(text, table) > 0 else ""


def _is_latin(sign: str) -> bool:
    return sign.isascii() or unicodedata.name(sign, "").startswith(("LATIN", "MODIFIER", "FEMININE", "MASCULINE"))


def _script(sign: str) -> str:
    name = unicodedata.name(sign, "unknown").split()[0].capitalize()
    return "Chinese" if name == "Cjk" else name
