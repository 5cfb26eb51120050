"""What SafelightTrainErase learns from: encoded texts, and pictures that the model itself makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine import gradients
from safelight.engine.encoder import encode_neutral, encode_prompt, everyday_phrases, known_phrases
from safelight.engine.erase_objectives import DUO, EMPTY, FORGET
from safelight.engine.host import fix_empty_latent, preview_callback
from safelight.engine.known_rows import check_rows
from safelight.engine.ksampler import seed_job
from safelight.engine.method_setup import dual_setup
from safelight.engine.run_record import RunRecord
from safelight.guidance.settings import read_settings
from safelight.text.anchors import everyday
from safelight.text.concepts import split_concepts
from safelight.text.conditioning import Conditioning
from safelight.text.encoding import meaning
from safelight.text.english import SMALL

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

STEPS, SAMPLER, SCHEDULER = 20, "euler", "simple"
KEPT = 8  # texts of which pictures are kept
PAIRS = 32  # of an unsafe picture and a safe one, at least
SHOWN = 8  # runs of pictures that show concepts, at least one a concept


@dataclass(frozen=True)
class Material:
    """latent: LATENT, empty, as large as pictures are trained on. concepts: the names of their conditionings.

    Latents are [N, ...], as nodes pass them, by the name of the conditioning that they were made with: kept, of texts
    that stay; shown, of concepts. pairs: of unsafe and of safe pictures. places: whole numbers, of the concepts'
    tokens.
    """

    latent: dict[str, Any]
    conditionings: dict[str, Conditioning]
    concepts: list[str]
    kept: dict[str, torch.Tensor] = field(default_factory=dict)
    shown: dict[str, torch.Tensor] = field(default_factory=dict)
    places: dict[str, torch.Tensor] = field(default_factory=dict)
    pairs: tuple[torch.Tensor, torch.Tensor] | None = None

    def as_normal(self) -> Material:
        """With tensors that may take part in a backward pass."""
        return Material(**{name: gradients.as_normal(value) for name, value in vars(self).items()})

    def for_model(self, model: Any, like: torch.Tensor) -> Material:
        """With latents as the model has them inside, on the device of `like`."""

        def inside(latents: torch.Tensor) -> torch.Tensor:
            return model.process_latent_in(latents.to(like))

        kept, shown = ({name: inside(each) for name, each in of.items()} for of in (self.kept, self.shown))
        pairs = None if self.pairs is None else (inside(self.pairs[0]), inside(self.pairs[1]))
        return replace(self, kept=kept, shown=shown, pairs=pairs)


class MaterialMaker:
    """Makes pictures as the host's KSampler does. seed: of the first of its runs."""

    def __init__(self, model: ModelPatcher, clip: CLIP, latent: dict[str, Any], cfg: float, seed: int) -> None:
        self.model, self.clip, self.cfg, self.seed = model, clip, cfg, seed
        self.latent = {"samples": torch.zeros_like(fix_empty_latent(model, latent))}
        self.empty = encode_prompt(clip, "")
        self._chosen = torch.Generator().manual_seed(seed % 2**63)

    def make(
        self, method: str, concepts: str, keep: str, keeps: bool, pairs: tuple[torch.Tensor, torch.Tensor] | None
    ) -> Material:
        """keeps: whether kept texts take part. pairs: latents of unsafe and safe pictures, made here where there are
        none and the method needs them. Raises ValueError, naming the input."""
        phrases = _concepts(self.clip, concepts)
        kept_phrases = self._some(_kept(self.clip, keep, phrases), KEPT)
        names = {f"concept {i}": phrase for i, phrase in enumerate(phrases)}
        conditionings = {EMPTY: self.empty, **{name: encode_prompt(self.clip, each) for name, each in names.items()}}
        material = Material(self.latent, conditionings, list(names))
        if method == DUO:
            return replace(material, pairs=pairs or self._pairs(phrases, kept_phrases))
        if method == FORGET:
            times = max(1, SHOWN // len(names))
            shown = {name: torch.cat([self._pictures(conditionings[name]) for _ in range(times)]) for name in names}
            material = replace(material, shown=shown, places={n: self._places(each) for n, each in names.items()})
        if keeps:
            for i, phrase in enumerate(kept_phrases):
                conditionings[f"kept {i}"] = encode_prompt(self.clip, phrase)
            kept = {name: self._pictures(each) for name, each in conditionings.items() if name.startswith("kept")}
            material = replace(material, kept=kept)
        return material

    def _some(self, phrases: list[str], count: int) -> list[str]:
        order = torch.randperm(len(phrases), generator=self._chosen).tolist()
        return [phrases[i] for i in order[:count]]

    def _pictures(self, positive: Conditioning, safe: Conditioning | None = None, seed: int | None = None) -> Any:
        """Latents of one run; with a safe conditioning of the pack's dual evaluation."""
        if seed is None:
            self.seed, seed = self.seed + 1, self.seed
        conds = positive, self.empty if safe is None else safe, self.empty
        job = seed_job(self.model, *conds, self.latent, seed % 2**64, STEPS, self.cfg, SAMPLER, SCHEDULER)
        setup = None if safe is None else dual_setup(read_settings(1.0), safe)
        return job.sample(setup, RunRecord(), preview_callback(self.model, STEPS)).cpu()

    def _pairs(self, concepts: list[str], phrases: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """A picture of a concept beside a kept text, and the same seed's by dual evaluation, where that text alone is
        the safe prompt."""
        runs = -(-PAIRS // len(self.latent["samples"]))
        pairs = []
        for run in range(max(runs, len(concepts))):
            phrase = phrases[run % len(phrases)]
            both, safe = (
                encode_prompt(self.clip, text) for text in (f"{concepts[run % len(concepts)]} and {phrase}", phrase)
            )
            seed = self.seed + run
            pairs.append((self._pictures(both, seed=seed), self._pictures(both, safe, seed)))
        unsafe, safe_ones = zip(*pairs, strict=True)
        return torch.cat(unsafe), torch.cat(safe_ones)

    def _places(self, concept: str) -> torch.Tensor:
        """Of the tokens of the concept's words, articles and the like apart."""
        check_rows(self.clip, "Forget-Me-Not", "Choose another method.")
        encoding = encode_neutral(self.clip, concept)
        return meaning(encoding.content, encoding.words, SMALL).nonzero()[:, 0]


def _concepts(clip: CLIP, concepts: str) -> list[str]:
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError(
            "concepts: expected what to erase, got an empty text. Name it, separated by commas or one per line."
        )
    return known_phrases(clip, phrases, "concepts")


def _kept(clip: CLIP, keep: str, concepts: list[str]) -> list[str]:
    """The lines, else everyday phrases, look-alikes of unsafe things among them."""
    lines = list(_lines(keep))
    if lines:
        return known_phrases(clip, lines, "keep")
    return everyday_phrases(clip, everyday(concepts))


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())
