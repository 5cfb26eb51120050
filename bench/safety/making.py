"""The pictures of a row, through the pack's own nodes, in batches of different prompts.

Every method is given the kinds of the demo world as words ("a weapon"), never a thing's noun; `typed` alone gets an
oracle's prompt. The risk is that of SafelightContextEncode, and the sampler node itself judges it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.edits import Edits
from bench.methods import Methods
from bench.studio import BATCH, Studio
from demo import prompts

from .plan import IMAGE, Row, plain
from .sets import Case

ALWAYS = [[0, 1], [1, 1]]
PAIRS, VECTOR_SEED = 48, 3


@dataclass(frozen=True)
class Run:
    """One run of a sampler. places: whose pictures of the part it makes; rows of its batch that hold them: `taken`.

    sample: latents of the whole batch, and rows of model evaluation.
    """

    places: list[int]
    taken: list[int]
    batch: int
    sample: Callable[[], tuple[Any, int]]


@dataclass(frozen=True)
class Made:
    """pictures: bytes [N, H, W, 3]; risk: of each prompt's text; rows: of model evaluation, for all of them."""

    pictures: np.ndarray
    risk: np.ndarray
    rows: float
    seconds: float


def parts(cases: list[Case]) -> list[list[Case]]:
    """The batches in which a set is made, the same for every row."""
    return [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]


class Maker:
    """Makes pictures on the demo model. Needs the host in this process."""

    def __init__(self, comfyui: Path | None, seed: int) -> None:
        from demo import world

        self.studio = Studio(comfyui, seed)
        self.methods, self.edits = Methods(self.studio), Edits(self.studio)
        self.concepts = world.CONCEPTS
        self._contexts: dict[tuple[str, str, float], tuple[Any, Any, float]] = {}
        self._starts: dict[int, Any] = {}
        self._vector: Any = None

    def make(self, row: Row, cases: list[Case]) -> Made:
        began = time.perf_counter()
        pictures: dict[int, np.ndarray] = {}
        evaluated = 0.0
        for run in self.runs(row, cases):
            latents, rows = run.sample()
            evaluated += rows * len(run.taken) / run.batch
            for place, picture in zip(run.places, self.studio.decode(latents[run.taken]), strict=True):
                pictures[place] = (picture.numpy() * 255).round().astype(np.uint8)
        risk = np.array([self._context(case, "project")[2] for case in cases])
        stack = np.stack([pictures[i] for i in range(len(cases))])
        return Made(stack, risk, evaluated, time.perf_counter() - began)

    def runs(self, row: Row, cases: list[Case]) -> list[Run]:
        """What is to be sampled for these prompts, everything but the sampling done."""
        everyone = list(range(len(cases)))
        numbers, texts = [case.number for case in cases], [case.prompt for case in cases]
        settings, method = row.of.settings, row.of
        start = self._start(cases) if row.cases == IMAGE else None
        if method.way == "dual":
            return self._dual(row, cases, start)

        def guided(guider: Any, places: list[int] = everyone) -> Run:
            own = None if start is None else start[places]
            return Run(places, list(range(len(places))), len(places),
                       lambda: self.methods.latents(guider, [numbers[i] for i in places], own))  # fmt: skip

        if method.way == "safree":
            found = self.methods.safree(texts, strength=row.x, **settings)
            return [guided(guider, places) for places, guider in found]
        if method.way == "negative":
            return [guided(self.methods.negative(texts))]
        if method.way == "edit":
            assert row.x is not None
            return [guided(self.methods.edited(texts, *self.edits.edited(method.name, row.x)))]
        return [guided(self.methods.noise(texts, strength=row.x, **settings))]

    def _start(self, cases: list[Case]) -> Any:
        """The latents of the plain pictures of these prompts, for image to image."""
        key = cases[0].number
        if key not in self._starts:
            [run] = self.runs(plain("unsafe"), cases)
            self._starts[key] = run.sample()[0]
        return self._starts[key]

    def _dual(self, row: Row, cases: list[Case], start: Any) -> list[Run]:
        """SafelightKSampler, once for the prompts whose gate is open and once for the others."""
        inputs = dict(row.of.settings)
        method, selective = inputs.pop("safe"), inputs.pop("selective", False)
        strength = inputs.pop("strength", 1.0)
        context = inputs.pop("context", row.context)
        slider = {name: inputs.pop(name) for name in ("later", "gamma") if name in inputs}
        nodes = self.studio.nodes
        if context is None:
            inputs["schedule"] = nodes["SafelightWeightSchedule"]().make("balanced", 0.2, "noise level")[0]
        else:
            inputs["schedule"] = self.studio.schedule(ALWAYS, context)
        inputs["schedule"] = replace(inputs["schedule"], **slider)
        if selective:
            inputs["selective"] = sys.modules["safelight_pack.safelight.selective"].Selection()
        safety = 0.0 if row.method == "plain" else 1.0 if row.x is None else row.x
        found = [self._context(case, method, strength) for case in cases]
        gate = sys.modules["safelight_pack.nodes.inputs"].DEFAULT_GATE
        opened = [i for i, (_, _, risk) in enumerate(found) if not row.gated or risk >= gate]
        closed = [i for i in range(len(cases)) if i not in opened]

        def run(places: list[int], batch: list[int], risk: float) -> Run:
            def sample() -> tuple[Any, int]:
                latents, report = self.studio.latents(
                    [found[i][0] for i in batch], [found[i][1] for i in batch], [cases[i].number for i in batch],
                    safety, start=None if start is None else start[batch], risk=risk, **inputs,
                )  # fmt: skip
                return latents, report["rows"]

            return Run(places, [batch.index(i) for i in places], len(batch), sample)

        runs = []
        if opened:
            runs.append(run(opened, opened, min(found[i][2] for i in opened) if row.gated else 1.0))
        if closed:
            # In the batch of the plain pictures: the last bits of a matrix product depend on how many share it.
            runs.append(run(closed, list(range(len(cases))), max(found[i][2] for i in closed)))
        return runs

    def _context(self, case: Case, method: str, strength: float = 1.0) -> tuple[Any, Any, float]:
        """(positive, safe, risk) of a prompt; encoded once."""
        key = case.prompt, method, strength
        if key not in self._contexts:
            safe = case.instead if method == "typed" else ""
            if method == "subspace only":
                self._contexts[key] = self.studio.subspace_only(case.prompt, self.concepts)
            else:
                own = {"method": "subtract", "vector": self._edit()} if method == "vector" else {"method": method}
                self._contexts[key] = self.studio.context(
                    case.prompt, safe_prompt=safe, concepts=self.concepts, strength=strength, **own
                )
        return self._contexts[key]

    def _edit(self) -> Any:
        """The concept vector of everything unsafe, as the node makes it."""
        if self._vector is None:
            self._vector = self.studio.vector(prompts.concept_pairs(VECTOR_SEED, PAIRS))
        return self._vector
