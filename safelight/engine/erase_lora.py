"""The LoRA that SafelightTrainErase makes: trained, written to output/loras, and on the model."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import comfy.sd
import torch
from safetensors.torch import save_file

from safelight.checks import check_numbers, check_texts, shortened
from safelight.engine import erase_training
from safelight.engine.digest import digest_of
from safelight.engine.encoder import check_clip
from safelight.engine.erase_material import MaterialMaker
from safelight.engine.erase_objectives import DUO, FORGET, LAYERS, METHODS, QUERIES
from safelight.engine.erase_training import Settings
from safelight.engine.host import fix_empty_latent, folder_paths
from safelight.engine.low_rank import NETWORK, attention_layers
from safelight.engine.training_state import StateFile

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

FOLDER = "loras"  # in models, where the host lists them, and in output
STATE = ".training"  # how the name of an unfinished training's file ends; no list of LoRAs has it


def train_lora(
    model: ModelPatcher,
    clip: CLIP,
    latent: dict[str, Any],
    concepts: str,
    keep: str,
    settings: Settings,
    unsafe: dict[str, Any] | None,
    safe: dict[str, Any] | None,
    filename_prefix: str,
) -> tuple[ModelPatcher, str]:
    """A clone of the model with the LoRA, and the LoRA's name in the host's list. Raises ValueError, naming the
    input."""
    check_clip(clip)
    check_texts(concepts=concepts, keep=keep, filename_prefix=filename_prefix)
    _check(settings)
    layers = attention_layers(model, LAYERS.get(settings.method, ""))
    if settings.method == FORGET and not any(layer.endswith(QUERIES) for layer in layers):
        raise ValueError(
            f"model: expected a UNet with cross-attention (SD1.x, SD2, SDXL) for Forget-Me-Not, got "
            f"{type(model.model).__name__}. Choose another method."
        )
    samples = fix_empty_latent(model, latent)
    pairs = _pairs(unsafe, safe, samples) if settings.method == DUO else None
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, _output_folder())
    identity = _identity(model, layers, samples, concepts, keep, settings, pairs)
    state = StateFile(os.path.join(folder, f"{name}{STATE}"), identity)
    maker = MaterialMaker(model, clip, latent, settings.cfg, settings.seed)
    material = maker.make(settings.method, concepts, keep, settings.keep_weight > 0.0, pairs)
    lora, losses = erase_training.train(model, material, settings, state)
    file = f"{name}_{counter:05}_.safetensors"
    about = {**vars(settings), "concepts": concepts, "keep": keep, "losses": [float(f"{loss:.6g}") for loss in losses]}
    save_file(lora, os.path.join(folder, file), metadata={"safelight": "erase training", "settings": json.dumps(about)})
    state.forget()
    applied, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)
    return applied, os.path.join(subfolder, file)


def _output_folder() -> str:
    """Registered with the host, whose LoRA nodes list what is in it."""
    path = os.path.join(folder_paths.get_output_directory(), FOLDER)
    folder_paths.add_model_folder_path(FOLDER, path)
    return path


def _check(settings: Settings) -> None:
    if settings.method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {settings.method!r}. Choose one of them.")
    numbers = {name: value for name, value in vars(settings).items() if name != "method"}
    check_numbers(**numbers)
    for name in ("steps", "rank"):
        if numbers[name] < 1:
            raise ValueError(f"{name}: expected a number from 1 up, got {numbers[name]}. Give such a number.")
    for name in ("learning_rate", "keep_weight"):
        if numbers[name] < 0.0:
            raise ValueError(f"{name}: expected a number from 0 up, got {numbers[name]}. Give such a number.")


def _pairs(
    unsafe: dict[str, Any] | None, safe: dict[str, Any] | None, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The linked pairs; None where none are linked."""
    if unsafe is None and safe is None:
        return None
    for name, latent, other in (("unsafe", unsafe, "safe"), ("safe", safe, "unsafe")):
        if latent is None:
            raise ValueError(f"{name}: expected the other halves of the pairs in {other}, got nothing. Link both.")
        samples = latent.get("samples") if isinstance(latent, dict) else None
        if not isinstance(samples, torch.Tensor):
            raise ValueError(f"{name}: expected a LATENT, got {shortened(latent)}. Link VAE Encode.")
        if samples.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"{name}: expected latents of the size of latent_image, {tuple(like.shape[1:])}, got "
                f"{tuple(samples.shape[1:])}. Scale the pictures, or give latent_image their size."
            )
    assert unsafe is not None and safe is not None
    if len(unsafe["samples"]) != len(safe["samples"]):
        raise ValueError(
            f"safe: expected {len(unsafe['samples'])} pictures as in unsafe, got {len(safe['samples'])}. Give every "
            "unsafe picture its safe one."
        )
    return unsafe["samples"], safe["samples"]


def _identity(
    model: ModelPatcher,
    layers: list[str],
    samples: torch.Tensor,
    concepts: str,
    keep: str,
    settings: Settings,
    pairs: tuple[torch.Tensor, torch.Tensor] | None,
) -> str:
    """Of the training, whatever its number of steps."""
    weight = model.model.state_dict()[f"{NETWORK}{layers[0]}.weight"]
    asked = {name: value for name, value in vars(settings).items() if name != "steps"}
    given = [layers, sorted(model.patches), list(samples.shape), concepts, keep, asked, list(pairs or ())]
    return digest_of([given, weight.float().sum().item()]).hex()
