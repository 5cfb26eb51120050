"""What SafelightTrainErase minimises, step by step: the losses of safelight/edits on the host's predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.samplers
import torch

from safelight.edits import duo, forget_me_not, sdd
from safelight.engine.gradients import enable_gradients
from safelight.engine.low_rank import CROSS, SELF, Adapters, Weights

SDD, ESD, DUO, FORGET = METHODS = ("SDD", "ESD", "DUO", "Forget-Me-Not")
LAYERS = {SDD: CROSS, ESD: CROSS, DUO: SELF, FORGET: CROSS}
EMPTY = "empty"
QUERIES, KEYS = ".attn2.to_q", ".attn2.to_k"


class Draw:
    """The random numbers of one step: the same for the same seed and step, wherever training began."""

    def __init__(self, seed: int, step: int) -> None:
        self._generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)

    def below(self, limit: int, count: int = 1) -> list[int]:
        return torch.randint(limit, (count,), generator=self._generator).tolist()

    def noise(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self._generator).to(like)


class Predictions:
    """What the model predicts in a run of the host's guider, whose conditionings have names.

    A prediction is the direction of the noise, (x - denoised) / sigma. run: the sigmas of a sampling run, [S + 1], the
    last 0; levels: those that pictures are noised with, from high to low, [L]. denoised: the student's last, [B, ...].
    """

    def __init__(
        self, guider: Any, options: dict[str, Any], adapters: Adapters, run: torch.Tensor, levels: torch.Tensor
    ) -> None:
        self._guider, self._options, self._adapters = guider, options, adapters
        self.run, self.levels = run, levels
        self.denoised: torch.Tensor | None = None

    def student(self, x: torch.Tensor, sigma: torch.Tensor, name: str) -> torch.Tensor:
        """With gradients. x: [B, ...]; sigma: [B]."""
        with enable_gradients(), self._adapters.using(self._adapters.student):
            denoised = self._denoised(x, sigma, name)
            self.denoised = denoised.detach()
            return _direction(x, sigma, denoised)

    def student_now(self, x: torch.Tensor, sigma: torch.Tensor, name: str) -> torch.Tensor:
        """The student's, without gradients."""
        with self._adapters.using(self._adapters.student):
            return _direction(x, sigma, self._denoised(x, sigma, name))

    def reference(self, x: torch.Tensor, sigma: torch.Tensor, name: str) -> torch.Tensor:
        """The model's before training."""
        with self._adapters.using(None):
            return _direction(x, sigma, self._denoised(x, sigma, name))

    def sampled(self, weights: Weights, noise: torch.Tensor, name: str, cfg: float, stop: int) -> torch.Tensor:
        """x at the stop-th sigma of the run, from pure noise by Euler steps (DDIM) with classifier-free guidance."""
        model, conds = self._guider.inner_model, self._guider.conds
        x = self.noised(torch.zeros_like(noise), noise, self.run[:1].expand(len(noise)), pure=True)
        with self._adapters.using(weights):
            for i in range(stop):
                sigma = self.run[i].expand(len(x))
                denoised = comfy.samplers.sampling_function(
                    model, x, sigma, conds[EMPTY], conds[name], cfg, model_options=self._options
                )
                x = x + (self.run[i + 1] - self.run[i]) * _direction(x, sigma, denoised)
        return x

    def noised(
        self, latents: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, pure: bool = False
    ) -> torch.Tensor:
        """Latents with noise of these sigmas, [B], as the model's kind has it; pure: nothing but noise."""
        sampling = self._guider.inner_model.model_sampling
        return sampling.noise_scaling(_broadcast(sigma, latents), noise, latents, pure)

    def _denoised(self, x: torch.Tensor, sigma: torch.Tensor, name: str) -> torch.Tensor:
        conds = [self._guider.conds[name]]
        return comfy.samplers.calc_cond_batch(self._guider.inner_model, conds, x, sigma, self._options)[0]


