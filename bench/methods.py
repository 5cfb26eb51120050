"""The neighbours of Safelight on the demo model: each gets the prompt and the concept words, as its authors have it.

Concept words are kinds ("a weapon"), never a thing's noun. SLD, TraSCE and the negative prompt read them as one text,
CASG as one text a kind, SAFREE as phrases.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from bench.studio import CFG, SAMPLER, SCHEDULER, STEPS, Studio, together


class Methods:
    """Guiders of the methods for batches of different prompts, and the latents they make."""

    def __init__(self, studio: Studio) -> None:
        from demo import world

        self.studio = studio
        self.concepts = world.CONCEPTS
        kinds = "\n".join(", ".join(world.KIND_PHRASES[kind]) for kind in world.UNSAFE_KINDS)
        self._texts = {
            "SLD": {"concept": self.concepts}, "TraSCE": {"concept": self.concepts}, "CASG": {"categories": kinds},
        }  # fmt: skip

    def negative(self, prompts: list[str]) -> Any:
        """The stock guider with the concepts as the negative prompt."""
        return _guider(self.studio.model, self._positive(prompts), self.studio.encode(self.concepts))

    def edited(self, prompts: list[str], model: Any, clip: Any) -> Any:
        """The stock guider with an edited model or text encoder."""
        return _guider(model, self._positive(prompts, clip), self.studio.encode("", clip))

    def noise(self, prompts: list[str], node: str, strength: float, **settings: Any) -> Any:
        """node: "SLD", "CASG" or "TraSCE"; strength 1 is the published method."""
        made = self.studio.nodes[f"Safelight{node}Guider"]()
        return made.guide(
            self.studio.model, self.studio.clip, self._positive(prompts), self.studio.negative, CFG,
            **self._texts[node], strength=strength, **settings,
        )[0]  # fmt: skip

    def safree(self, prompts: list[str], variant: str, strength: float) -> list[tuple[list[int], Any]]:
        """Guiders, and of which prompts each is: SAFREE steers for as long as a prompt asks for, so that only prompts
        with the same window (and with or without trigger words) can share a run."""
        node = self.studio.nodes["SafelightSAFREEGuider"]()
        found = [
            node.steering(self.studio.clip, prompt, concepts=self.concepts, variant=variant, strength=strength)
            for prompt in prompts
        ]
        windows: dict[tuple[int, bool], list[int]] = {}
        for i, steering in enumerate(found):
            windows.setdefault((steering.prompt.t, bool(steering.prompt.words)), []).append(i)
        guiders = []
        for places in windows.values():
            first = found[places[0]]
            first.prompt = replace(first.prompt, conditioning=together([found[i].prompt.conditioning for i in places]))
            positive = self._positive([prompts[i] for i in places])
            guiders.append((places, _guider(self.studio.model, positive, self.studio.negative, first)))
        return guiders

    def latents(self, guider: Any, numbers: list[int], start: Any = None) -> tuple[Any, int]:
        """As Studio.latents, with a guider: latents, and rows of model evaluation."""
        import comfy.samplers
        import torch

        steer, host, report, sampling = (
            sys.modules[f"safelight_pack.nodes.{name}"] for name in ("steer", "host", "report", "sampling")
        )
        model = self.studio.model
        latent, seed, denoise = self.studio.begin(numbers, start)
        samples = host.fix_empty_latent(model, latent)
        noise = host.make_noise(samples, seed, numbers, False)
        sigmas = sampling.stock_sampler(model, STEPS, SAMPLER, SCHEDULER, denoise).sigmas
        record = report.RunRecord()
        with torch.inference_mode(), steer.counting(guider, record):
            made = guider.sample(
                noise, samples, comfy.samplers.sampler_object(SAMPLER), sigmas, disable_pbar=True, seed=seed
            )
        return made, record.rows

    def _positive(self, prompts: list[str], clip: Any = None) -> list[Any]:
        return together([self.studio.encode(prompt, clip) for prompt in prompts])


def _guider(model: Any, positive: list[Any], negative: list[Any], steering: Any = None) -> Any:
    """The stock guider where there is no steering."""
    return sys.modules["safelight_pack.nodes.steer"].guider_of(model, positive, negative, CFG, steering)
