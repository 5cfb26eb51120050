"""SAFREE as a guidance method (Yoon et al., ICLR 2025, arXiv 2410.12761): the safe embedding first, then the prompt.

A dual blend whose schedule is a window at the start of the run, and whose negative prompt is the list of concepts. How
the safe embedding comes about is in safelight/text/safree.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from safelight.guidance.dual import DualBlend
from safelight.guidance.method import SAFE
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.settings import GuidanceSettings
from safelight.text.safree import STEPS

CONCEPTS = "safelight concepts"


class Safree(DualBlend):
    """SAFREE over one run.

    strength: weight of the safe embedding in the window, in [0, 1]. t: the last of 50 steps that it steers.
    has_triggers: whether the prompt has trigger words; without them the negative guards alone. notes: for the artist.
    """

    conds = (SAFE, CONCEPTS)
    replaces_negative = CONCEPTS
    unguided = unreached = (
        "prompt: its safe form never steers in this run (a timestep range of positive, or a cache of another node, "
        "leaves out the first steps), so the picture would not be guarded. Widen the range, or leave out the cache."
    )

    nowhere = (
        "positive: expected a mask or area with cells of this picture in it, got an empty one, so its safe form "
        "would reach nothing. Paint its mask, or raise its strength."
    )

    def __init__(self, strength: float, t: int, has_triggers: bool, notes: Sequence[str] = ()) -> None:
        super().__init__(GuidanceSettings(strength, window(t, 0.0)))
        self.t, self.has_triggers, self._notes = t, has_triggers, notes
        # Without a trigger word the safe form is the prompt, and the concepts guard as the negative one.
        self.unmoved = self.unguided if has_triggers else ""

    def settings(self, start: Callable[[], float]) -> GuidanceSettings:
        progress, notes = start(), list(self._notes)
        if self.has_triggers and progress > (self.t + 0.5) / STEPS:
            notes.append(
                f"SAFREE: this run starts at progress {progress:.2f}, behind the steps that it guides; it guides the "
                "first step all the same."
            )
        self._settings = GuidanceSettings(self._settings.safety, window(self.t, progress), notes=tuple(notes))
        return self._settings

    def check_uncond(self, applies: bool) -> None:
        if not applies and not self.has_triggers:
            raise ValueError(
                "prompt: expected a trigger word for SAFREE, got none, and at cfg 1 there is no negative prompt "
                "either, so nothing would be guarded. Raise cfg, or set strength to 0."
            )


def window(t: int, start: float) -> WeightSchedule:
    """Weight 1 while a step of 50 is i <= t, then 0; on the noise level axis.

    It ends halfway between two of the 50 steps, so that noise levels beside the paper's fall on the same sides.
    start: the run's progress at its first step. Where that lies behind the window (image-to-image, a late stage), the
        first step is in it nevertheless: no run goes without the safe embedding.
    """
    end = max((t + 0.5) / STEPS, start + 1e-6)
    if end >= 1.0:
        return WeightSchedule(((0.0, 1.0), (1.0, 1.0)), "step", 0.0)
    return WeightSchedule(((0.0, 1.0), (end, 0.0)), "step", 0.0)
