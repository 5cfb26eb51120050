"""The matrices in which a model reads its text, and which an edit of texts changes, by family of models.

UNets read the states in every cross-attention (its keys and values). Flux and SD3 have none: they embed the states and
the pooled output once, before anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from safelight.edits.uce import StateMap
from safelight.engine import host

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_VALUES = ".to_v.weight"  # how the name of a cross-attention goes on to that of the weight that makes its values
READERS = ("text", "pooled")  # of the states of all tokens; of the pooled output, one vector for the whole text
# UNets whose cross-attention reads a picture.
_OF_PICTURES = frozenset({"SVD_img2vid", "SV3D_u", "SV3D_p", "Stable_Zero123"})
_EMBEDDERS = {
    "Flux": {"text": "diffusion_model.txt_in.weight", "pooled": "diffusion_model.vector_in.in_layer.weight"},
    "SD3": {"text": "diffusion_model.context_embedder.weight", "pooled": "diffusion_model.y_embedder.mlp.0.weight"},
}


@dataclass(frozen=True)
class Targets:
    """The weights that read texts. keys: by reader, each weight's key and the width of what it reads."""

    family: str
    keys: dict[str, dict[str, int]]

    def fitting(self, widths: dict[str, int]) -> dict[str, list[str]]:
        """By reader, the keys of the weights that read these widths."""
        return {
            reader: [key for key, wide in self.keys.get(reader, {}).items() if wide == width]
            for reader, width in widths.items()
        }

    def described(self) -> str:
        """For messages: the family and the widths that it reads."""
        return f"a {self.family} model for {described_widths({r: keys.values() for r, keys in self.keys.items()})}"


def described_widths(widths: Mapping[str, Iterable[int]]) -> str:
    """For messages: the widths by reader, such as "texts 768 wide and a pooled output 1280 wide"."""
    names = {"text": "texts", "pooled": "a pooled output"}
    wide = {reader: " or ".join(map(str, sorted(set(widths[reader])))) for reader in READERS if reader in widths}
    return " and ".join(f"{names[reader]} {numbers} wide" for reader, numbers in wide.items())


def crosses_texts(model: ModelPatcher) -> bool:
    """Whether it is a UNet that reads texts in cross-attentions."""
    return isinstance(model.model.diffusion_model, UNetModel) and type(model.model).__name__ not in _OF_PICTURES


def targets_of(model: ModelPatcher) -> Targets:
    """Raises ValueError, naming the kind of model, where it is not known how the model reads texts."""
    kind = type(model.model).__name__
    state = model.model.state_dict()

    def ending(*ends: str) -> dict[str, int]:
        return {key: int(state[key].shape[-1]) for key in state if key.endswith(ends) and state[key].ndim == 2}

    if crosses_texts(model):
        family, keys = "UNet", {"text": ending(".attn2.to_k.weight", ".attn2.to_v.weight")}
    else:
        family, keys = kind, {reader: ending(name) for reader, name in _EMBEDDERS.get(kind, {}).items()}
    if not all(keys.get(reader) for reader in keys or READERS):
        raise ValueError(
            "model: expected a UNet with text cross-attention (SD1.x, SD2, SDXL), Flux or SD3, whose text weights can "
            f"be edited, got a {kind}. Use a model of one of those kinds."
        )
    return Targets(family, keys)


def cross_attentions(model: ModelPatcher, width: int) -> list[str]:
    """The names of a UNet's cross-attentions that read texts of this width.

    Raises ValueError, naming the model, where there are none.
    """
    targets = targets_of(model)
    keys = targets.fitting({"text": width})["text"]
    if names := [key.removesuffix(_VALUES) for key in keys if key.endswith(_VALUES)]:
        return names
    raise ValueError(
        f"model: expected a UNet with text cross-attention (SD1.x, SD2, SDXL) that reads texts {width} wide, as this "
        f"text encoder makes them, got {targets.described()}. Use the model's own text encoder, or another model."
    )


def edited(
    model: ModelPatcher, targets: dict[str, list[str]], maps: dict[str, StateMap], strength: float
) -> ModelPatcher:
    """A clone of the model that reads its texts through the maps. Patches that are on the model are edited with it.

    targets: keys by reader. A matrix gets its difference in low rank where that holds fewer numbers.
    """
    maps_by_key = {key: maps[reader] for reader in maps for key in targets[reader]}
    patches: dict[str, Any] = {}  # in the host's forms
    for key, weight in host.patched_weights(model, list(maps_by_key)):
        up, down = weight @ maps_by_key[key].up, maps_by_key[key].down
        if down is not None and down.shape[0] * sum(weight.shape) < weight.numel():
            patches[key] = host.low_rank_patch(up, down)
        else:
            patches[key] = (up if down is None else up @ down,)
    clone = model.clone()
    missed = maps_by_key.keys() - set(clone.add_patches(patches, strength))
    if missed:
        raise ValueError(
            f"model: expected every text weight to take a patch, got none on {min(missed)}. Load the checkpoint in "
            "another precision."
        )
    return clone
