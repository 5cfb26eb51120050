"""Ways to save rows of model evaluation, and the pictures that they make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.safety.sets import Case
from bench.store import Store
from demo import world
from demo.session import BATCH, SAMPLER, DemoSession
from safelight.guidance import dual
from safelight.guidance.blend import POSITIVE, SAFE
from safelight.guidance.economy import BOTH, Memory

LEVELS = (0.25, 0.5, 0.75)
SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "heun", "uni_pc")
OFF, MODES = "off", ("balanced", "free")


class Way(NamedTuple):
    """A way to save rows. kind: "mode" (of the input), "allowed" (the same with another amount), "by turns" (without
    memory) or "kept" (the difference of the two prompts is renewed on every n-th call); amount: of the kind."""

    name: str
    kind: str
    amount: Any = None


STOCK_WAYS = tuple(Way(mode, "mode", mode) for mode in (OFF, *MODES))
WAYS = (
    *STOCK_WAYS,
    Way("memory, one call of both prompts", "allowed", 0.0),
    *(Way(f"memory, {share:.0%} more rows", "allowed", share) for share in (0.15, 0.2, 0.3)),
    Way("by turns, nothing remembered", "by turns"),
    *(Way(f"difference renewed every {calls} calls", "kept", calls) for calls in (2, 3)),
)


class Run(NamedTuple):
    """One row of the tables: a way at a place of the slider, with a sampler. safety 0 is plain sampling."""

    way: Way
    safety: float
    sampler: str = SAMPLER

    @property
    def key(self) -> str:
        return f"{self.sampler} {self.safety:g} {self.way.kind} {self.way.amount}"


def runs(quick: bool) -> list[Run]:
    if quick:
        return [Run(WAYS[0], 0.0), *(Run(way, 0.5) for way in STOCK_WAYS)]
    planned = [Run(WAYS[0], 0.0), *(Run(way, level) for level in LEVELS for way in WAYS)]
    for sampler in SAMPLERS:
        planned += [Run(WAYS[0], 0.0, sampler), *(Run(way, 0.5, sampler) for way in STOCK_WAYS)]
    return planned


@dataclass(frozen=True)
class Worker:
    """Makes pictures of the prompts, one noise each, and puts them into the store: bytes [N, H, W, 3], and rows of
    model evaluation a picture."""

    comfyui: Path | None
    file: Path
    cases: list[Case]

    @cached_property
    def session(self) -> DemoSession:
        return DemoSession(self.comfyui)

    @cached_property
    def contexts(self) -> list[Any]:
        return [self.session.context(case.prompt, method="project", concepts=world.CONCEPTS) for case in self.cases]

    def __call__(self, run: Run) -> None:
        inputs = {"sampler": run.sampler, "economy": run.way.amount if run.way.kind == "mode" else MODES[0]}
        made, rows = [], 0
        for start in range(0, len(self.cases), BATCH):
            positive, safe, _ = zip(*self.contexts[start : start + BATCH], strict=True)
            numbers = [case.number for case in self.cases[start : start + BATCH]]
            with remembering(run.way):
                pictures, report = self.session.sample(list(positive), list(safe), numbers, run.safety, **inputs)
            made.append((pictures.numpy() * 255).round().astype(np.uint8))
            rows += report["rows"]
        Store(self.file).put_arrays(run.key, pictures=np.concatenate(made), rows=rows / len(self.cases))


@contextlib.contextmanager
def remembering(way: Way) -> Iterator[None]:
    """While open, economical runs remember in this way."""
    usual = dual.Memory
    made: dict[str, Any] = {
        "allowed": lambda _, steps: Memory(way.amount, steps),
        "kept": lambda allowed, steps: KeptDifference(way.amount, allowed, steps),
        "by turns": ByTurns,
    }
    dual.Memory = made.get(way.kind, Memory)  # type: ignore[misc]
    try:
        yield
    finally:
        dual.Memory = usual  # type: ignore[misc]


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

    def __init__(self, calls: int, allowed: float, steps: int) -> None:
        super().__init__(allowed, steps)
        self._every = calls

    def select(self, weight: float, has_uncond: bool, kind: object = None) -> tuple[str, ...]:
        self._calls += 1
        return BOTH if self._calls % self._every == 1 else (POSITIVE,)

    def reconstruct(self, evaluated: str, denoised: Any, *_: Any) -> tuple[Any, Any]:
        assert self._cond is not None and self._safe is not None
        return denoised, denoised + (self._safe - self._cond)
