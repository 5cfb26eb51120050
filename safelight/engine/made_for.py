"""What a model is made for: the size of its pictures and its cfg, by the host's class of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy.model_base import ModelType

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


@dataclass(frozen=True)
class MadeFor:
    """name: of the family, for notes; empty where it is not known. width, height: in pixels. video: whether what it
    draws moves."""

    name: str
    width: int
    height: int
    cfg: float
    video: bool = False


UNKNOWN = MadeFor("", 1024, 1024, 7.0)  # as most models of its time: a picture near it is better than none
SD1, SD2 = MadeFor("SD1.x", 512, 512, 7.0), MadeFor("SD2", 512, 512, 7.0)
SD2_LARGE = MadeFor("SD2 (768)", 768, 768, 7.0)  # the velocity model alone was trained at this size
# Of models that can't be told apart the name says which one is meant.
Z_IMAGE = MadeFor("Z-Image Turbo", 1024, 1024, 1.0)  # distilled, unlike Z-Image itself
OVIS = MadeFor("Ovis-Image", 1024, 1024, 5.0)  # a Flux by class

# By class of comfy.model_base, the size and cfg of each family's model card. cfg 1 is for models whose guidance is
# distilled into them: a second row would only double their work and overdo the colours.
FAMILIES = {
    "SDXL": MadeFor("SDXL", 1024, 1024, 7.0),
    "SDXLRefiner": MadeFor("SDXL refiner", 1024, 1024, 7.0),
    "SD3": MadeFor("SD3", 1024, 1024, 4.5),
    "Flux": MadeFor("Flux", 1024, 1024, 1.0),
    "Flux2": MadeFor("Flux.2", 1024, 1024, 1.0),
    "Chroma": MadeFor("Chroma", 1024, 1024, 4.0),  # Flux with the distilled guidance taken out
    "LongCatImage": MadeFor("LongCat-Image", 1024, 1024, 4.5),  # a Flux by class alone
    "HiDream": MadeFor("HiDream I1 Full", 1024, 1024, 5.0),  # Dev and Fast are distilled
    "QwenImage": MadeFor("Qwen-Image", 1328, 1328, 4.0),
    "MageFlow": MadeFor("Mage-Flow", 1024, 1024, 5.0),  # a Qwen-Image by class
    "Lumina2": MadeFor("Lumina 2", 1024, 1024, 4.0),
    "WAN21": MadeFor("Wan", 832, 480, 6.0, video=True),
    "WAN22": MadeFor("Wan 2.2 (5B)", 1280, 704, 5.0, video=True),
}
# Widths of the text states.
_SD1_CONTEXT, _SD2_CONTEXT = 768, 1024
_Z_IMAGE_DIM = 3840


def made_for(model: ModelPatcher) -> MadeFor:
    """What the model says itself (`safelight_made_for` of its configuration), else its family's, else UNKNOWN."""
    config = getattr(model.model, "model_config", None)
    own = getattr(type(config), "safelight_made_for", None)  # an object of the host warns of what it has not
    if own is not None:
        return MadeFor(*own)
    network: dict[str, Any] = getattr(config, "unet_config", {})
    for kind in (base.__name__ for base in type(model.model).__mro__):
        if kind == "Lumina2" and network.get("dim") == _Z_IMAGE_DIM:
            return Z_IMAGE
        if kind == "Flux" and network.get("yak_mlp"):
            return OVIS
        if kind in FAMILIES:
            return FAMILIES[kind]
    if network.get("context_dim") == _SD1_CONTEXT:
        return SD1
    if network.get("context_dim") == _SD2_CONTEXT:
        return SD2_LARGE if model.model.model_type == ModelType.V_PREDICTION else SD2
    return UNKNOWN
