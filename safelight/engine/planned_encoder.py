"""Encodes many texts, several per call where the text encoder allows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import comfy.model_management

from safelight.engine.encoder import encode_neutral, encode_tokens
from safelight.engine.token_layout import describe, read_tokens, unweighted
from safelight.text.encoding import Encoding

if TYPE_CHECKING:
    from comfy.sd import CLIP

_TEXTS_PER_CALL = 8


class PlannedEncoder:
    """Encodes texts, those that are planned several per call where the encoder gives no pooled output (T5): of a call
    with several texts the host gives the pooled output of the first alone.

    on_progress: called with the number of planned texts that a call encoded.
    """

    def __init__(self, clip: CLIP, planned: Sequence[str], on_progress: Callable[[int], Any]) -> None:
        self._clip, self._planned, self._on_progress = clip, list(dict.fromkeys(planned)), on_progress
        self._ready: dict[str, Encoding] = {}
        self._several = True  # texts in a call, until the encoder turns out not to take them

    def __call__(self, text: str) -> Encoding:
        if text not in self._ready:
            comfy.model_management.throw_exception_if_processing_interrupted()
            self._ready |= self._encode(text)
        return self._ready.pop(text)

    def _encode(self, text: str) -> dict[str, Encoding]:
        together = self._together(text) if self._several and text in self._planned else {}
        if text in self._planned:
            self._on_progress(max(1, len(together)))
        return together or {text: encode_neutral(self._clip, text)}

    def _together(self, text: str) -> dict[str, Encoding]:
        """This text and those that are planned after it, in one call; none where they differ in length, or where the
        encoder's states are not theirs one after another."""
        at = self._planned.index(text)
        texts = self._planned[at : at + _TEXTS_PER_CALL]
        tokens = [unweighted(read_tokens(self._clip, one)) for one in texts]
        lengths = [{name: [len(chunk) for chunk in chunks] for name, chunks in one.items()} for one in tokens]
        if len(texts) == 1 or len(lengths[0]) != 1 or any(one != lengths[0] for one in lengths):
            return {}
        ((name, (length, *further)),) = lengths[0].items()
        if further:
            return {}
        states, pooled = encode_tokens(self._clip, {name: [one[name][0] for one in tokens]})
        if pooled is not None or states.shape[1] != length * len(texts):
            self._several = False
            return {}
        return {
            one: describe(self._clip, its, states[:, i * length : (i + 1) * length], None)
            for i, (one, its) in enumerate(zip(texts, tokens, strict=True))
        }
