"""Where a model reads its text: the matrices that an edit of texts changes, by family.

UNets read the states in every cross-attention (its keys and values). Flux and SD3 have none: they embed the states, and
the pooled output, once, before anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from safelight.edits.uce import StateMap
from safelight.engine import host

READERS = ("text", "pooled")  # what is read: the states of all tokens, or the one vector of the whole text
# UNets whose cross-attention reads a picture.
_OF_PICTURES = frozenset({"SVD_img2vid", "SV3D_u", "SV3D_p", "Stable_Zero123"})
_EMBEDDERS = {
    "Flux": {"text": "diffusion_model.txt_in.weight", "pooled": "diffusion_model.vector_in.in_layer.weight"},
    "SD3": {"text": "diffusion_model.context_embedder.weight", "pooled": "diffusion_model.y_embedder.mlp.0.weight"},
}


@dataclass(frozen=True)
class Targets:
    """The weights that read texts. keys: by reader, then the weight's key and how wide what it reads is."""

    family: str
    keys: dict[str, dict[str, int]]

    def fitting(self, widths: dict[str, int]) -> dict[str, list[str]]:
        """The keys by reader that read what is this wide."""
        return {
            reader: [key for key, wide in self.keys.get(reader, {}).items() if wide == width]
            for reader, width in widths.items()
        }

    def described(self) -> str:
        """For messages: the family, and how wide the texts are that it reads."""
        widths = sorted(set(self.keys["text"].values()))
        return f"a {self.family} model for texts {' or '.join(map(str, widths))} wide"


def targets_of(model: Any) -> Targets:
    """Raises ValueError, naming the kind of model, for one whose texts are read in ways not known here."""
    kind, network = type(model.model).__name__, model.model.diffusion_model
    state = model.model.state_dict()

    def ending(*ends: str) -> dict[str, int]:
        return {key: int(state[key].shape[-1]) for key in state if key.endswith(ends) and state[key].ndim == 2}

    if isinstance(network, UNetModel) and kind not in _OF_PICTURES:
        family, found = "UNet", {"text": ending(".attn2.to_k.weight", ".attn2.to_v.weight")}
    else:
        family, found = kind, {reader: ending(name) for reader, name in _EMBEDDERS.get(kind, {}).items()}
    if not all(found.get(reader) for reader in found or READERS):
        raise ValueError(
            f"model: it is of the kind {kind}, whose way to read texts is not known here. Erasing works in UNets with "
            "text cross-attention (SD1.x, SD2, SDXL), in Flux and in SD3."
        )
    return Targets(family, found)


def edited(model: Any, targets: dict[str, list[str]], maps: dict[str, StateMap], strength: float) -> Any:
    """A clone of the model that reads its texts through the maps. What patches the model already is edited with it.

    targets: keys by reader. A matrix gets its difference in low rank where that holds fewer numbers.
    """
    found = {key: maps[reader] for reader in maps for key in targets[reader]}
    patches: dict[str, Any] = {}
    for key, weight in host.patched_weights(model, list(found)):
        up, down = weight @ found[key].up, found[key].down
        if down is not None and down.shape[0] * sum(weight.shape) < weight.numel():
            patches[key] = host.low_rank_patch(up, down)
        else:
            patches[key] = (up if down is None else up @ down,)
    clone = model.clone()
    missed = found.keys() - set(clone.add_patches(patches, strength))
    if missed:
        raise ValueError(f"model: it took no patch for {min(missed)}; load the checkpoint in another precision.")
    return clone
