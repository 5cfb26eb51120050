"""Trains a LoRA that erases concepts from a model (SDD, ESD, DUO, Forget-Me-Not), in a run of the host's guider."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.samplers
import torch

from safelight.edits import sdd
from safelight.engine import gradients, host, training_state
from safelight.engine.erase_material import Material
from safelight.engine.erase_objectives import (
    DUO,
    ESD,
    FORGET,
    LAYERS,
    QUERIES,
    Draw,
    Forgetting,
    Objective,
    Predictions,
    Preference,
    SelfDistillation,
)
from safelight.engine.ksampler import stock_sampler
from safelight.engine.low_rank import NETWORK, Adapters, Weights, attention_layers
from safelight.engine.row_forwards import put_forward

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

log = logging.getLogger("safelight")

RUN_STEPS, LEVELS = 10, 100  # sigmas of a sampling run, and to noise pictures with
SCHEDULER = "simple"
CLIP_NORM, WEIGHT_DECAY = 1.0, 0.01
SCALE = 1024.0  # of the loss: half precision has no smaller gradients. A power of two, so that nothing else changes
MOST_SKIPPED = 20  # updates in a row without a finite gradient
SAVE_EVERY = 60.0  # seconds
LARGE = 200_000_000  # parameters; above, blocks are computed again in the backward pass instead of kept


@dataclass(frozen=True)
class Settings:
    method: str
    steps: int
    rank: int
    learning_rate: float
    keep_weight: float
    cfg: float
    seed: int


def train(
    model: ModelPatcher, material: Material, settings: Settings, state: training_state.StateFile
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The LoRA as a file has it, and the loss of every step.

    A training that was interrupted goes on from `state`, where it is kept when that happens. Raises ValueError, naming
    the input, for a model without fitting layers, and for losses that are not finite.
    """
    generator = torch.Generator().manual_seed(settings.seed % 2**63)
    with gradients.trainable_host():
        layers = attention_layers(model, LAYERS[settings.method])
        gradients.make_weights_normal(model.model.diffusion_model)
        material = material.as_normal()
        adapters = Adapters(model, layers, settings.rank, generator)
        patched = model.clone()
        adapters.attach(patched)
        if settings.method != FORGET and _size(model) > LARGE:  # what Forget-Me-Not watches is inside the blocks
            _checkpoint_blocks(patched, layers)
        training = _Training(patched, adapters, material, settings, state)
        training.run()
        return adapters.lora(training.result()), training.losses


def _size(model: ModelPatcher) -> int:
    return sum(weight.numel() for weight in model.model.diffusion_model.parameters())


def _checkpoint_blocks(patched: ModelPatcher, layers: list[str]) -> None:
    for block in gradients.blocks_of(patched.model.diffusion_model):
        trains = any(layer.startswith(f"{block}.") for layer in layers)
        put_forward(patched, f"{NETWORK}{block}", partial(gradients.Checkpointed, trains))


class _Training(comfy.samplers.Sampler):
    """The loop, as a sampler of the host: so the model is loaded, and its conditionings are prepared, as in a run."""

    def __init__(
        self,
        patched: ModelPatcher,
        adapters: Adapters,
        material: Material,
        settings: Settings,
        state: training_state.StateFile,
    ) -> None:
        self.patched, self.adapters, self.material, self.settings = patched, adapters, material, settings
        self.state = state
        self.optimiser = torch.optim.AdamW(adapters.parameters(), settings.learning_rate, weight_decay=WEIGHT_DECAY)
        self.losses: list[float] = []
        self._keeps_mean, self._skipped = False, 0

    def run(self) -> None:
        guider = comfy.samplers.CFGGuider(self.patched)
        guider.inner_set_conds(self.material.conditionings)
        latent = host.fix_empty_latent(self.patched, self.material.latent)
        run = stock_sampler(self.patched, RUN_STEPS, "euler", SCHEDULER).sigmas
        preview = host.preview_callback(self.patched, self.settings.steps)
        zeros = torch.zeros_like(latent)
        guider.sample(zeros, zeros, self, run, callback=preview, disable_pbar=True, seed=self.settings.seed)

    def result(self) -> Weights:
        return self.adapters.mean if self._keeps_mean else self.adapters.student

    def sample(
        self,
        model_wrap: Any,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable[..., None],
        noise: torch.Tensor,
        latent_image: torch.Tensor | None = None,
        denoise_mask: torch.Tensor | None = None,
        disable_pbar: bool = False,
    ) -> torch.Tensor:
        """Called by the guider. Returns what a sampler would: latents, here empty ones."""
        del latent_image, denoise_mask, disable_pbar
        levels = stock_sampler(self.patched, LEVELS, "euler", SCHEDULER).sigmas[:-1].to(sigmas)
        predictions = Predictions(model_wrap, extra_args["model_options"], self.adapters, sigmas, levels)
        objective = self._objective(predictions, noise)
        self._keeps_mean = objective.keeps_mean
        self.losses = self.state.restore(self.adapters, self.optimiser)
        saved = time.monotonic()
        try:
            for step in range(len(self.losses), self.settings.steps):
                comfy.model_management.throw_exception_if_processing_interrupted()
                self.losses.append(self._update(objective, step))
                callback(step, predictions.denoised, predictions.denoised, self.settings.steps)
                if time.monotonic() - saved > SAVE_EVERY:
                    self.state.save(self.adapters, self.optimiser, self.losses)
                    saved = time.monotonic()
        except ValueError:
            raise  # of losses or gradients that are not finite, which going on would not mend
        except BaseException:
            self.state.save(self.adapters, self.optimiser, self.losses)
            raise
        return noise

    def _update(self, objective: Objective, step: int) -> float:
        """One step of training. Returns its loss."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = objective.loss(step, Draw(self.settings.seed, step))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(
                f"learning_rate: expected training with finite losses, got {value} at step {step}. Lower it from "
                f"{self.settings.learning_rate:g}."
            )
        with torch.enable_grad(), self.adapters.using(self.adapters.student):  # blocks may be computed again here
            (loss * SCALE).backward()
        parameters = self.adapters.parameters()
        for part in parameters:
            if part.grad is not None:
                part.grad /= SCALE
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        if not torch.isfinite(norm):
            self._skipped += 1
            if self._skipped == MOST_SKIPPED:
                raise ValueError(
                    f"model: expected finite gradients, got none in {MOST_SKIPPED} steps. Load the model in bf16 or "
                    "fp32."
                )
            return value
        self._skipped = 0
        self.optimiser.step()
        self.adapters.follow(sdd.decay_at(step))
        return value

    def _objective(self, predictions: Predictions, noise: torch.Tensor) -> Objective:
        material, settings = self.material.for_model(self.patched.model, noise), self.settings
        shared: dict[str, Any] = {
            "predictions": predictions,
            "adapters": self.adapters,
            "concepts": material.concepts,
            "kept": material.kept,
            "keep_weight": settings.keep_weight,
            "cfg": settings.cfg,
            "like": noise,
        }
        if settings.method == DUO:
            assert material.pairs is not None
            return Preference(**shared, pairs=material.pairs)
        if settings.method == FORGET:
            modules = dict(self.patched.model.diffusion_model.named_modules())
            heads = {
                layer: modules[layer.removesuffix(".to_q")].heads
                for layer in self.adapters.student
                if layer.endswith(QUERIES)
            }
            return Forgetting(**shared, shown=material.shown, places=material.places, heads=heads)
        return SelfDistillation(**shared, eta=sdd.ETA if settings.method == ESD else None)
