"""Makes the reader's weights from the project's texts: `python -m bench text --train`.

The layers of the encoder and the two heads learn together: which words are unsafe, and of which category a clause is.
What depends on scores, as the threshold for a rate of false alarms, is settled on texts that a training did not see.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from safelight.text import sentence_encoder
from safelight.text.clauses import Word
from safelight.text.lexicon import folded
from safelight.text.reader import CATEGORIES, encode_clauses, head_scores

from .texts import Clause

ENDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
STEM = 5  # letters by which words are taken for forms of one
HEADS = ("word.weight", "word.bias", "clause.weight", "clause.bias")
_PARTS = {
    **{"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value"},
    **{"out": "attention.output.dense", "attended": "attention.output.LayerNorm"},
    **{"wide": "intermediate.dense", "narrow": "output.dense", "done": "output.LayerNorm"},
}
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """layers, pieces: of the encoder that stay. rate, head_rate: of learning. joined: the share of unsafe clauses that
    get a harmless one beside them; cut: of all clauses that are cut. drawn: clauses of a batch that are words drawn at
    random. dropout: of the last states."""

    layers: int = 3
    pieces: int = 12_000
    epochs: int = 3
    batch: int = 32
    rate: float = 5e-5
    head_rate: float = 2e-3
    joined: float = 0.3
    cut: float = 0.35
    drawn: int = 6
    dropout: float = 0.1
    seed: int = 19


def source_weights(folder: Path, layers: int) -> tuple[Weights, list[str]]:
    """The first layers of all-MiniLM-L6-v2 in the names of sentence_encoder.py, and all of its word pieces."""
    stored = {name.removeprefix("bert."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    weights = {
        "pieces": stored["embeddings.word_embeddings.weight"],
        "positions": stored["embeddings.position_embeddings.weight"][: sentence_encoder.LONGEST],
        "kind": stored["embeddings.token_type_embeddings.weight"][0],
    }
    names = {"embedded": "embeddings.LayerNorm"}
    for layer in range(layers):
        names |= {f"{layer}.{part}": f"encoder.layer.{layer}.{old}" for part, old in _PARTS.items()}
    for new, old in names.items():
        weights |= {f"{new}.{kind}": stored[f"{old}.{kind}"] for kind in ("weight", "bias")}
    pieces = (folder / "vocab.txt").read_text("utf-8").splitlines()
    return {name: tensor.float().clone() for name, tensor in weights.items()}, pieces


def chosen_pieces(pieces: Sequence[str], count: int, texts: Iterable[str]) -> list[int]:
    """Which word pieces stay: those of the texts, single letters, and of the others the commonest, which come first."""
    tokenizer = sentence_encoder.make_tokenizer(pieces)
    chosen = {index for encoded in tokenizer.encode_batch(list(texts)) for index in encoded.ids}
    chosen |= {i for i, piece in enumerate(pieces) if piece in ENDS or re.fullmatch(r"[!-~]|##[a-z0-9]", piece)}
    for i, piece in enumerate(pieces):
        if len(chosen) >= count:
            break
        if re.fullmatch(r"(##)?[a-z0-9]+", piece):
            chosen.add(i)
    return sorted(chosen)


def train(
    plan: Plan, folder: Path, clauses: Sequence[Clause], texts: Iterable[str], on_step: Callable[[float], None]
) -> tuple[Weights, list[str]]:
    """The weights in float32 and the word pieces. folder: of all-MiniLM-L6-v2; texts: whose word pieces must stay."""
    torch.manual_seed(plan.seed)
    rng = random.Random(plan.seed)
    weights, pieces = source_weights(folder, plan.layers)
    chosen = chosen_pieces(pieces, plan.pieces, texts)
    weights["pieces"], pieces = weights["pieces"][chosen].clone(), [pieces[i] for i in chosen]
    width, count = weights["pieces"].shape[1], len(CATEGORIES)
    weights |= {"word.weight": torch.zeros(count, width), "word.bias": torch.full((count,), -4.0)}
    weights |= {"clause.weight": torch.zeros(count, width), "clause.bias": torch.zeros(count)}
    tokenizer = sentence_encoder.make_tokenizer(pieces)
    for tensor in weights.values():
        tensor.requires_grad_(True)
    body = [tensor for name, tensor in weights.items() if name not in HEADS]
    heads = [weights[name] for name in HEADS]
    groups = [{"params": body, "lr": plan.rate}, {"params": heads, "lr": plan.head_rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = plan.epochs * math.ceil(len(clauses) / plan.batch)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, [plan.rate, plan.head_rate], steps, pct_start=0.1)
    harmless = [clause for clause in clauses if not clause.category]
    words = harmless_words(pieces, clauses)
    for _ in range(plan.epochs):
        for batch in _batches(clauses, plan.batch, rng):
            varied = [_varied(one, harmless, plan, rng) for one in batch]
            loss = _loss(weights, tokenizer, varied + [_drawn(words, rng) for _ in range(plan.drawn)], plan.dropout)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
            optimizer.step()
            rates.step()
            on_step(loss.item())
    return {name: tensor.detach() for name, tensor in weights.items()}, pieces


def harmless_words(pieces: Sequence[str], clauses: Sequence[Clause]) -> list[str]:
    """The vocabulary's whole words that begin as no unsafe word does: names and words that no text has."""
    unsafe = {
        folded(word.text)[:STEM]
        for clause in clauses
        for word, flag in zip(clause.words, clause.unsafe, strict=True)
        if flag and len(word.text) > 2
    }
    return [piece for piece in pieces if piece.isalpha() and len(piece) > 2 and piece[:STEM] not in unsafe]


