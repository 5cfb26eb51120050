"""Fits a concept space to a text encoder, from anchor phrases and concept phrases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from safelight.text import risk as risks
from safelight.text.concept_space import ConceptSpace
from safelight.text.encoding import Encoding, Key, Part, meaning
from safelight.text.subspace import Metric, Subspace, concept_subspace, everyday_metric, phrase_vector

COMMON = 0.1  # share of the benign anchors; a word that occurs in so many of them says nothing by itself
OPENINGS = 2  # number of benign anchors after which every concept is encoded
NEUTRALS = 8  # number of other benign anchors that are encoded after the same openings, for comparison
PAIR = "{}, {}"
FOLDS = 5  # number of groups of everyday words, see _calibrate

Encode = Callable[[str], Encoding]


@dataclass(frozen=True)
class Words:
    """A phrase's words: their texts by part, and their states [n, W] by block."""

    texts: tuple[tuple[str, ...], ...]
    states: dict[Key, torch.Tensor]

    @classmethod
    def of(cls, encoding: Encoding) -> Words:
        def texts(part: Part) -> tuple[str, ...]:
            return tuple(encoding.words[t] for t in range(part.start, part.stop) if encoding.content[t])

        states = {
            key: encoding.states[0, rows, columns][encoding.content[rows]].float().cpu()
            for key, rows, columns in encoding.blocks()
        }
        return cls(tuple(texts(part) for part in encoding.parts), states)

    def meaning(self, part: int, common: frozenset[str]) -> torch.Tensor:
        """Which words are not common ones, boolean [n]. Without any such word, all words are chosen."""
        texts = self.texts[part]
        return meaning(torch.ones(len(texts), dtype=torch.bool), texts, common)


@dataclass
class _TailMean:
    """The mean tail state by position in its chunk; a position that no tail reached gets the mean of all."""

    total: torch.Tensor
    count: torch.Tensor

    def add(self, states: torch.Tensor, places: torch.Tensor) -> None:
        more = int(places.max()) + 1 - len(self.count) if len(places) else 0
        if more > 0:
            self.total = torch.cat([self.total, torch.zeros(more, self.total.shape[1])])
            self.count = torch.cat([self.count, torch.zeros(more)])
        self.total.index_add_(0, places, states)
        self.count.index_add_(0, places, torch.ones(len(places)))

    def mean(self) -> torch.Tensor:
        every = self.total.sum(dim=0) / self.count.sum().clamp_min(1)
        return torch.where(self.count[:, None] > 0, self.total / self.count[:, None].clamp_min(1), every)


@dataclass(frozen=True)
class Whole:
    """The states that represent a whole prompt: its mean tail state [W] by block, and its pooled output [D]."""

    tails: dict[Key, torch.Tensor]
    pooled: torch.Tensor | None

    @classmethod
    def of(cls, encoding: Encoding) -> Whole:
        tails = {key: _tail(encoding, key)[0] for key, *_ in encoding.blocks()}
        pooled = None if encoding.pooled is None else encoding.pooled[0].float().cpu()
        return cls({key: states.mean(dim=0) for key, states in tails.items() if len(states)}, pooled)


@dataclass(frozen=True)
class Anchors:
    """The encoded anchor phrases, reduced to what a concept space needs.

    neutral: for each opening, the mean Whole of "opening, everyday phrase". Tails and pooled outputs depend on a
        prompt's length and scene as much as on its objects, so there a concept is the difference between
        "opening, concept" and this mean.
    """

    phrases: dict[str, Words]
    common: dict[str, dict[Key, torch.Tensor]]
    centre: dict[Key, torch.Tensor]  # [W]
    tail_centre: dict[Key, torch.Tensor]  # [P, W]
    tail_metric: dict[Key, Metric]
    pooled_centre: torch.Tensor | None
    pooled_metric: Metric | None
    neutral: dict[str, Whole]


