"""Ways to save rows of model evaluation, and the pictures that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from bench.safety.sets import Case
from bench.store import Store
from demo import world
from demo.session import BATCH, SAMPLER, DemoSession
from safelight.guidance import dual, economy
from safelight.guidance.blend import POSITIVE, SAFE
from safelight.guidance.economy import ALLOWED, BOTH, Memory

SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "heun", "uni_pc")


class Run(NamedTuple):
    """One row of the tables: a way to save rows, at a place of the slider, with a sampler. safety 0 is plain sampling.

    kind: "mode" (of the input), "allowed" (the same with another amount of work), "by turns" (without memory) or "kept"
    (the difference of the two prompts is renewed on every n-th call). amount: the rows allowed, or n.
    """

    way: str
    kind: str
    amount: float = 0.0
    safety: float = 0.5
    sampler: str = SAMPLER

    @property
    def key(self) -> str:
        return f"{self.sampler} {self.safety:g} {self.way}"


MODES = tuple(Run(mode, "mode", ALLOWED.get(mode, 0.0)) for mode in economy.MODES)
FULL = MODES[0]  # both prompts evaluated on every call
PLAIN = FULL._replace(safety=0.0)
WAYS = (
    *MODES,
    Run("memory, one call of both prompts", "allowed"),
    *(Run(f"memory, {share:.0%} more rows", "allowed", share) for share in (0.15, 0.2, 0.3)),
    Run("by turns, nothing remembered", "by turns"),
    *(Run(f"difference renewed every {calls} calls", "kept", calls) for calls in (2, 3)),
)


def runs(quick: bool) -> list[Run]:
    if quick:
        return [PLAIN, *MODES]
    levels = [way._replace(safety=level) for level in (0.25, 0.5, 0.75) for way in WAYS]
    return [PLAIN, *levels, *(run._replace(sampler=sampler) for sampler in SAMPLERS for run in (PLAIN, *MODES))]


class Worker:
    """Makes pictures of the prompts, one noise each, and puts them into the store: bytes [N, H, W, 3], and rows of
    model evaluation a picture."""

    def __init__(self, comfyui: Path | None, file: Path, cases: list[Case]) -> None:
        self.session, self.store, self.count = DemoSession(comfyui), Store(file), len(cases)
        inputs = {"method": "project", "concepts": world.CONCEPTS}
        prompts = [(*self.session.context(case.prompt, **inputs)[:2], case.number) for case in cases]
        # Of those that share a run: positive, safe, and the numbers of their noises.
        self.batches = [list(zip(*prompts[i : i + BATCH], strict=True)) for i in range(0, self.count, BATCH)]

    def __call__(self, run: Run) -> None:
        inputs = {"sampler": run.sampler, "economy": run.way if run.kind == "mode" else "balanced"}
        memory = {"by turns": ByTurns, "kept": KeptDifference}.get(run.kind, Memory)
        # Where nothing is remembered, the two predictions are one, and no movement can be measured.
        unmoved = patch.object(dual.DualBlend, "unmoved", "")
        with patch.object(dual, "Memory", lambda _, steps: memory(run.amount, steps)), unmoved:
            made = [self.session.sample(*batch, run.safety, **inputs) for batch in self.batches]
        pictures = np.concatenate([(batch.numpy() * 255).round().astype(np.uint8) for batch, _ in made])
        rows = sum(report["rows"] for _, report in made) / self.count
        self.store.put_arrays(run.key, pictures=pictures, rows=rows)


class ByTurns(Memory):
    """Nothing is remembered: the prompt that is evaluated stands for both."""

    def select(self, weight: float, has_uncond: bool, kind: object = None) -> tuple[str, ...]:
        self._due += weight
        if self._due < 0.5:
            return (POSITIVE,)
        self._due -= 1.0
        return (SAFE,)

    def reconstruct(self, evaluated: str, denoised: Any, *_: Any) -> tuple[Any, Any]:
        return denoised, denoised


class KeptDifference(Memory):
    """The difference of the two prompts is renewed on every n-th call, and stays as it is between."""

    def __init__(self, every: float, steps: int) -> None:
        super().__init__(0.0, steps)
        self._every = every

    def select(self, weight: float, has_uncond: bool, kind: object = None) -> tuple[str, ...]:
        self._calls += 1
        return BOTH if self._calls % self._every == 1 else (POSITIVE,)

    def reconstruct(self, evaluated: str, denoised: Any, *_: Any) -> tuple[Any, Any]:
        assert self._cond is not None and self._safe is not None
        return denoised, denoised + (self._safe - self._cond)