def _drawn(words: Sequence[str], rng: random.Random) -> Clause:
    drawn = [Word(word, 0, 0) for word in rng.choices(words, k=rng.randint(1, 6))]
    return Clause(drawn, [False] * len(drawn), "")


def _batches(clauses: Sequence[Clause], size: int, rng: random.Random) -> list[list[Clause]]:
    """Clauses of about the same length together, in a random order."""
    order = sorted(rng.sample(clauses, len(clauses)), key=lambda clause: len(clause.words) + 4 * rng.random())
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(batches)
    return batches


def _varied(clause: Clause, harmless: Sequence[Clause], plan: Plan, rng: random.Random) -> Clause:
    """A clause cut, or an unsafe one with a harmless one before or behind it, now and then.

    Tags of one or two words are mostly harmless, and the names of unsafe things alone would teach otherwise.
    """
    if rng.random() < plan.cut:
        return _cut(clause, rng)
    if not clause.category or rng.random() >= plan.joined:
        return clause
    pair = [clause, rng.choice(harmless)]
    rng.shuffle(pair)
    words, unsafe = [word for one in pair for word in one.words], [flag for one in pair for flag in one.unsafe]
    return Clause(words, unsafe, clause.category) if len(words) <= 30 else clause


def _cut(clause: Clause, rng: random.Random) -> Clause:
    """A piece of the clause: of an unsafe one with all that is unsafe, of a harmless one of a few words."""
    count = len(clause.words)
    if clause.category:
        places = [i for i, flag in enumerate(clause.unsafe) if flag]
        start, stop = rng.randint(0, places[0]), rng.randint(places[-1] + 1, count)
    else:
        length = rng.randint(1, min(6, count))
        start = rng.randint(0, count - length)
        stop = start + length
    return Clause(clause.words[start:stop], clause.unsafe[start:stop], clause.category)


def _loss(weights: Weights, tokenizer: Tokenizer, batch: Sequence[Clause], dropout: float) -> torch.Tensor:
    """Cross entropies of words, of clauses by category, and of whether a clause is unsafe at all.

    Of an unsafe clause only its own category is asked for, since others may hold too.
    """
    ids, attended, owners = encode_clauses(tokenizer, [clause.words for clause in batch])
    states = F.dropout(sentence_encoder.encode(weights, ids, attended)[-1], dropout)
    by_piece, by_clause = head_scores(weights, states, attended)
    flags = [torch.tensor([*clause.unsafe, False]) for clause in batch]
    unsafe = torch.stack([flag[row] for flag, row in zip(flags, owners, strict=True)])
    kinds = torch.tensor([CATEGORIES.index(clause.category) if clause.category else -1 for clause in batch])
    asked = F.one_hot(kinds.clamp_min(0), len(CATEGORIES)).bool() & (kinds >= 0)[:, None]
    target = (unsafe[..., None] & asked[:, None]).float()
    weight = (owners >= 0)[..., None] * torch.where(unsafe[..., None], 2.0 * asked[:, None], 1.0)
    words = F.binary_cross_entropy_with_logits(by_piece, target, weight, reduction="sum") / weight.sum()
    counts = (asked | (kinds < 0)[:, None]).float()
    whole = F.binary_cross_entropy_with_logits(by_clause, asked.float(), counts, reduction="sum") / len(batch)
    any_kind = F.binary_cross_entropy_with_logits(by_clause.logsumexp(1), (kinds >= 0).float())
    return len(CATEGORIES) * words + whole + any_kind


def save(file: Path, weights: Weights, pieces: Sequence[str], settings: dict[str, object]) -> None:
    stored = sentence_encoder.to_eight_bits(weights)
    save_file(stored, file, {"pieces": "\n".join(pieces), "settings": json.dumps(settings), "format": "pt"})
