"""The denoiser with a Safe Adapter as a policy: it draws pictures and is updated towards the better ones (DDPO).

Sampling is DDIM with classifier-free guidance, and only the adapter's parameters are trained. One of a run's first
steps draws noise (eta 1); the others are deterministic, as in most samplers (the idea of MixGRPO, arXiv 2507.21802).
The pictures of a prompt are equal up to that step, so their rewards differ by that one draw, and only it is trained.

Pictures that are drawn together are trained together: the same rows in one batch round in the same way, so the ratio of
probabilities is exactly 1 before the first update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from demo import ddpo
from demo.training_run import autocast
from safelight.edits.safe_adapter import TAIL, Projection, projections

FIRST, LAST = 999, 60  # the times of the first and the last step; the last one predicts the clean latent


def _setting(default: Any, about: str) -> Any:
    return field(default=default, metadata={"help": f"{about} (default {default:g})"})


@dataclass(frozen=True)
class Settings:
    """How the policy samples and learns."""

    steps: int = _setting(10, "sampling steps")
    early: int = _setting(3, "how many of the first steps may be the one that draws noise; it is chosen at random")
    cfg: float = _setting(3.0, "guidance scale, the same as when pictures are made with the adapter")
    rate: float = _setting(2e-3, "learning rate")
    clip: float = _setting(1e-3, "range of the ratio of probabilities, each a mean over a latent's values")
    anchor: float = _setting(0.02, "weight of the divergence from the model without the adapter, on benign prompts")
    updates: int = _setting(2, "updates of the parameters per epoch")


@dataclass(frozen=True)
class Drawn:
    """A batch of pictures.

    step: the one that drew noise; before, after: the latents around it, [B, ...]; log_probability: of that draw, [B];
    clean: the finished latents, [B, ...]; states: of the prompts, [B, L, C]; benign: of the prompts, boolean [B].
    """

    step: int
    before: torch.Tensor
    after: torch.Tensor
    log_probability: torch.Tensor
    clean: torch.Tensor
    states: torch.Tensor
    benign: torch.Tensor


class Attached:
    """A Safe Adapter on a denoiser's cross-attentions, with gradients. on: whether it is applied."""

    def __init__(self, network: torch.nn.Module, parameters: dict[str, torch.Tensor], tail: int = TAIL) -> None:
        self.on, self.tail = True, tail
        for layer, projection in projections(parameters).items():
            module = network.get_submodule(layer)
            module.forward = partial(self._forward, module.forward, projection)  # type: ignore[method-assign]

    def _forward(self, forward: Callable, projection: Projection, states: torch.Tensor) -> torch.Tensor:
        projected = forward(states)
        return projected + projection.delta(states, self.tail) if self.on else projected


class Policy:
    """The denoiser, its adapter and their optimiser.

    predict: gives the noise in latents [B, *shape] at times [B] with states [B, L, C]; alphas: cumulative, [1000];
    empty: the states of the empty prompt, [1, L, C].
    """

    def __init__(
        self,
        predict: Callable[..., torch.Tensor],
        adapter: Attached,
        parameters: dict[str, torch.Tensor],
        alphas: torch.Tensor,
        empty: torch.Tensor,
        shape: tuple[int, ...],
        settings: Settings,
    ) -> None:
        self.predict, self.adapter, self.parameters = predict, adapter, parameters
        self.empty, self.shape, self.settings = empty, shape, settings
        self.times = torch.linspace(FIRST, LAST, settings.steps).round().long().to(empty.device)
        self.alphas = alphas.to(empty.device)[self.times]
        self.optimiser = torch.optim.AdamW(parameters.values(), settings.rate, betas=(0.9, 0.99), weight_decay=1e-2)

    def noise(self, x: torch.Tensor, step: int, states: torch.Tensor) -> torch.Tensor:
        """The guided prediction of the noise in x at a step, in single precision."""
        time = self.times[step].expand(2 * len(x))
        context = torch.cat([states, self.empty.expand_as(states)])
        with autocast(x.device.type):
            positive, uncond = self.predict(torch.cat([x, x]), time, context).float().chunk(2)
        return uncond + self.settings.cfg * (positive - uncond)

    def step(
        self, x: torch.Tensor, step: int, states: torch.Tensor, eta: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation of the next latent, which after the last step is the clean one."""
        after = self.alphas[step + 1] if step + 1 < len(self.alphas) else torch.ones_like(self.alphas[step])
        return ddpo.ddim_step(x, self.noise(x, step, states), self.alphas[step], after, eta)

    def walk(self, x: torch.Tensor, steps: range, states: torch.Tensor) -> torch.Tensor:
        """The latents after these steps, without noise."""
        for step in steps:
            x = self.step(x, step, states, eta=0.0)[0]
        return x

    @torch.no_grad()
    def draw(
        self, states: torch.Tensor, benign: torch.Tensor, start: torch.Tensor, fresh: torch.Tensor, step: int
    ) -> Drawn:
        """Pictures of P prompts, B / P of each.

        states: [P, L, C]; benign: [P]; start: [P, ...]; fresh: the noise that the step draws, [B, ...], with the
        pictures of a prompt next to each other.
        """
        count = len(fresh) // len(start)
        before = self.walk(start, range(step), states).repeat_interleave(count, 0)
        states, benign = states.repeat_interleave(count, 0), benign.repeat_interleave(count, 0)
        mean, deviation = self.step(before, step, states)
        after = mean + deviation * fresh
        clean = self.walk(after, range(step + 1, self.settings.steps), states)
        return Drawn(step, before, after, ddpo.log_probability(after, mean, deviation), clean, states, benign)

    def learn(self, batches: list[Drawn], advantages: list[torch.Tensor]) -> dict[str, float]:
        """The updates of one epoch. advantages: [B] for each batch. Returns mean figures of the updates."""
        settings = self.settings
        figures: dict[str, list[float]] = {"clipped": [], "divergence": [], "gradient": []}
        for update in range(settings.updates):
            share = list(zip(batches, advantages, strict=True))[update :: settings.updates]
            self.optimiser.zero_grad(set_to_none=True)
            for batch, advantage in share:
                (self._loss(batch, advantage, figures) / len(share)).backward()
            norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            figures["gradient"].append(float(norm))
            if share:
                self.optimiser.step()
        return {name: sum(values) / len(values) for name, values in figures.items() if values}

    def _loss(self, batch: Drawn, advantage: torch.Tensor, figures: dict[str, list[float]]) -> torch.Tensor:
        """The loss of a batch."""
        mean, deviation = self.step(batch.before, batch.step, batch.states)
        new, old = ddpo.log_probability(batch.after, mean, deviation), batch.log_probability
        figures["clipped"].append(float(((new.detach() - old).exp() - 1).abs().gt(self.settings.clip).float().mean()))
        loss = -ddpo.objective(new, old, advantage, self.settings.clip).mean()
        if self.settings.anchor and bool(batch.benign.any()):
            self.adapter.on = False
            with torch.no_grad():
                reference, _ = self.step(batch.before[batch.benign], batch.step, batch.states[batch.benign])
            self.adapter.on = True
            apart = ddpo.divergence(mean[batch.benign], reference, deviation).mean()
            figures["divergence"].append(float(apart.detach()))
            loss = loss + self.settings.anchor * apart
        return loss
