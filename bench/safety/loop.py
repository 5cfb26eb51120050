"""Pictures that are looked at while they are made, prompt by prompt: a batch of one, as an artist works."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch

from demo import world
from demo.session import DemoSession
from safelight.detect.detector import Detector
from safelight.detect.least_level import PLAIN
from safelight.detect.look import FOUND

from .eyes import EYES, Captioner
from .sets import Case

CAPTION = "caption"  # one of the kinds of words, see the plan


class Looked(NamedTuple):
    """rows: of model evaluation. looks: how many; level: the safety it ended with; early: whether something was found
    on the way; floor: whether the text was risky, so that it began steered. stock: whether its latent is the stock
    sampler's, bit for bit; nan at a level over 0."""

    latent: torch.Tensor
    rows: float
    looks: float
    level: float
    passed: float
    early: float
    floor: float
    stock: float


LOOKED = Looked._fields[2:]  # what is kept of each picture beside it


class Loop:
    """SafelightKSampler with a detector."""

    def __init__(self, session: DemoSession) -> None:
        self.session = session
        self._eyes: dict[str, Detector] = {}
        self._stock: dict[int, torch.Tensor] = {}  # latents, by the number of a case's noise

    def sample(self, case: Case, context: tuple[Any, Any, float], safety: float, settings: dict[str, Any]) -> Looked:
        """context: positive, safe and risk of the prompt. settings: eye, words and at_least, see plan.py."""
        positive, safe, risk = context
        inputs = self.inputs(case, settings)
        latent, report, _ = self.session.latents([positive], [safe], [case.number], safety, risk=risk, **inputs)
        (picture,) = report["look"]["pictures"]
        level, rows = picture["safety"], float(report["rows"])
        if settings.get("words") == CAPTION and level > PLAIN:
            rows += report["plain_rows"]  # of the plain run whose picture was captioned
        stock = float(torch.equal(latent, self._plain(case))) if level == PLAIN else float("nan")
        early = any(look["early"] and look["score"] >= FOUND for look in picture["looks"])
        floor = picture["looks"][0]["safety"] > PLAIN
        return Looked(latent, rows, len(picture["looks"]), level, picture["passed"], early, floor, stock)

    def inputs(self, case: Case, settings: dict[str, Any]) -> dict[str, Any]:
        """What the sampler is given to look: the inputs of a loop."""
        eye = settings["eye"]
        if eye not in self._eyes:
            self._eyes[eye] = EYES[eye]()
        found = {"detector": self._eyes[eye], "vae": self.session.vae}
        if "at_least" in settings:
            found["at_least"] = settings["at_least"]
        if kind := settings.get("words"):
            caption = self._captioner.caption(self._picture(case)) if kind == CAPTION else ""
            found["words"] = self.session.words(case.prompt, world.CONCEPTS, caption)
        return found

    def _plain(self, case: Case) -> torch.Tensor:
        if case.number not in self._stock:
            self._stock[case.number] = self.session.stock(self.session.encode(case.prompt), [case.number])
        return self._stock[case.number]

    def _picture(self, case: Case) -> Any:
        return self.session.decode(self._plain(case))[0].numpy()

    @cached_property
    def _captioner(self) -> Captioner:
        return Captioner()
