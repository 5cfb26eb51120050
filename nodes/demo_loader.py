"""SafelightDemoLoader: the small model that comes with the pack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.engine.typed_prompt import vocabularies

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP, VAE


class SafelightDemoLoader:
    DESCRIPTION = (
        "Loads Safelight's own small text-to-image model: emoji on coloured backgrounds, 96 x 96 pixels, a picture in "
        "a second or two without a graphics card. It is there to try every Safelight node without a download. It knows "
        "about a hundred words; an unknown one is read as nothing, and the log names it."
    )
    CATEGORY = "Safelight/demo"
    SEARCH_ALIASES = ["demo model", "small model", "test model"]
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    OUTPUT_TOOLTIPS = (
        "The denoiser, 96 x 96 pixels (12 x 12 latents).",
        "Its text encoder, which knows the words of the demo world only.",
        "Its autoencoder, 8 pixels to a latent cell.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def load(self) -> tuple[ModelPatcher, CLIP, VAE]:
        from ..demo.loader import load  # type: ignore[import-not-found]  # above `nodes` only in the pack as the host loads it

        return load()


def _knows(word: str) -> bool:
    from ..demo.loader import knows

    return knows(word)


vocabularies[SafelightDemoLoader.__name__] = _knows
