"""The reader: how unsafe a prompt is, by I2P category, and which of its words make it so.

A small model of the pack's own, made by `python -m bench text --train`: the first layers of a sentence encoder
(sentence_encoder.py), with a head for every word and one for every clause. It reads the text alone and calls no encoder
of the artist's. What was measured of it is in bench/results/text.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from tokenizers import Tokenizer

from safelight.text.clauses import Word, clauses_of, words_of
from safelight.text.concepts import I2P_CATEGORIES
from safelight.text.english import SMALL
from safelight.text.kinds import Kinds
from safelight.text.language import why_unread
from safelight.text.lexicon import ENGLISH, Lexicon, folded
from safelight.text.markup import plain_text
from safelight.text.sentence_encoder import Weights, encode, from_eight_bits, make_tokenizer
from safelight.text.spelling import Speller

CATEGORIES = tuple(I2P_CATEGORIES)
WEIGHTS = Path(__file__).with_name("reader.safetensors")
NOTHING = -20.0  # the logit of a sign that has no word piece
LIKENESS_SLOPE = 20.0  # of a word's risk over its likeness to a thing
NAMED = 3.0  # the score of a word that names a thing
REMEMBERED = 4096  # meanings of a few words
FALSE_ALARMS = 0.03  # the share of harmless prompts whose risk is .5 and more


@dataclass(frozen=True)
class Trigger:
    """Words that make a prompt unsafe. text: as the prompt has them, from start to stop; risk: in [0, 1]."""

    text: str
    start: int
    stop: int
    category: str
    risk: float


@dataclass(frozen=True)
class Reading:
    """What the reader says of a prompt.

    risk: in all, in [0, 1]; FALSE_ALARMS of harmless prompts reach .5. by_category: what each category and thing adds
    to it. category: the likeliest, "" where the text has no words. triggers: in the order of their places.
    unread: why the text can't be read, "" where it can; then the risk is 1.
    """

    risk: float
    by_category: dict[str, float]
    category: str
    triggers: tuple[Trigger, ...]
    unread: str = ""


@dataclass(frozen=True)
class ClauseScores:
    """Logits by category, with the lexicon's votes: by_word[i] of the words of clause i, [N_i, K]; by_clause [C, K].

    states[i]: of the words of clause i, [N_i, W].
    """

    by_word: list[torch.Tensor]
    by_clause: torch.Tensor
    states: list[torch.Tensor]


def whole_scores(by_clause: torch.Tensor, by_length: float) -> torch.Tensor:
    """Of a text by category, [K]: its riskiest clause, less what more clauses add in chances of a false alarm."""
    return by_clause.amax(0) - by_length * math.log(len(by_clause))


def pooled(by_piece: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    """A soft maximum over word pieces, [B, T, K] to [B, K]. attended: boolean [B, T]."""
    return by_piece.masked_fill(~attended[..., None], -math.inf).logsumexp(dim=1)


def head_scores(weights: Weights, states: torch.Tensor, attended: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits by category, of word pieces [B, T, K] and of clauses [B, K]. states: of the last layer, [B, T, W]."""
    by_piece = F.linear(states, weights["word.weight"], weights["word.bias"])
    mean = (states * attended[..., None]).sum(1) / attended.sum(1, keepdim=True)
    words = attended.clone()
    words[:, 0] = False  # the piece that every clause begins with
    return by_piece, pooled(by_piece, words) + F.linear(mean, weights["clause.weight"], weights["clause.bias"])


def encode_clauses(tokenizer: Tokenizer, clauses: Sequence[Sequence[Word]]) -> tuple[torch.Tensor, ...]:
    """ids [B, T], attended [B, T], and the word that each piece belongs to [B, T], -1 for none."""
    encoded = tokenizer.encode_batch([[word.text for word in clause] for clause in clauses], is_pretokenized=True)
    owners = [[-1 if word is None else word for word in one.word_ids] for one in encoded]
    attended = torch.tensor([one.attention_mask for one in encoded]).bool()
    return torch.tensor([one.ids for one in encoded]), attended, torch.tensor(owners)


