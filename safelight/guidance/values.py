"""Keys from the prompt, values from its safe counterpart: one stream, in whose cross-attentions the keys (where) are
those of the prompt as written and the values (what) go over to those of the safe prompt by the schedule's weight.

    attention(q, K(c), V((1 - w) c + w s))        c, s: states of the prompt and of the safe prompt, row for row

The principle is AdaVD's (arXiv 2412.06143), which edits values alone; the safe prompt's values in their place are ours.
"""

from __future__ import annotations

from collections.abc import Callable

from safelight.guidance.dual import DualBlend
from safelight.guidance.method import POSITIVE, SAFE, Needs, Step


class ValueBlend(DualBlend):
    """Over one run. A call whose weight is 0 is the positive prompt's alone, as in a stock run."""

    def only(self, constant: Callable[[], float | None], ends_in_picture: bool) -> str | None:
        return POSITIVE if super().only(constant, ends_in_picture) == POSITIVE else None

    def needs(self, step: Step) -> Needs:
        return Needs((SAFE if step.weight and SAFE in step.active else POSITIVE,), alone=True)
