"""A MODEL whose cross-attentions take away what they find of the targets (GIE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from safelight.edits import growth_inhibitors
from safelight.engine import host
from safelight.engine.edit_targets import cross_attentions
from safelight.engine.encoder import encode_neutral
from safelight.engine.known_rows import known_concepts
from safelight.text.encoding import Encoding

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

COND, UNCOND = 0, 1  # how the host numbers the rows of a call
_KEPT = "safelight_found"  # among a block's own options, from before its cross-attention until after it
Place = tuple[str, int, int]  # of a cross-attention, as the host tells it: ("input", 4, 0)
Self = TypeVar("Self", bound="ByRow")


class ByRow:
    """A patch for which every row of a call is for itself, and which keeps nothing from call to call."""

    by_row = True

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self  # with a model's options, where a host copies them: it leads to the network


class Before(ByRow):
    """The patch in front of a cross-attention: what its conditional rows find of the targets.

    texts: states [1, L, W] of each target's text, which the host moves between devices; words: boolean [L], of each.
    """

    def __init__(
        self, attentions: dict[Place, torch.nn.Module], texts: torch.nn.ParameterList, words: Sequence[torch.Tensor]
    ) -> None:
        self._attentions, self._texts, self._words = attentions, texts, words

    def __call__(
        self, n: torch.Tensor, context: torch.Tensor, value: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        place, rows = self.rows(n, options)
        if rows:
            options.setdefault(_KEPT, []).append((len(n), rows, self._found(self._attentions[place], n[rows])))
        return n, context, value

    def rows(self, n: torch.Tensor, options: dict[str, Any]) -> tuple[Place, list[int]]:
        """Where it is called, and the conditional rows there: none in the attention of another network."""
        place = (*options.get("block", ("", 0)), options.get("block_index", 0))
        return place, _conditional(n, options) if place in self._attentions else []

    def _found(self, attention: Any, n: torch.Tensor) -> torch.Tensor:
        """As the attention's output, without its bias."""
        q = attention.to_q(n)
        found = torch.zeros_like(q)
        for text, words in zip(self._texts, self._words, strict=True):
            (k,), (v,) = attention.to_k(text.to(n)), attention.to_v(text.to(n))
            found += growth_inhibitors.found(q, k, v, words.to(n.device), attention.heads)
        found *= growth_inhibitors.weight(len(self._words))
        return attention.to_out(found) - attention.to_out(torch.zeros_like(found[:1, :1]))


class After(ByRow):
    """The patch behind a cross-attention: takes away what the one in front found."""

    def __init__(self, strength: float) -> None:
        self._strength = strength

    def __call__(self, n: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        if not options.get(_KEPT):
            return n
        count, rows, found = options[_KEPT].pop(0)
        if count != len(n):
            raise ValueError(
                f"model: expected a cross-attention with the same rows before and after it for Safelight Growth "
                f"Inhibitors, got {count} and {len(n)}: another node, such as an attention couple, makes rows of its "
                "own there. Use one of the two."
            )
        n = n.clone()
        n[rows] -= self._strength * found
        return n


def _conditional(n: torch.Tensor, options: dict[str, Any]) -> list[int]:
    """The rows of the positive prompt, and of a safe one."""
    kinds = options["cond_or_uncond"]
    if any(kind not in (COND, UNCOND) for kind in kinds):
        raise ValueError(
            "model: expected a guider with one positive and one negative prompt for Safelight Growth Inhibitors, got "
            "one with further prompts (Dual CFG, Perp Neg). Use CFGGuider or a KSampler."
        )
    each = len(n) // len(kinds)
    return [row for row in range(len(n)) if kinds[min(row // each, len(kinds) - 1)] == COND]


def target_texts(clip: CLIP, concepts: str) -> list[Encoding]:
    """The texts of the targets, one each of those concepts that the encoder knows. Raises ValueError as known_concepts
    does."""
    targets = known_concepts(clip, concepts, "growth inhibitors")
    return [encode_neutral(clip, target).check(f"the concept {target!r}") for target in targets]


def inhibitors(model: ModelPatcher, targets: Sequence[Encoding], strength: float) -> tuple[ModelPatcher, Before, After]:
    """A clone of the model that acts by the two patches, which are on it. strength: the scale of GIE with its sign
    turned.

    Raises ValueError, naming the model, where it has no cross-attentions with a text of that width.
    """
    names = cross_attentions(model, targets[0].states.shape[-1])
    patched = model.clone()
    texts = torch.nn.ParameterList([torch.nn.Parameter(each.states, requires_grad=False) for each in targets])
    attentions = {_place(name): patched.get_model_object(name) for name in names}
    before, after = Before(attentions, texts, [each.content for each in targets]), After(strength)
    patched.set_model_attn2_patch(before)
    patched.set_model_attn2_output_patch(after)
    host.add_weights(patched, texts)
    return patched, before, after


def _place(name: str) -> Place:
    """name: such as "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2"."""
    _, blocks, number, *_, index, _ = name.split(".")
    kind = blocks.partition("_")[0]
    return kind, 0 if kind == "middle" else int(number), int(index)
