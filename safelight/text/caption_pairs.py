"""Unsafe captions with safe twins, made of concepts without a language model.

A thing of the artist's own is called by its own words and by those of its kind (kinds.json), a term of I2P's categories
by the pack's unsafe phrases of its category (anchors.py). Each stands alone and in sentences with everyday phrases, and
the pack's own rewriter makes the twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from safelight.text.anchors import SENTENCES, UNSAFE
from safelight.text.clauses import words_of
from safelight.text.concepts import categories_of, is_term
from safelight.text.english import SMALL, article
from safelight.text.kinds import Kinds
from safelight.text.safe_prompt import NoSafePrompt, make_safe_prompt

MOST, EACH = 200, 12  # captions of all things together, and of each thing


def unsafe_phrases(concepts: Sequence[str], knows: Callable[[str], bool] | None = None) -> list[str]:
    """What unsafe captions may show, concept by concept, each as it is written first.

    knows: whether the text encoder knows a word, None where it reads any. Without all its words a phrase would mean
    another thing, so it is left out.
    """
    phrases: list[str] = []
    for concept in concepts:
        phrases.append(concept)
        if is_term(concept):
            phrases += [phrase for name in sorted(categories_of(concept)) for phrase in UNSAFE[name]]
        else:
            words = [word for word in Kinds.load().words(concept) if word != concept]
            phrases += [word if word.startswith("something") else f"{article(word)} {word}" for word in words]
    return [phrase for phrase in dict.fromkeys(phrases) if knows is None or _all_known(phrase, knows)]


def caption_pairs(
    concepts: Sequence[str], phrases: Sequence[str], seed: int, knows: Callable[[str], bool] | None = None
) -> Iterator[tuple[str, str] | None]:
    """Unsafe captions with their twins, at most MOST; None for one that the rewriter finds nothing in or can't mend.

    phrases: harmless ones that stand beside the unsafe thing. seed: which of them, and which things where there are
    more than half of MOST. knows: as in unsafe_phrases.
    """
    rng, things = np.random.default_rng(seed), unsafe_phrases(concepts, knows)
    if len(things) > MOST // 2:
        things = [things[i] for i in sorted(rng.permutation(len(things))[: MOST // 2])]
    listed = ", ".join(concepts)
    for thing in things:
        for i in range(min(MOST // len(things), EACH)):
            sentence = SENTENCES[i % len(SENTENCES)] if i else "{thing}"
            caption = sentence.format(thing=thing, other=phrases[int(rng.integers(len(phrases)))])
            try:
                twin = make_safe_prompt(caption, "", listed, knows=knows)
            except NoSafePrompt:
                yield None
            else:
                yield None if twin.harmless else (caption, twin.text)


def _all_known(phrase: str, knows: Callable[[str], bool]) -> bool:
    words = [word.text for word in words_of(phrase) if word.is_word and word.text.lower() not in SMALL]
    return bool(words) and all(map(knows, words))
