"""What an edit of a text encoder or of a model breaks among harmless texts, without a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.utils
import torch

from safelight.checks import check_texts
from safelight.edits.spread import FEWEST, cosines, neighbours, overlap, spread, text_vector
from safelight.engine.edit_targets import targets_of
from safelight.engine.encoder import check_clip, encode_neutral, known_phrases, word_test
from safelight.text.encoding import Encoding
from safelight.text.harmless_texts import harmless_texts

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

VALUES = ".attn2.to_v.weight"  # how the names of the weights end that make values of a text
SHOWN, LOST = 5, 3  # texts in the report, and neighbours of each


@dataclass(frozen=True)
class Check:
    """spread_ratio: after / before; overlaps: [N], of each text's neighbours; both exactly 1 where nothing changed."""

    texts: Sequence[str]
    before: torch.Tensor
    after: torch.Tensor

    @property
    def spread_ratio(self) -> float:
        return float(spread(self.after) / spread(self.before))

    @property
    def overlaps(self) -> torch.Tensor:
        return overlap(self.before, self.after)

    @property
    def neighbour_overlap(self) -> float:
        return float(self.overlaps.mean())

    def report(self) -> str:
        each = int(neighbours(self.before)[0].sum())
        lines = [
            f"{len(self.texts)} texts, {each} neighbours of each.",
            f"Spread ratio: {self.spread_ratio:.3f}. Below 1 the edit draws texts together.",
            f"Neighbour overlap: {self.neighbour_overlap:.3f}. At 1 every text keeps its neighbours.",
        ]
        changed = [i for i in self.overlaps.argsort(stable=True).tolist() if self.overlaps[i] < 1.0]
        if changed:
            lines.append("Changed most:")
        for i in changed[:SHOWN]:
            lost = ", ".join(repr(self.texts[j]) for j in self._lost(i))
            lines.append(f"- {self.texts[i]!r}: {float(self.overlaps[i]):.2f}; no longer near {lost}")
        return "\n".join(lines)

    def _lost(self, i: int) -> list[int]:
        """The nearest of a text's neighbours that are none any more."""
        gone = neighbours(self.before)[i] & ~neighbours(self.after)[i]
        return sorted(gone.nonzero().flatten().tolist(), key=lambda j: -float(self.before[i, j]))[:LOST]


def check_edit(
    clip: CLIP, texts: str, edited_clip: CLIP | None, model: ModelPatcher | None, edited_model: ModelPatcher | None
) -> Check:
    """Compares texts by their token states, or with a model by what its cross-attentions hand on of them.

    Raises ValueError, naming the input.
    """
    check_clip(clip)
    check_texts(texts=texts)
    if edited_clip is None and edited_model is None:
        raise ValueError("edited_clip: expected an edit to check, got none. Link edited_clip, edited_model or both.")
    if model is None and edited_model is not None:
        raise ValueError("model: expected the model before its edit, got none. Link it beside edited_model.")
    lines = _texts(clip, texts)
    bar = comfy.utils.ProgressBar(2 * len(lines))
    clips = [clip, edited_clip if edited_clip is not None else clip]
    encodings = [list(_encoded(each, lines, bar)) for each in clips]
    if model is None:
        before, after = (_mean_cosines(map(_of_states, of_clip)) for of_clip in encodings)
    else:
        models = [model, edited_model if edited_model is not None else model]
        before, after = (_mean_cosines(_values(*each)) for each in zip(models, encodings, strict=True))
    if not float(spread(before)) > 1e-6:
        raise ValueError(
            "texts: expected texts that the text encoder reads as different ones, got some that are all the same to "
            "it. Write others."
        )
    return Check(lines, before, after)


def _texts(clip: CLIP, texts: str) -> list[str]:
    lines = list(dict.fromkeys(" ".join(line.split()) for line in texts.splitlines() if line.strip()))
    if not lines:
        lines = harmless_texts(word_test(clip))
    lines = known_phrases(clip, lines, "texts")
    if len(lines) < FEWEST:
        raise ValueError(
            f"texts: expected at least {FEWEST} different texts that the encoder knows words of, got {len(lines)}. "
            "Write more lines, twenty or more, or none for Safelight's own."
        )
    return lines


def _encoded(clip: CLIP, texts: Sequence[str], bar: comfy.utils.ProgressBar) -> Iterator[Encoding]:
    for text in texts:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield encode_neutral(clip, text).check(f"the text {text!r}")
        bar.update(1)


def _mean_cosines(texts: Iterator[Mapping[object, torch.Tensor]]) -> torch.Tensor:
    """The mean over all kinds of vectors of the texts' cosines, [N, N] in float64. texts: each one's vectors."""
    vectors = list(texts)
    by_kind = [cosines(torch.stack([each[kind] for each in vectors]).double()) for kind in vectors[0]]
    return reduce(torch.add, by_kind) / len(by_kind)


def _of_states(encoding: Encoding) -> dict[object, torch.Tensor]:
    """A vector of the text in each block of its token states."""
    return {
        key: text_vector(encoding.states[0, rows, columns].float().cpu(), encoding.content[rows], encoding.tail[rows])
        for key, rows, columns in encoding.blocks()
    }


@torch.no_grad()
def _values(model: ModelPatcher, encodings: Sequence[Encoding]) -> Iterator[Mapping[object, torch.Tensor]]:
    """A vector of each text in each layer that the model reads texts with, as a run of it would have them."""
    weights = targets_of(model).fitting({"text": encodings[0].states.shape[-1]})["text"]
    if not weights:
        raise ValueError(
            f"model: expected one that reads texts {encodings[0].states.shape[-1]} wide, as this text encoder makes "
            f"them, got {targets_of(model).described()}. Use the model's own text encoder."
        )
    weights = [key for key in weights if key.endswith(VALUES)] or weights
    comfy.model_management.load_models_gpu([model])
    layers = {key: model.model.get_submodule(key.removesuffix(".weight")) for key in weights}
    for encoding in encodings:
        comfy.model_management.throw_exception_if_processing_interrupted()
        states = encoding.states.to(model.load_device, model.model.get_dtype())
        yield {
            key: text_vector(layer(states)[0].float().cpu(), encoding.content, encoding.tail)
            for key, layer in layers.items()
        }
