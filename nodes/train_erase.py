"""SafelightTrainErase: concepts out of a model by training (SDD, ESD, DUO, Forget-Me-Not)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import check_links
from safelight.engine.erase_lora import train_lora
from safelight.engine.erase_objectives import METHODS, SDD
from safelight.engine.erase_training import Settings
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


class SafelightTrainErase:
    RETURN_TYPES = ("MODEL", "STRING")
    RETURN_NAMES = ("MODEL", "lora")
    OUTPUT_TOOLTIPS = (
        "The model with the LoRA at strength 1. The one that came in stays as it is.",
        "The LoRA's name, as the host's Load LoRA lists it.",
    )
    OUTPUT_NODE = True
    FUNCTION = "train"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = [
        "erase",
        "unlearn",
        "fine-tune",
        "train LoRA",
        "ESD",
        "DUO",
        "Forget-Me-Not",
        "concept erasure",
    ]
    DESCRIPTION = (
        "Trains a LoRA that erases concepts from a model, and saves it in output/loras for the host's Load LoRA. A "
        "training that was stopped goes on when it is queued again. Related methods, to compare Safelight with: unlike "
        "Safelight they change harmless pictures too."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The model to train on, with its LoRAs, if any, already applied."}),
                "clip": ("CLIP", {"tooltip": "The model's own text encoder."}),
                "latent_image": (
                    "LATENT",
                    {
                        "tooltip": "An Empty Latent of the size to train at. Its batch is the number of pictures of a "
                        "training step: 1 needs the least memory, 4 trains more evenly.",
                    },
                ),
                "concepts": inputs.concepts_input(
                    "What to erase, separated by commas or one per line. They take turns."
                ),
                "method": (
                    list(METHODS),
                    {
                        "default": SDD,
                        "tooltip": "SDD: the concept becomes no text at all. ESD: the opposite of the concept. DUO: "
                        "learns from pairs of pictures, whatever the wording. Forget-Me-Not: looks away from the "
                        "concept's words; weak in every later test.",
                    },
                ),
            },
            "optional": {
                "keep": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "Look-alikes and other texts that must be drawn as before, one per line. Empty: "
                        "Safelight's own harmless phrases. In DUO they stand beside the concepts in the pairs.",
                    },
                ),
                "steps": (
                    "INT",
                    {
                        "default": 500,
                        "min": 1,
                        "max": 100000,
                        "tooltip": "Training steps, of all concepts together. DUO takes 1000 at a learning rate of "
                        "0.0003.",
                    },
                ),
                "rank": (
                    "INT",
                    {
                        "default": 8,
                        "min": 1,
                        "max": 256,
                        "advanced": True,
                        "tooltip": "The LoRA's rank: how much it can learn, and how large its file is.",
                    },
                ),
                "learning_rate": (
                    "FLOAT",
                    {
                        "default": 0.0002,
                        "min": 0.0,
                        "max": 0.1,
                        "step": 0.00001,
                        "round": 0.000001,
                        "tooltip": "How far a step goes. More erases sooner, and harms more.",
                    },
                ),
                "keep_weight": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.1,
                        "advanced": True,
                        "tooltip": "How much `keep` weighs beside the concepts. 0 leaves it out, as the papers do. DUO "
                        "has a term of its own instead.",
                    },
                ),
                "cfg": (
                    "FLOAT",
                    {
                        "default": 3.0,
                        "min": 1.0,
                        "max": 100.0,
                        "step": 0.1,
                        "advanced": True,
                        "tooltip": "Classifier-free guidance of the pictures that are learnt from. 1 for distilled "
                        "models.",
                    },
                ),
                "seed": inputs.training_seed(
                    "Of the LoRA's start, the pictures and the noise. The same seed trains the same LoRA."
                ),
                "filename_prefix": (
                    "STRING",
                    {
                        "default": "erase",
                        "tooltip": "How the LoRA's name begins; a counter follows. It may begin with a folder.",
                    },
                ),
                "unsafe": (
                    "LATENT",
                    {
                        "tooltip": "For DUO: pictures that show the concepts, through VAE Encode. Without links the "
                        "model makes pairs itself.",
                    },
                ),
                "safe": ("LATENT", {"tooltip": "For DUO: the same pictures without them, in the same order."}),
            },
        }

    def train(
        self,
        model: ModelPatcher,
        clip: CLIP,
        latent_image: dict[str, Any],
        concepts: str = DEFAULT_CONCEPTS,
        method: str = SDD,
        keep: str = "",
        steps: int = 500,
        rank: int = 8,
        learning_rate: float = 0.0002,
        keep_weight: float = 1.0,
        cfg: float = 3.0,
        seed: int = 0,
        filename_prefix: str = "erase",
        unsafe: dict[str, Any] | None = None,
        safe: dict[str, Any] | None = None,
    ) -> tuple[ModelPatcher, str]:
        check_links(model=model, latent_image=latent_image)
        settings = Settings(method, steps, rank, learning_rate, keep_weight, cfg, seed)
        return train_lora(model, clip, latent_image, concepts, keep, settings, unsafe, safe, filename_prefix)
