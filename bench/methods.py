"""The related methods on the demo model: each gets the prompt and the concept words, as its authors have it.

Concept words are kinds ("a weapon"), never a thing's noun. SLD, TraSCE and the negative prompt read them as one text,
CASG as one text a kind, SAFREE as phrases.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from demo import world
from demo.session import CFG, SAMPLER, SCHEDULER, STEPS, DemoSession, together

Guided = tuple[list[int], Any]  # which of the prompts a guider is of, and the guider
KINDS = "\n".join(", ".join(world.KIND_PHRASES[kind]) for kind in world.UNSAFE_KINDS)
TEXTS = {"SLD": {"concept": world.CONCEPTS}, "TraSCE": {"concept": world.CONCEPTS}, "CASG": {"categories": KINDS}}


class Methods:
    """Guiders of the methods for batches of different prompts, and the latents they make."""

    def __init__(self, session: DemoSession) -> None:
        self.session = session

    def negative(self, prompts: list[str]) -> Guided:
        """The stock guider with the concepts as the negative prompt."""
        return self._guided(self.session.model, prompts, self.session.encode(world.CONCEPTS))

    def edited(self, prompts: list[str], model: Any, clip: Any) -> Guided:
        """The stock guider with an edited model or text encoder."""
        return self._guided(model, prompts, self.session.encode("", clip), clip)

    def noise(self, prompts: list[str], node: str, strength: float, **settings: Any) -> Guided:
        """node: "SLD", "CASG" or "TraSCE"; strength 1 is the published method."""
        guide = self.session.nodes[f"Safelight{node}Guider"]().guide
        conds = self._positive(prompts), self.session.negative
        inputs = {**TEXTS[node], "strength": strength, **settings}
        return list(range(len(prompts))), guide(self.session.model, self.session.clip, *conds, CFG, **inputs)[0]

    def safree(self, prompts: list[str], variant: str, strength: float) -> list[Guided]:
        """SAFREE steers for as long as a prompt asks for: only prompts with the same window, and with trigger words or
        all without, can share a run."""
        from safelight.engine.method_setup import safree_setup
        from safelight.engine.safree_prompt import encode_concepts, encode_safe

        safe = [encode_safe(self.session.clip, prompt, world.CONCEPTS, variant) for prompt in prompts]
        concepts = encode_concepts(self.session.clip, world.CONCEPTS)
        windows: dict[tuple[int, bool], list[int]] = {}
        for i, each in enumerate(safe):
            windows.setdefault((each.t, bool(each.words)), []).append(i)
        guided = []
        for places in windows.values():
            conditioning = together([safe[i].conditioning for i in places])
            setup = safree_setup(replace(safe[places[0]], conditioning=conditioning), concepts, strength)
            positive = self._positive([prompts[i] for i in places])
            guided.append((places, _guider(self.session.model, positive, self.session.negative, setup)))
        return guided

    def latents(self, guider: Any, numbers: list[int], start: Any = None) -> tuple[Any, int]:
        """As DemoSession.latents, with a guider: latents, and rows of model evaluation."""
        import comfy.samplers
        import torch

        from safelight.engine import guider as guiders
        from safelight.engine import host
        from safelight.engine.ksampler import stock_sampler
        from safelight.engine.run_record import RunRecord

        model = self.session.model
        latent, seed, denoise = self.session.begin(numbers, start)
        samples = host.fix_empty_latent(model, latent)
        noise = host.make_noise(samples, seed, numbers, False)
        sigmas = stock_sampler(model, STEPS, SAMPLER, SCHEDULER, denoise).sigmas
        sampler, record = comfy.samplers.sampler_object(SAMPLER), RunRecord()
        with torch.inference_mode(), guiders.count_rows(guider, record):
            return guider.sample(noise, samples, sampler, sigmas, disable_pbar=True, seed=seed), record.rows

    def _guided(self, model: Any, prompts: list[str], negative: Any, clip: Any = None) -> Guided:
        return list(range(len(prompts))), _guider(model, self._positive(prompts, clip), negative)

    def _positive(self, prompts: list[str], clip: Any = None) -> list[Any]:
        return together([self.session.encode(prompt, clip) for prompt in prompts])


def _guider(model: Any, positive: list[Any], negative: list[Any], setup: Any = None) -> Any:
    """The stock guider where there is no method."""
    from safelight.engine.guider import make_guider

    return make_guider(model, positive, negative, CFG, setup)
