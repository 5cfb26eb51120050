"""Harmless texts to measure an edit by: none of them is one that the pack's edits are made to keep (anchors.py).

An edit keeps best what it was made with, so that those say little of what it breaks.
"""

from __future__ import annotations

from collections.abc import Callable

from safelight.text.anchors import BENIGN
from safelight.text.english import article
from safelight.text.stand_ins import StandIns

MOST = 96
_STEPS = (0, 5, 11)  # a noun alone, and with the nouns that come so far behind it in the list


def harmless_texts(knows: Callable[[str], bool] | None = None) -> list[str]:
    """The rewriter's harmless things, look-alikes of unsafe ones among them (a spoon, a hammer), alone and in twos.

    At most MOST, evenly taken. knows: whether the text encoder knows a word, None where it reads any.
    """
    nouns = [f"{article(noun)} {noun}" for noun in StandIns.load().nouns() if knows is None or knows(noun)]
    texts = list(
        dict.fromkeys(
            f"{noun} near {nouns[(i + step) % len(nouns)]}" if step else noun
            for i, noun in enumerate(nouns)
            for step in _STEPS
        )
    )
    texts = [text for text in texts if text not in BENIGN]
    count = min(len(texts), MOST)
    return [texts[i * len(texts) // count] for i in range(count)]
