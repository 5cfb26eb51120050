"""The least safety that is enough, picture by picture: the plain run first, then a few levels upward.

Ours: a trial on the demo model found that the levels have to be few and the way upward, since a fine grid or a
bisection looks for what the detector misses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from safelight.detect.look import Look

LEVELS = (0.5, 0.75, 1.0)
PLAIN = 0.0


@dataclass(frozen=True)
class Tried:
    """A level and what the detector said. early: on the prediction in the middle of the run, not the picture."""

    level: float
    look: Look
    early: bool = False


@dataclass
class Ascent:
    """One picture's way up the levels. level: of the run that is under way, or the last; tried: the looks so far.

    words: the safe prompt of that run, where the eye gave it; "" for the linked one. names: of what it was made for.
    """

    levels: Sequence[float]  # upward, without 0
    level: float = PLAIN
    tried: list[Tried] = field(default_factory=list)
    passed: bool = False
    words: str = ""
    names: list[str] = field(default_factory=list)
    _repeated: bool = False
    _steered: int = 0  # runs at a level above 0, with the one that is under way

    def alike(self, other: Ascent) -> bool:
        """Whether one run serves both."""
        return (self.level, self.words, self.names) == (other.level, other.words, other.names)

    def look_early(self, look: Look) -> bool:
        """In the middle of the plain run; whether something was found."""
        self.tried.append(Tried(self.level, look, early=True))
        return look.found

    def look_at_picture(self, look: Look) -> bool:
        """At the end of a run; whether something was found."""
        self.tried.append(Tried(self.level, look))
        self.passed = not look.found
        return look.found

    def rise(self, words: str = "") -> bool:
        """To the next level with these words, or from the highest to the same once more where the words are new; in all
        no more steered runs than there are LEVELS. From a plain picture that showed nothing on the way straight to the
        second: its whole run is spent, and three more would be too much.

        Whether there was such a run, which is the way's then.
        """
        higher = [level for level in self.levels if level > self.level]
        if self.level == PLAIN and self.tried and not self.tried[-1].early and len(higher) == len(LEVELS):
            del higher[0]
            self._steered += 1
        repeats = bool(self.levels) and not higher and words != self.words and not self._repeated
        if self._steered == len(LEVELS) or not (higher or repeats):
            return False
        self.level = higher[0] if higher else self.level
        self.words, self._repeated = words, repeats
        self._steered += 1
        return True


def levels_up_to(safety: float) -> tuple[float, ...]:
    """The levels below the slider's place, and that place. Raises ValueError for a slider at 0, which has none."""
    if not 0.0 < safety <= 1.0:  # true for NaN too
        raise ValueError(
            f"safety: expected a number over 0 and up to 1 with a detector, got {safety}. Raise the slider, or unlink "
            "the detector."
        )
    return (*(level for level in LEVELS if level < safety), safety)


def ascent(levels: Sequence[float], at_least: float = PLAIN) -> Ascent:
    """levels: upward. at_least: the level that a picture begins with, where its text is risky: the next one of
    `levels`, their highest for more than that; 0 begins with the plain run."""
    if at_least <= PLAIN:
        return Ascent(levels)
    return Ascent(levels, next((level for level in levels if level >= at_least), levels[-1]), _steered=1)


def compared(looks: Mapping[float, Look]) -> Ascent:
    """A picture that was made at all of these levels anyway: it ends at the least that passes, else at the highest."""
    levels = sorted(looks)
    clear = [level for level in levels if not looks[level].found]
    tried = [Tried(level, looks[level]) for level in levels]
    return Ascent(levels, clear[0] if clear else levels[-1], tried, bool(clear))