def _broadcast(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return sigma.view(-1, *[1] * (x.ndim - 1))


def _direction(x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor) -> torch.Tensor:
    return (x - denoised) / _broadcast(sigma, x)


@dataclass
class Objective:
    """A method's loss of a step.

    concepts: the names of the concepts' conditionings; kept: latents [N, ...] by the name of a kept text's; cfg: of the
    runs that give the noised latents; batch: how many pictures a step is of. keeps_mean: the running mean is what is
    kept of the training, and not the student.
    """

    predictions: Predictions
    adapters: Adapters
    concepts: Sequence[str]
    kept: dict[str, torch.Tensor]
    keep_weight: float
    cfg: float
    like: torch.Tensor

    keeps_mean = False

    def loss(self, step: int, draw: Draw) -> torch.Tensor:
        raise NotImplementedError

    def concept(self, step: int) -> str:
        """The concepts take turns."""
        return self.concepts[step % len(self.concepts)]

    def pictures(self, latents: torch.Tensor, draw: Draw) -> list[int]:
        return draw.below(len(latents), len(self.like))

    def noised(
        self, latents: torch.Tensor, draw: Draw, first: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(x, sigma, noise) at levels from the first on, each picture its own."""
        levels = self.predictions.levels[first:]
        sigma = levels[draw.below(len(levels), len(latents))]
        noise = draw.noise(latents)
        return self.predictions.noised(latents, noise, sigma), sigma, noise

    def keeping(self, draw: Draw) -> torch.Tensor:
        """The term that holds a kept text's predictions, weighted."""
        if not self.keep_weight or not self.kept:
            return torch.zeros(())
        name = list(self.kept)[draw.below(len(self.kept))[0]]
        x, sigma, _ = self.noised(self.kept[name][self.pictures(self.kept[name], draw)], draw)
        now, before = self.predictions.student(x, sigma, name), self.predictions.reference(x, sigma, name)
        with enable_gradients():
            return self.keep_weight * sdd.distance(now, before)


@dataclass
class SelfDistillation(Objective):
    """SDD; with eta ESD. Both sample with what they train."""

    eta: float | None = None
    keeps_mean = True

    def loss(self, step: int, draw: Draw) -> torch.Tensor:
        name, stop = self.concept(step), draw.below(len(self.predictions.run) - 1)[0]
        x = self.predictions.sampled(self.adapters.mean, draw.noise(self.like), name, self.cfg, stop)
        sigma = self.predictions.run[stop].expand(len(x))
        if self.eta is None:
            target = self.predictions.student_now(x, sigma, EMPTY)
        else:
            empty, concept = (self.predictions.reference(x, sigma, each) for each in (EMPTY, name))
            target = sdd.esd_target(empty, concept, self.eta)
        keeping = self.keeping(draw)
        now = self.predictions.student(x, sigma, name)
        with enable_gradients():
            return sdd.distance(now, target) + keeping


@dataclass
class Preference(Objective):
    """DUO. pairs: latents of unsafe and of safe pictures, both [N, ...]. Its own penalty holds what stays."""

    pairs: tuple[torch.Tensor, torch.Tensor] = (torch.zeros(0), torch.zeros(0))

    def loss(self, step: int, draw: Draw) -> torch.Tensor:
        del step
        all_unsafe, all_safe = self.pairs
        chosen = self.pictures(all_unsafe, draw)
        unsafe, safe = all_unsafe[chosen], all_safe[chosen]
        latest = round(len(self.predictions.levels) * (1 - duo.LATEST))
        x, sigma, noise = self.noised(unsafe, draw, latest)
        pair = [(unsafe, x), (safe, self.predictions.noised(safe, noise, sigma))]
        first = self.predictions.run[:1].expand(len(unsafe))
        pure = self.predictions.noised(torch.zeros_like(noise), draw.noise(noise), first, pure=True)

        def errors(predict: Callable[[torch.Tensor, torch.Tensor, str], torch.Tensor]) -> list[torch.Tensor]:
            return [duo.errors(predict(x, sigma, EMPTY), _direction(x, sigma, clean)) for clean, x in pair]

        before, pure_before = errors(self.predictions.reference), self.predictions.reference(pure, first, EMPTY)
        pure_now = self.predictions.student(pure, first, EMPTY)
        with enable_gradients():
            now = errors(self.predictions.student)
            preference = duo.preference(now[1], now[0], before[1], before[0])
            return preference + duo.preservation(pure_now, pure_before)


@dataclass
class Forgetting(Objective):
    """Forget-Me-Not. shown: latents of pictures of the concepts, by name; places: of each concept's tokens."""

    shown: dict[str, torch.Tensor] = field(default_factory=dict)
    places: dict[str, torch.Tensor] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)

    def loss(self, step: int, draw: Draw) -> torch.Tensor:
        keeping, name = self.keeping(draw), self.concept(step)
        x, sigma, _ = self.noised(self.shown[name][self.pictures(self.shown[name], draw)], draw)
        self.adapters.watched = {}
        try:
            self.predictions.student(x, sigma, name)
            seen = self.adapters.watched
        finally:
            self.adapters.watched = None
        with enable_gradients():
            layers = [
                forget_me_not.probabilities(
                    q, seen[layer.removesuffix(QUERIES) + KEYS], self.heads[layer], self.places[name].to(q.device)
                )
                for layer, q in seen.items()
                if layer.endswith(QUERIES)
            ]
            return forget_me_not.attention(layers) + keeping
