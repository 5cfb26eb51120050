"""No guidance: the prompt as written decides every call. For a run that is only looked at."""

from __future__ import annotations

from collections.abc import Callable

from safelight.guidance.method import POSITIVE, GuidanceMethod, Needs, Step
from safelight.guidance.schedule import DEFAULT_PRESET, PRESETS
from safelight.guidance.settings import GuidanceSettings


class Unsteered(GuidanceMethod):
    """Every call is the host's own."""

    def settings(self, start: Callable[[], float]) -> GuidanceSettings:
        return GuidanceSettings(0.0, PRESETS[DEFAULT_PRESET])

    def needs(self, step: Step) -> Needs:
        return Needs((POSITIVE,), alone=True)
