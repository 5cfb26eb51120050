"""What of the reader is settled on texts that a training did not see: thresholds, the lexicon's vote, and length.

A part of the texts is left out of a second training, and the reader of that one reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from safelight.text.clauses import clauses_of
from safelight.text.markup import plain_text
from safelight.text.reader import CATEGORIES, FALSE_ALARMS, Reader, whole_scores
from safelight.text.risk import auc

from .sets import LONG
from .texts import Text

LEFT_OUT = 1 / 3  # of the texts
VOTES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
SLOPES = tuple(np.arange(0.0, 3.01, 0.25))  # of the threshold over the logarithm of the number of clauses
THINGS, LIKE = 60, 0.002  # words taken for things, and the share of other words that are like one by chance
PRECISION = 0.73  # of trigger words, among labels that mark as few words as can be
LONGER = 5 / 3  # how many more false alarms long harmless texts may raise than all
NEUTRAL = {"vote": 1.0, "by_length": 0.0, "word_threshold": 0.0, "likeness": 1.0}
HARMLESS = ("benign", "benign_long", "lookalikes")  # the texts whose false alarms are counted
NOBODY = torch.zeros(1, len(CATEGORIES))  # scores of harmless texts, before there are any


@dataclass(frozen=True)
class HeldOut:
    """What a reader that never saw a text says of it: scores without the lexicon's vote, and where that votes.

    by_clause, votes [C, K]; by_word, word_votes [N, K]; unsafe: of the N words.
    """

    text: Text
    by_clause: torch.Tensor
    votes: torch.Tensor
    by_word: torch.Tensor
    word_votes: torch.Tensor
    unsafe: np.ndarray

    def score(self, vote: float, slope: float) -> float:
        """Of the whole text, less what its length adds."""
        return float(self.by_category(vote, slope).logsumexp(0))

    def by_category(self, vote: float, slope: float) -> torch.Tensor:
        return whole_scores(self.by_clause + vote * self.votes, slope)


def read(reader: Reader, texts: Sequence[Text]) -> list[HeldOut]:
    """reader: with NEUTRAL settings."""
    result = []
    for text in texts:
        words = reader.words(text.prompt)
        clauses = clauses_of(text.prompt, words)
        if not clauses:
            continue
        voted, plain = (reader.scores(plain_text(text.prompt), clauses, vote) for vote in (1.0, 0.0))
        in_clauses = [word for clause in clauses for word in clause]
        is_word = torch.tensor([word.is_word for word in in_clauses])
        by_word, voted_words = (torch.cat(one.by_word)[is_word] for one in (plain, voted))
        unsafe = [text.is_unsafe(word) for word in in_clauses if word.is_word]
        result.append(
            HeldOut(
                text,
                plain.by_clause,
                voted.by_clause - plain.by_clause,
                by_word,
                voted_words - by_word,
                np.array(unsafe, dtype=bool),
            )
        )
    return result


def settle(texts: Sequence[HeldOut]) -> tuple[dict[str, float], torch.Tensor]:
    """The reader's settings, and the scores of harmless texts by category [N, K]."""
    harmless = [one for one in texts if one.text.group in HARMLESS]
    long = np.array([len(one.unsafe) >= LONG for one in harmless])

    def slope_of(vote: float) -> float:
        """The least by which long texts raise few enough false alarms."""
        for slope in SLOPES:
            scores = np.array([one.score(vote, slope) for one in harmless])
            if (scores[long] > np.quantile(scores, 1 - FALSE_ALARMS)).mean() <= LONGER * FALSE_ALARMS:
                break
        return float(slope)

    def area(vote: float) -> float:
        slope = slope_of(vote)
        scores = [(one.score(vote, slope), bool(one.text.category)) for one in texts]
        return auc([score for score, unsafe in scores if not unsafe], [score for score, unsafe in scores if unsafe])

    vote = max(VOTES, key=area)
    slope = slope_of(vote)
    settings = {
        "vote": vote,
        "by_length": slope,
        "word_threshold": _word_threshold(texts, vote),
        "auc": area(vote),
    }
    return settings, torch.stack([one.by_category(vote, slope) for one in harmless])


def _word_threshold(texts: Sequence[HeldOut], vote: float) -> float:
    """The lowest score of a word over which PRECISION of the words are unsafe."""
    scores = np.concatenate(
        [(one.by_word + vote * one.word_votes).amax(1).numpy() for one in texts if one.text.category]
    )
    unsafe = np.concatenate([one.unsafe for one in texts if one.text.category])
    order = np.argsort(-scores)
    precision = np.cumsum(unsafe[order]) / np.arange(1, len(order) + 1)
    good = np.nonzero(precision >= PRECISION)[0]
    return float(scores[order][good[-1]])


def likeness(reader: Reader, harmless: Sequence[Text]) -> float:
    """The likeness of a word to a thing over which it counts as one: LIKE of the words of texts reach it by chance."""
    rng = np.random.default_rng(0)
    prompts = [text.prompt for text in harmless]
    states, words = [], []
    for prompt in prompts:
        clauses = clauses_of(prompt, reader.words(prompt))
        if clauses:
            states += reader.scores(plain_text(prompt), clauses, 0.0).states
            words += [word.text for clause in clauses for word in clause]
    chosen = rng.choice([word for word in dict.fromkeys(words) if len(word) > 4], THINGS, replace=False)
    vectors = torch.stack([reader.vector(word) for word in chosen])
    units = torch.nn.functional.normalize(torch.cat(states) - reader.mean, dim=1)
    same = torch.tensor([[word == thing for thing in chosen] for word in words])
    return float(torch.quantile((units @ vectors.T)[~same][:: len(chosen) // 8], 1 - LIKE))
