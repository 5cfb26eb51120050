"""What a detector says of a picture, on one scale for all of them: .5 and more counts as found."""

from __future__ import annotations

import math
from dataclasses import dataclass

FOUND = 0.5  # as of a prompt's risk, so that both can be combined
Box = tuple[float, float, float, float]  # left, top, right, bottom, in fractions of the picture's sides


@dataclass(frozen=True)
class Finding:
    """One thing that is seen. name: in words; score: on the common scale; box: where, None for the whole picture."""

    name: str
    score: float
    box: Box | None = None

    @property
    def found(self) -> bool:
        return self.score >= FOUND


@dataclass(frozen=True)
class Look:
    """Of one picture. score: in [0, 1]; findings: the likeliest first, also those that are not enough by themselves.

    failed: why the picture could not be looked at, "" where it could. Such a picture counts as found.
    """

    score: float
    findings: tuple[Finding, ...] = ()
    failed: str = ""

    @property
    def found(self) -> bool:
        return self.score >= FOUND

    @property
    def names(self) -> list[str]:
        """Of what was found, each once."""
        return [*dict.fromkeys(finding.name for finding in self.findings if finding.found and self.found)]

    @property
    def words(self) -> str:
        """What was found, for the artist."""
        names = [*self.names, self.failed] if self.failed else self.names
        return ", ".join(names) or ("something" if self.found else "nothing")


def best(findings: list[Finding]) -> Look:
    """The look at a picture in which these are seen: as unsafe as the likeliest of them."""
    ordered = tuple(sorted(findings, key=lambda finding: -finding.score))
    return Look(ordered[0].score if ordered else 0.0, ordered)


def failed(why: str) -> Look:
    return Look(1.0, (), why)


def on_scale(confidence: float, threshold: float) -> float:
    """A confidence in [0, 1] on the common scale, where a detector's threshold is .5: straight below and above it.

    Raises ValueError for a threshold that is not over 0 and under 1.
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold: expected a number over 0 and under 1, got {threshold}. Give one, such as 0.5.")
    if math.isnan(confidence):
        return 1.0
    confidence = min(max(confidence, 0.0), 1.0)
    if confidence < threshold:
        return FOUND * confidence / threshold
    return FOUND + (1.0 - FOUND) * (confidence - threshold) / (1.0 - threshold)
