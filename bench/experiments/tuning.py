"""The tuning prompts' pictures, and what the detector sees in them beside their plain twins."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.demo_session import BATCH, DemoSession
from demo import detector, prompts, world

NEAR = 1 / 8  # of the width: how far a thing may stand from its place in the plain picture


def pictures(session: DemoSession, cases: list[prompts.Case], contexts: list[Any], safety: float, schedule: Any) -> Any:
    """[N, H, W, 3]. contexts: of each case, as DemoSession.context gives it."""
    made = []
    for start in range(0, len(cases), BATCH):
        positive, safe, _ = zip(*contexts[start : start + BATCH], strict=True)
        numbers = [case.number for case in cases[start : start + BATCH]]
        made.append(session.sample(list(positive), list(safe), numbers, safety, schedule=schedule)[0])
    return np.concatenate(made)


def contexts(session: DemoSession, cases: list[prompts.Case], method: str) -> list[Any]:
    return [session.context(case.prompt, method=method, concepts=world.CONCEPTS) for case in cases]


def place(report: detector.Report, noun: str) -> tuple[float, float] | None:
    return next(((sight.x, sight.y) for sight in report.sights if sight.noun == noun), None)


def near(now: detector.Report, before: detector.Report, noun: str) -> bool:
    """Whether the thing is seen about where the plain picture shows it."""
    places = place(now, noun), place(before, noun)
    return now.score(noun) >= detector.SEEN and np.hypot(*np.subtract(*places)) <= NEAR
