"""The neighbours of Safelight on the demo model: each gets the prompt and the concept words, as its authors have it.

Concept words are kinds ("a weapon"), never a thing's noun. SLD, TraSCE and the negative prompt read them as one text,
CASG as one text a kind, SAFREE as phrases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bench.prompts import Case
from bench.studio import BATCH, CFG, SAMPLER, SCHEDULER, SEED, STEPS, Studio, together

SLD_PRESETS = ("weak", "medium", "strong", "max")
VARIANTS = ("as released", "as printed")
# SLD's constants are published for CFG 7.5, and CFG multiplies the guidance: at the small model's CFG this makes up.
STRONGER = 2.5
METHODS = (
    "negative prompt", *(f"SLD {preset}" for preset in SLD_PRESETS), f"SLD max x {STRONGER:g}", "CASG",
    f"CASG x {STRONGER:g}", "TraSCE", *(f"SAFREE {variant}" for variant in VARIANTS),
)  # fmt: skip


class Methods:
    """Guiders of the methods by name, and the pictures they make."""

    def __init__(self, studio: Studio) -> None:
        from demo import world

        self.studio = studio
        self.concepts = world.CONCEPTS
        kinds = "\n".join(", ".join(world.KIND_PHRASES[kind]) for kind in world.UNSAFE_KINDS)
        self._made: dict[str, Callable[[list[Case]], Any]] = {
            "negative prompt": self._negative_prompt,
            f"SLD max x {STRONGER:g}": lambda cases: self._noise(
                "SLD", cases, concept=self.concepts, preset="max", strength=STRONGER
            ),
            "CASG": lambda cases: self._noise("CASG", cases, categories=kinds),
            f"CASG x {STRONGER:g}": lambda cases: self._noise("CASG", cases, categories=kinds, strength=STRONGER),
            "TraSCE": lambda cases: self._noise("TraSCE", cases, concept=self.concepts),
        }
        for preset in SLD_PRESETS:
            self._made[f"SLD {preset}"] = lambda cases, preset=preset: self._noise(
                "SLD", cases, concept=self.concepts, preset=preset
            )
        for variant in VARIANTS:
            self._made[f"SAFREE {variant}"] = lambda cases, variant=variant: self._safree(cases, variant)

    def pictures(self, method: str, cases: list[Case]) -> tuple[Any, int]:
        """Pictures [N, H, W, 3] in [0, 1] and the rows of model evaluation that they took."""
        import torch

        # SAFREE steers for as long as the prompt asks for: one prompt a run.
        size = 1 if method.startswith("SAFREE") else BATCH
        made, rows = [], 0
        for start in range(0, len(cases), size):
            part = cases[start : start + size]
            batch, evaluated = self._sample(self._made[method](part), [case.number for case in part])
            made.append(batch)
            rows += evaluated
        return torch.cat(made), rows

    def _positive(self, cases: list[Case]) -> list[Any]:
        return together([self.studio.encode(case.prompt) for case in cases])

    def _negative_prompt(self, cases: list[Case]) -> Any:
        from comfy.samplers import CFGGuider

        guider = CFGGuider(self.studio.model)
        guider.set_conds(self._positive(cases), self.studio.encode(self.concepts))
        guider.set_cfg(CFG)
        return guider

    def _noise(self, name: str, cases: list[Case], **settings: Any) -> Any:
        node = self.studio.nodes[f"Safelight{name}Guider"]()
        return node.guide(
            self.studio.model, self.studio.clip, self._positive(cases), self.studio.negative, CFG, **settings
        )[0]

    def _safree(self, cases: list[Case], variant: str) -> Any:
        (case,) = cases
        node = self.studio.nodes["SafelightSAFREEGuider"]()
        return node.guide(
            self.studio.model, self.studio.clip, self._positive(cases), case.prompt, self.studio.negative, CFG,
            concepts=self.concepts, variant=variant,
        )[0]  # fmt: skip

    def _sample(self, guider: Any, numbers: list[int]) -> tuple[Any, int]:
        """As Studio.sample, with a guider. numbers: which noise each picture starts from."""
        import comfy.samplers
        import torch

        steer, host, report, sampling = (
            sys.modules[f"safelight_pack.nodes.{name}"] for name in ("steer", "host", "report", "sampling")
        )
        model = self.studio.model
        empty = {"samples": self.studio.empty(len(numbers))}
        samples = host.fix_empty_latent(model, empty)
        noise = host.make_noise(samples, SEED, numbers, False)
        sigmas = sampling.stock_sampler(model, STEPS, SAMPLER, SCHEDULER).sigmas
        record = report.RunRecord()
        with torch.inference_mode(), steer.counting(guider, record):
            latents = guider.sample(
                noise, samples, comfy.samplers.sampler_object(SAMPLER), sigmas, disable_pbar=True, seed=SEED
            )
            return self.studio.vae.decode(latents).float().clamp(0, 1), record.rows
