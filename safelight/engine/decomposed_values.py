"""A MODEL whose cross-attentions hand on no value of the concepts (AdaVD)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import required_text
from safelight.edits import adavd
from safelight.engine import host
from safelight.engine.edit_targets import cross_attentions
from safelight.engine.encoder import check_clip, encode_neutral, known_phrases
from safelight.engine.known_rows import check_rows
from safelight.engine.row_forwards import RowForward, put_forward
from safelight.text.concepts import split_concepts

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


class Decomposed(RowForward):
    """A value projection's forward without the concepts.

    words: the state of each concept's last word, [K, W], which the host moves between devices.
    """

    def __init__(
        self, forward: Callable[..., torch.Tensor], words: torch.nn.Parameter, strength: float, adaptive: bool
    ) -> None:
        super().__init__(forward)
        self._words, self._strength, self._adaptive = words, strength, adaptive

    def __call__(self, states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        values = self._forward(states, *args, **kwargs)
        concepts = self._forward(self._words.to(states)[:, None], *args, **kwargs)[:, 0]
        return adavd.without(values, adavd.basis(concepts.float()), self._strength, self._adaptive)


def last_words(clip: CLIP, concepts: str) -> torch.Tensor:
    """The state of the last token of each concept's text, [K, W].

    Raises ValueError, naming the input, where there are no concepts that the encoder knows, or where its rows are not
    known to be single words.
    """
    check_clip(clip)
    listed = split_concepts(required_text("concepts", concepts))
    required_text("concepts", ", ".join(listed))  # commas alone are no concept
    check_rows(clip, "AdaVD", "Use a method that reads whole texts, such as Safelight CRG Guider.")
    phrases = known_phrases(clip, listed, "concepts")
    encoded = [encode_neutral(clip, phrase).check(f"the concept {phrase!r}") for phrase in phrases]
    return torch.cat([one.states[:, int(one.content.nonzero()[-1])] for one in encoded])


def decomposed(model: ModelPatcher, words: torch.Tensor, strength: float, adaptive: bool) -> ModelPatcher:
    """A clone of the model. words: as last_words gives them.

    Raises ValueError, naming the model, where it has no cross-attentions with a text of that width.
    """
    layers = [f"{attention}.to_v" for attention in cross_attentions(model, words.shape[-1])]
    patched, held = model.clone(), torch.nn.ParameterList([torch.nn.Parameter(words, requires_grad=False)])
    for layer in layers:
        put_forward(patched, layer, lambda forward: Decomposed(forward, held[0], strength, adaptive))
    host.add_weights(patched, held)
    return patched