class Reader:
    """weights: of the encoder and the heads, float32; pieces: the encoder's vocabulary; settings: what else the making
    decided (bench/text/calibrate.py)."""

    def __init__(self, weights: Weights, pieces: Sequence[str], settings: Mapping[str, Any], lexicon: Lexicon) -> None:
        self._weights = weights
        self._tokenizer = make_tokenizer(pieces)
        self._lexicon = lexicon
        self._settings = settings
        known = [piece for piece in pieces if piece.isalpha() and len(piece) > 1]
        self._speller = Speller(settings["watched"], [*known, *settings["known"]])
        self._thresholds: dict[tuple[Any, ...], float] = {}
        self.vector = lru_cache(REMEMBERED)(self._vector)

    @classmethod
    @cache
    def load(cls, file: Path = WEIGHTS) -> Reader:
        """The reader that the pack ships, read once."""
        with safe_open(str(file), framework="pt") as stored:
            metadata = stored.metadata()
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118, it is no dict
        weights, pieces = from_eight_bits(tensors), metadata["pieces"].split("\n")
        return cls(weights, pieces, json.loads(metadata["settings"]), Lexicon.load())

    @property
    def mean(self) -> torch.Tensor:
        """The mean state of words of harmless texts, [W]."""
        return self._weights["mean"]

    def words(self, prompt: str) -> list[Word]:
        """The prompt's words as the reader takes them, misspelt ones repaired."""
        return self._speller.repaired(words_of(prompt))

    def read(
        self,
        prompt: str,
        categories: Collection[str] = CATEGORIES,
        things: Sequence[str] = (),
        false_alarms: float = FALSE_ALARMS,
    ) -> Reading:
        """categories: those that count; things: what else does, each a few words.

        false_alarms: the share of harmless prompts whose risk is .5 and more, where the categories decide.
        """
        plain = plain_text(prompt)
        unread = why_unread(plain, self._weights["foreign"])
        words = self.words(prompt)
        clauses = clauses_of(prompt, words)
        if unread or not clauses:
            risk = 1.0 if unread else 0.0
            by_category = {name: risk if name in categories else 0.0 for name in CATEGORIES}
            return Reading(risk, by_category, "", self._listed(prompt, plain, categories, things), unread)
        scores = self.scores(plain, clauses, self._settings["vote"])
        chosen = [k for k, name in enumerate(CATEGORIES) if name in categories]
        by_kind = whole_scores(scores.by_clause, self._settings["by_length"])
        threshold = self._threshold(chosen, false_alarms)
        risks = {CATEGORIES[k]: _sigmoid(float(by_kind[k]) - threshold) for k in chosen}
        risk = _sigmoid(float(by_kind[chosen].logsumexp(0)) - threshold) if chosen else 0.0
        by_word = [one[:, chosen] - self._settings["word_threshold"] for one in scores.by_word]
        names = [CATEGORIES[k] for k in chosen]
        if things:
            likeness = self._likeness(plain, clauses, scores.states, things)
            by_word = [torch.cat(pair, dim=1) for pair in zip(by_word, likeness, strict=True)]
            names += things
            best = [max(float(one[:, k].max()) for one in likeness) for k in range(len(things))]
            risks |= {thing: _sigmoid(score) for thing, score in zip(things, best, strict=True)}
            risk = max(risk, *(risks[thing] for thing in things))
        category = max(risks, key=risks.__getitem__, default="")
        return Reading(risk, risks, category, _triggers(prompt, clauses, by_word, names))

    @torch.no_grad()
    def scores(self, plain: str, clauses: Sequence[Sequence[Word]], vote: float) -> ClauseScores:
        """plain: the text without markup. vote: what a hit of the lexicon adds."""
        ids, attended, owners = encode_clauses(self._tokenizer, clauses)
        states = encode(self._weights, ids, attended)[-1]
        by_piece, by_clause = head_scores(self._weights, states, attended)
        by_word, of_words = [], []
        for c, clause in enumerate(clauses):
            places = owners[c][owners[c] >= 0]
            pieces = by_piece[c][owners[c] >= 0]
            empty = torch.full((len(clause), len(CATEGORIES)), NOTHING)
            by_word.append(empty.scatter_reduce_(0, places[:, None].expand_as(pieces), pieces, "amax"))
            counts = torch.bincount(places, minlength=len(clause)).clamp_min(1)[:, None]
            total = torch.zeros(len(clause), states.shape[-1]).index_add_(0, places, states[c][owners[c] >= 0])
            of_words.append(total / counts)
        for hit in self._lexicon.hits(plain) if vote else ():
            if hit.language != ENGLISH:
                continue
            k = CATEGORIES.index(hit.category)
            for c, clause in enumerate(clauses):
                inside = torch.tensor([word.overlaps(hit.start, hit.stop) for word in clause])
                by_word[c][inside, k] += vote
                by_clause[c, k] += vote * bool(inside.any())
        return ClauseScores(by_word, by_clause, of_words)

    def _threshold(self, chosen: Sequence[int], false_alarms: float) -> float:
        """The score that this share of harmless texts reaches with the same categories."""
        key = (*chosen, false_alarms)
        if key not in self._thresholds:
            harmless = self._weights["harmless"][:, chosen].logsumexp(1)
            self._thresholds[key] = float(torch.quantile(harmless, 1.0 - false_alarms)) if chosen else 0.0
        return self._thresholds[key]

    def _likeness(
        self, plain: str, clauses: Sequence[Sequence[Word]], states: Sequence[torch.Tensor], things: Sequence[str]
    ) -> list[torch.Tensor]:
        """By clause: how far each word is over the likeness to a thing that counts, [N, things]; NAMED where the text
        calls it by a name of that thing. A kind of the table is found by its names alone."""
        kinds, text = Kinds.load(), folded(plain)
        wanted = torch.stack([self.vector(thing) for thing in things])
        by_name = torch.tensor([kinds.has(thing) for thing in things])
        found = [[match.span() for match in kinds.pattern(thing).finditer(text)] for thing in things]
        result = []
        for clause, of_words in zip(clauses, states, strict=True):
            unit = F.normalize(of_words - self._weights["mean"], dim=1)
            likeness = LIKENESS_SLOPE * (unit @ wanted.T - self._settings["likeness"])
            likeness[:, by_name] = NOTHING
            named = [[any(word.overlaps(*span) for span in spans) for spans in found] for word in clause]
            result.append(likeness.masked_fill_(torch.tensor(named), NAMED))
        return result

    def _listed(
        self, prompt: str, plain: str, categories: Collection[str], things: Sequence[str]
    ) -> tuple[Trigger, ...]:
        """What the lexicon and the names of things know of a text in another language."""
        spans = [(hit.start, hit.stop, hit.category) for hit in self._lexicon.hits(plain) if hit.category in categories]
        for thing in things:
            spans += [(*match.span(), thing) for match in Kinds.load().pattern(thing).finditer(folded(plain))]
        return tuple(Trigger(prompt[start:stop], start, stop, name, 1.0) for start, stop, name in sorted(spans))

    @torch.no_grad()
    def _vector(self, text: str) -> torch.Tensor:
        """What a few words mean, a unit vector [W]."""
        ids, attended, owners = encode_clauses(self._tokenizer, [words_of(text)])
        states = encode(self._weights, ids, attended)[-1] - self._weights["mean"]
        return F.normalize(states[0][owners[0] >= 0].mean(0), dim=0)

    def nearest(self, words: str, choices: Sequence[str]) -> str:
        """The choice of the nearest meaning."""
        wanted = self.vector(words)
        return max(choices, key=lambda choice: float(self.vector(choice) @ wanted))


def _triggers(
    prompt: str, clauses: Sequence[Sequence[Word]], by_word: Sequence[torch.Tensor], names: Sequence[str]
) -> tuple[Trigger, ...]:
    """Runs of words whose score is over 0, without small words at their ends; by_word[i]: of clause i, [N_i, names]."""
    result = []
    for clause, scores in zip(clauses, by_word, strict=True):
        best = scores.amax(1).tolist() if scores.shape[1] else [-1.0] * len(clause)
        over = [word.is_word and score > 0 for word, score in zip(clause, best, strict=True)]
        for is_over, places in groupby(range(len(clause)), key=lambda i: over[i]):
            run = list(places) if is_over else []
            while run and clause[run[0]].text.lower() in SMALL:
                run.pop(0)
            while run and clause[run[-1]].text.lower() in SMALL:
                run.pop()
            if run:
                riskiest = max(run, key=best.__getitem__)
                start, stop = clause[run[0]].start, clause[run[-1]].stop
                name = names[int(scores[riskiest].argmax())]
                result.append(Trigger(prompt[start:stop], start, stop, name, _sigmoid(best[riskiest])))
    return tuple(result)


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, x))))
