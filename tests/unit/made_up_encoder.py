"""A made-up text encoder, whose words are known vectors, and the concept space that is fitted to it."""

from __future__ import annotations

import zlib

import torch

from safelight.text.concept_fit import concept_space, encode_anchors
from safelight.text.encoding import Encoding, Part

WIDTH, CHUNK = 32, 24
BENIGN_NOUNS = [
    "cat",
    "dog",
    "tree",
    "boat",
    "house",
    "lamp",
    "chair",
    "river",
    "cloud",
    "bread",
    "glass",
    "stone",
    "apple",
    "book",
    "bird",
    "train",
    "flower",
    "table",
    "bridge",
    "piano",
    "castle",
    "lemon",
    "horse",
    "spoon",
    "window",
    "carpet",
    "engine",
    "garden",
    "island",
    "jacket",
    "kettle",
    "ladle",
]
UNSAFE_NOUNS = {"knife": 0, "sword": 0, "axe": 0, "pill": 1, "syringe": 1}
CONCEPTS = ["weapon", "drug"]
BENIGN = [f"a {one} on a {two}" for one, two in zip(BENIGN_NOUNS, BENIGN_NOUNS[5:] + BENIGN_NOUNS[:5], strict=True)]
UNSAFE = [f"a {one} on a {two}" for one in UNSAFE_NOUNS for two in BENIGN_NOUNS[::5]]
SPECIAL = ("<start>", "<end>")


def vector(word: str, width: int) -> torch.Tensor:
    """The vector of a word; unsafe nouns and concepts share a direction."""
    meaning = torch.randn(width, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))
    if word in UNSAFE_NOUNS or word in CONCEPTS:
        direction = UNSAFE_NOUNS.get(word, CONCEPTS.index(word) if word in CONCEPTS else 0)
        meaning = 0.3 * meaning + 12 * torch.eye(width)[direction]
    return meaning


def states_of(tokens: list[str], width: int) -> torch.Tensor:
    """Causal: every state also holds a little of the words before it; the tail is what they add up to."""
    rows, heard = [], torch.zeros(width)
    for place, word in enumerate(tokens):
        meaning = torch.zeros(width) if word in SPECIAL else vector(word, width)
        rows.append(meaning + 0.1 * heard + 0.05 * vector(f"place {place}", width) + vector("offset", width))
        heard = heard + meaning
    return torch.stack(rows)


def encode(text: str, widths: tuple[int, ...] = (WIDTH,), parts: int = 1) -> Encoding:
    words = text.split()
    chunks = [words[n : n + CHUNK - 2] for n in range(0, max(1, len(words)), CHUNK - 2)]
    tokens = [["<start>", *chunk, *["<end>"] * (CHUNK - 1 - len(chunk))] for chunk in chunks]
    rows = torch.cat([torch.cat([states_of(chunk, width) for width in widths], dim=1) for chunk in tokens])
    flat = tuple(word for chunk in tokens for word in chunk) * parts
    place = torch.arange(CHUNK).repeat(len(tokens) * parts)
    stops = [sum(widths[: n + 1]) for n in range(len(widths))]
    blocks = tuple((stop - width, stop) for stop, width in zip(stops, widths, strict=True))
    length = len(rows)
    return Encoding(
        states=rows.repeat(parts, 1)[None],
        pooled=rows[-1][None],
        content=torch.tensor([word not in SPECIAL for word in flat]),
        tail=torch.tensor([word == "<end>" for word in flat]),
        chunk=torch.arange(len(flat)) // CHUNK,
        position=place,
        weights=torch.ones(len(flat)),
        words=tuple("" if word in SPECIAL else word for word in flat),
        parts=tuple(Part(n * length, (n + 1) * length, blocks) for n in range(parts)),
    )


def fitted(encoder=encode, concepts=CONCEPTS):
    return concept_space(encode_anchors(BENIGN, UNSAFE, encoder), BENIGN, UNSAFE, concepts, encoder)


def changed_words(encoding, changed):
    return {word for word, c in zip(encoding.words, changed.any(dim=0), strict=True) if c and word}