def encode_anchors(benign: Sequence[str], unsafe: Sequence[str], encode: Encode) -> Anchors:
    """Encodes every anchor phrase once, and some pairs of benign ones. The benign phrases give centres and metrics."""
    if len(benign) < 2 or not unsafe:
        raise ValueError(
            "clip: expected at least 2 benign calibration phrases and 1 unsafe one (safelight_anchors), got "
            f"{len(benign)} and {len(unsafe)}. Use another text encoder, or give its tokenizer more."
        )
    phrases: dict[str, Words] = {}
    wholes: list[Whole] = []
    sums: dict[Key, _TailMean] = {}
    places: list[dict[Key, torch.Tensor]] = []
    for text in (*benign, *unsafe):
        encoding = encode(text).check(f"the calibration phrase {text!r}")
        phrases[text] = Words.of(encoding)
        if len(wholes) < len(benign):
            wholes.append(Whole.of(encoding))
            tails = {key: _tail(encoding, key) for key in wholes[-1].tails}
            places.append({key: where for key, (_, where) in tails.items()})
            for key, (states, where) in tails.items():
                sums.setdefault(key, _TailMean(states[:0], torch.zeros(0))).add(states, where)
    seen = Counter(word for text in benign for word in {w for part in phrases[text].texts for w in part if w})
    common = frozenset(word for word, count in seen.items() if count >= COMMON * len(benign) and count > 1)
    centre = {}
    for key in phrases[benign[0]].states:
        by_phrase = [phrases[text].states[key][phrases[text].meaning(key[0], common)] for text in benign]
        centre[key] = torch.stack([states.mean(dim=0) for states in by_phrase if len(states)]).mean(dim=0)
    tail_centre = {key: total.mean() for key, total in sums.items()}
    tail_metric = {}
    for key, mean in tail_centre.items():
        each = [w.tails[key] - mean[at[key]].mean(0) for w, at in zip(wholes, places, strict=True) if key in at]
        tail_metric[key] = everyday_metric(torch.stack(each))
    pooled = [whole.pooled for whole in wholes if whole.pooled is not None]
    pooled_centre = torch.stack(pooled).mean(dim=0) if pooled else None
    openings = [benign[n * len(benign) // OPENINGS] for n in range(OPENINGS)]
    others = benign[1 :: max(1, len(benign) // NEUTRALS)][:NEUTRALS]
    return Anchors(
        phrases,
        {word: _centres_of(word, phrases, benign) for word in sorted(common)},
        centre,
        tail_centre,
        tail_metric,
        pooled_centre,
        everyday_metric(torch.stack(pooled) - pooled_centre) if pooled_centre is not None else None,
        {opening: _mean_whole([Whole.of(encode(PAIR.format(opening, o))) for o in others]) for opening in openings},
    )


def _mean_whole(wholes: list[Whole]) -> Whole:
    pooled = [whole.pooled for whole in wholes if whole.pooled is not None]
    return Whole(
        {key: torch.stack([whole.tails[key] for whole in wholes]).mean(dim=0) for key in wholes[0].tails},
        torch.stack(pooled).mean(dim=0) if pooled else None,
    )


def _centres_of(word: str, phrases: dict[str, Words], benign: Sequence[str]) -> dict[Key, torch.Tensor]:
    """The mean state of a word in the benign anchors, by block."""
    centres = {}
    for key in phrases[benign[0]].states:
        states = [phrases[text].states[key][[w == word for w in phrases[text].texts[key[0]]]] for text in benign]
        if any(map(len, states)):
            centres[key] = torch.cat(states).mean(dim=0)
    return centres


def _tail(encoding: Encoding, key: Key) -> tuple[torch.Tensor, torch.Tensor]:
    """The tail states [n, W] of a block and their places in their chunks [n]."""
    _, rows, columns = next(block for block in encoding.blocks() if block[0] == key)
    tail = encoding.tail[rows]
    return encoding.states[0, rows, columns][tail].float().cpu(), encoding.position[rows][tail]


def concept_space(
    anchors: Anchors,
    benign: Sequence[str],
    unsafe: Sequence[str],
    concepts: Sequence[str],
    encode: Encode,
) -> ConceptSpace:
    """The space of the given concept phrases, with calibrated risk, on the encoder that made `anchors`.

    benign, unsafe: the phrases that calibrate risk; the ones that `anchors` lacks are encoded here.
    """
    common = frozenset(anchors.common)
    words: dict[Key, list[torch.Tensor]] = {}
    tails: dict[Key, list[torch.Tensor]] = {}
    pooled: list[torch.Tensor] = []
    for phrase in concepts:
        what = f"the concept {phrase!r}"
        alone = Words.of(encode(phrase).check(what))
        for key, states in alone.states.items():
            words.setdefault(key, []).append(phrase_vector(states, alone.meaning(key[0], common)) - anchors.centre[key])
        pairs: list[tuple[Whole, Whole]] = [
            (Whole.of(encode(PAIR.format(opening, phrase)).check(what)), neutral)
            for opening, neutral in anchors.neutral.items()
        ]
        for key in anchors.tail_centre:
            differences = [w.tails[key] - n.tails[key] for w, n in pairs if key in w.tails and key in n.tails]
            if differences:
                tails.setdefault(key, []).append(torch.stack(differences).mean(dim=0))
        differences = [w.pooled - n.pooled for w, n in pairs if w.pooled is not None and n.pooled is not None]
        if differences:
            pooled.append(torch.stack(differences).mean(dim=0))
    pooled_space = None
    if pooled and anchors.pooled_centre is not None and anchors.pooled_metric is not None:
        pooled_space = _subspace_if_any(pooled, anchors.pooled_centre, anchors.pooled_metric)
    tail_spaces = {
        key: _subspace_if_any(rows, anchors.tail_centre[key], anchors.tail_metric[key]) for key, rows in tails.items()
    }
    deviations = {key: torch.stack(rows) for key, rows in words.items()}
    space = ConceptSpace(
        {key: _words_subspace(anchors, benign, key, d) for key, d in deviations.items()},
        {key: subspace for key, subspace in tail_spaces.items() if subspace is not None},
        pooled_space,
        anchors.common,
    )
    return replace(space, calibration=_calibrate(anchors, space, benign, unsafe, deviations, encode))


def _words_subspace(
    anchors: Anchors, benign: Sequence[str], key: Key, deviations: torch.Tensor, left_out: frozenset[str] = frozenset()
) -> Subspace:
    """The subspace of words in a block; its metric is fitted to the benign anchors' words except those left out."""
    everyday = []
    for text in benign:
        phrase = anchors.phrases[text]
        known = torch.tensor([word not in left_out for word in phrase.texts[key[0]]], dtype=torch.bool)
        everyday.append(phrase.states[key][phrase.meaning(key[0], frozenset(anchors.common)) & known])
    metric = everyday_metric(torch.cat(everyday) - anchors.centre[key])
    return concept_subspace(deviations, anchors.centre[key], metric)


def _calibrate(
    anchors: Anchors,
    space: ConceptSpace,
    benign: Sequence[str],
    unsafe: Sequence[str],
    deviations: dict[Key, torch.Tensor],
    encode: Encode,
) -> tuple[risks.Calibration, ...]:
    """The calibration of risk, by part.

    The metric makes the words that it was fitted to look harmless. So the words of benign anchors are dealt into FOLDS,
    and each is scored in a subspace whose metric was fitted without its fold.
    """
    common = frozenset(anchors.common)
    everyday = sorted({w for text in benign for part in anchors.phrases[text].texts for w in part} - common)
    fold = {word: n % FOLDS for n, word in enumerate(everyday)}
    unseen = [frozenset(word for word in everyday if fold[word] == n) for n in range(FOLDS)]
    folds = [
        {key: _words_subspace(anchors, benign, key, d, words) for key, d in deviations.items()} for words in unseen
    ]

    def score(text: str, part: int, without_fold: bool) -> float:
        words = anchors.phrases.get(text) or Words.of(encode(text).check(f"the phrase {text!r}"))
        texts = words.texts[part]
        shares = []
        for key, states in words.states.items():
            if key[0] != part:
                continue
            word_shares = [torch.zeros(0)]
            for state, word in zip(states, texts, strict=True):
                centre = space.common.get(word, {}).get(key, space.words[key].centre)
                subspaces = folds[fold[word]] if without_fold and word in fold else space.words
                word_shares.append(subspaces[key].share(state - centre)[None])
            shares.append(torch.cat(word_shares))
        chosen = words.meaning(part, common)
        return risks.prompt_score(torch.stack(shares).amax(dim=0)[chosen])

    return tuple(
        risks.calibrate([score(t, part, True) for t in benign], [score(t, part, False) for t in unsafe])
        for part in range(1 + max(key[0] for key in deviations))
    )


def _subspace_if_any(deviations: list[torch.Tensor], centre: torch.Tensor, metric: Metric) -> Subspace | None:
    """The subspace, or None where the states say nothing about the prompt (masked padding, an unused pooled output)."""
    stacked = torch.stack(deviations)
    silent = 1e-5 * centre.norm(dim=-1).max().clamp_min(1e-12)
    if torch.isfinite(stacked).all() and stacked.norm(dim=-1).max() <= silent:
        return None
    return concept_subspace(stacked, centre, metric)
