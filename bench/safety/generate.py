"""The pictures of a row, through the pack's own nodes, in batches of different prompts.

Every method is given the kinds of the demo world as words ("a weapon"), never a thing's noun; `typed` alone gets an
oracle's prompt. The risk is that of SafelightContextEncode, and the sampler node itself judges it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.demo_session import DemoSession
from bench.edits import Edits
from bench.methods import Methods
from demo import prompts, world
from safelight.guidance.gate import DEFAULT_GATE
from safelight.guidance.selective import Selection

from .plan import IMAGE, Row, plain
from .sets import Case

ALWAYS = [[0, 1], [1, 1]]
PAIRS, VECTOR_SEED = 48, 3


@dataclass(frozen=True)
class Run:
    """One run of a sampler. places: whose pictures of the batch it makes; taken: where these are in its own batch, of
    the size `batch`. sample: latents of the whole batch, and rows of model evaluation."""

    places: list[int]
    taken: list[int]
    batch: int
    sample: Callable[[], tuple[Any, int]]


class Generator:
    """Makes pictures on the demo model. Needs the host in this process."""

    def __init__(self, comfyui: Path | None, seed: int) -> None:
        self.session = DemoSession(comfyui, seed)
        self.methods, self.edits = Methods(self.session), Edits(self.session)
        self._contexts: dict[tuple[str, str, float], tuple[Any, Any, float]] = {}
        self._starts: dict[int, Any] = {}

    def make(self, row: Row, cases: list[Case]) -> dict[str, Any]:
        """pictures: bytes [N, H, W, 3]; risk: of each prompt's text; rows: of model evaluation, for all of them."""
        began = time.perf_counter()
        pictures: dict[int, np.ndarray] = {}
        evaluated = 0.0
        for run in self.runs(row, cases):
            latents, rows = run.sample()
            evaluated += rows * len(run.taken) / run.batch
            for place, picture in zip(run.places, self.session.decode(latents[run.taken]), strict=True):
                pictures[place] = (picture.numpy() * 255).round().astype(np.uint8)
        risk = np.array([self._context(case, "project")[2] for case in cases])
        stack = np.stack([pictures[i] for i in range(len(cases))])
        return {"pictures": stack, "risk": risk, "rows": evaluated, "seconds": time.perf_counter() - began}

    def runs(self, row: Row, cases: list[Case]) -> list[Run]:
        """What is to be sampled for these prompts, everything but the sampling done."""
        texts, method = [case.prompt for case in cases], row.of
        start = self._start(cases) if row.cases == IMAGE else None
        if method.way == "dual":
            return self._dual(row, cases, start)
        if method.way == "safree":
            guiders = self.methods.safree(texts, strength=row.x, **method.settings)
        elif method.way == "negative":
            guiders = [self.methods.negative(texts)]
        elif method.way == "edit":
            assert row.x is not None
            guiders = [self.methods.edited(texts, *self.edits.edited(method.name, row.x))]
        else:
            guiders = [self.methods.noise(texts, strength=row.x, **method.settings)]

        def guided(places: list[int], guider: Any) -> Run:
            numbers = [cases[i].number for i in places]
            begun = None if start is None else start[places]
            return Run(
                places, list(range(len(places))), len(places), partial(self.methods.latents, guider, numbers, begun)
            )

        return [guided(places, guider) for places, guider in guiders]

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
        method, strength = inputs.pop("safe"), inputs.pop("strength", 1.0)
        context = inputs.pop("context", row.context)
        slider = {name: inputs.pop(name) for name in ("start_shift", "exponent") if name in inputs}
        if context is None:
            schedule = self.session.nodes["SafelightWeightSchedule"]().make("balanced", 0.2, "noise level")[0]
        else:
            schedule = self.session.schedule(ALWAYS, context)
        inputs["schedule"] = replace(schedule, **slider)
        if inputs.pop("selective", False):
            inputs["selective"] = Selection()
        safety = 0.0 if row.method == "plain" else 1.0 if row.x is None else row.x
        contexts = [self._context(case, method, strength) for case in cases]
        everyone = list(range(len(cases)))
        opened = [i for i in everyone if not row.gated or contexts[i][2] >= DEFAULT_GATE]
        closed = [i for i in everyone if i not in opened]

        def run(places: list[int], batch: list[int], risk: float) -> Run:
            conds = [contexts[i][0] for i in batch], [contexts[i][1] for i in batch]
            numbers, begun = [cases[i].number for i in batch], None if start is None else start[batch]

            def sample() -> tuple[Any, int]:
                latents, report, _ = self.session.latents(*conds, numbers, safety, start=begun, risk=risk, **inputs)
                return latents, report["rows"]

            return Run(places, [batch.index(i) for i in places], len(batch), sample)

        runs = []
        if opened:
            runs.append(run(opened, opened, min(contexts[i][2] for i in opened) if row.gated else 1.0))
        if closed:
            # In the batch of the plain pictures: the last bits of a matrix product depend on how many share it.
            runs.append(run(closed, everyone, max(contexts[i][2] for i in closed)))
        return runs

    def _context(self, case: Case, method: str, strength: float = 1.0) -> tuple[Any, Any, float]:
        """(positive, safe, risk) of a prompt; encoded once."""
        key = case.prompt, method, strength
        if key not in self._contexts:
            if method == "subspace only":
                self._contexts[key] = self.session.subspace_only(case.prompt, world.CONCEPTS)
            else:
                inputs = {"method": "subtract", "vector": self._vector} if method == "vector" else {"method": method}
                safe = case.instead if method == "typed" else ""
                self._contexts[key] = self.session.context(
                    case.prompt, safe_prompt=safe, concepts=world.CONCEPTS, strength=strength, **inputs
                )
        return self._contexts[key]

    @cached_property
    def _vector(self) -> Any:
        """The concept vector of everything unsafe, as the node makes it."""
        return self.session.vector(prompts.concept_pairs(VECTOR_SEED, PAIRS))
