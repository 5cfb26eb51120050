"""What a server's owner asks of every Safelight node, as data. A workflow can ask for more, and not for less. Ours.

Where the server's own detectors look, they judge the picture, so the workflow sets gate, schedule and mask as it likes;
where they don't, and there is a least safety, every run is steered by it: at every call, in the whole picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from safelight.checks import shortened, unit_number
from safelight.guidance.gate import is_open
from safelight.guidance.settings import LEAST_SAFETY, GuidanceSettings, ServerRule, read_settings
from safelight.studio.webhook import Address, read_address
from safelight.views.findings import HIDINGS, KEEP

STOP = "stop"
ON_FAILURE = (*HIDINGS, STOP)  # upward: what comes later is stricter
_GRID = [i / 100 for i in range(101)]


@dataclass(frozen=True)
class DetectorChoice:
    """A detector of the server's: the node that makes it, and its widgets' values; the others have their defaults."""

    node: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """least_safety: of the slider, in [0, 1]. highest_gate: of the gate, None where it was left open. detectors: which
    look beside the workflow's. on_failure: one of ON_FAILURE. related_methods: whether SLD and its like may run, which
    know no safety. log: the path of the log file, "" for none. webhook: where each line is sent as well.
    """

    least_safety: float = 0.0
    highest_gate: float | None = None
    detectors: tuple[DetectorChoice, ...] = ()
    on_failure: str = KEEP
    related_methods: bool = False
    log: str = ""
    webhook: Address | None = None

    @property
    def gate_limit(self) -> float | None:
        """The highest gate that counts; None where the workflow sets it alone."""
        if self.highest_gate is None and self.least_safety > 0.0 and not self.detectors:
            return 0.0
        return self.highest_gate

    @property
    def steers_all(self) -> bool:
        """Whether a run that is guided is guided by the least safety at every call, in the whole picture."""
        return self.least_safety > 0.0 and self.gate_limit is not None

    @property
    def limits(self) -> bool:
        """Whether anything is asked of a run."""
        return self.least_safety > 0.0 or self.highest_gate is not None or bool(self.detectors)

    def levels(self, asked: Iterable[float]) -> tuple[float, ...]:
        """The levels of a strip, each once."""
        return tuple(dict.fromkeys(max(level, self.least_safety) for level in asked))

    def at_least(self, asked: float) -> float:
        """The level that a risky text begins with, where a detector looks."""
        return max(asked, self.least_safety) if self.steers_all else asked

    def hide(self, asked: str) -> str:
        """What becomes of a picture that no level lets pass: the stricter of the two."""
        return max(asked, self.on_failure, key=ON_FAILURE.index)

    def read_settings(
        self,
        safety: Any,
        schedule: Any,
        risk: Any,
        gate: Any,
        mask: Any,
        selective: Any,
        economy: Any,
        looks: bool,
    ) -> GuidanceSettings:
        """As safelight.guidance.settings.read_settings, for the inputs that the policy makes of the workflow's."""
        asked = read_settings(safety, schedule, risk, gate, looks=looks)
        used = max(asked.safety, self.least_safety)
        limit = asked.gate if self.gate_limit is None else min(asked.gate, self.gate_limit)
        notes, least = [], None
        if used > asked.safety:
            notes.append(f"safety {asked.safety:g} raised to {used:g}, the least safety by this server.")
        elif self.least_safety:
            notes.append(f"least safety {self.least_safety:g} by this server.")
        if self.detectors:
            notes.append(f"this server's detectors look as well; a picture that no level lets pass: {self.on_failure}.")
        if is_open(asked.risk, limit) and not asked.gate_open:
            notes.append(f"gate {asked.gate:g} lowered to {limit:g} by this server, so the prompt is steered.")
        if self.steers_all:
            parts = [name for name, given in (("mask", mask), ("selective", selective)) if given is not None]
            notes += [f"{name} left out: the least safety by this server holds in the whole picture." for name in parts]
            mask = selective = None
            if schedule is not None:
                least = replace(read_settings(self.least_safety, looks=looks), risk=1.0)
                least = replace(least, schedule=replace(least.schedule, axis=asked.schedule.axis))
                if _is_weaker(replace(asked, safety=used), least):
                    notes.append("schedule: where it is weaker than the least safety by this server, that counts.")
        settings = read_settings(used, schedule, risk, limit, mask, selective, economy, looks)
        rule = ServerRule(self.least_safety, asked.safety, asked.gate, least)
        return replace(settings, notes=(*settings.notes, *notes), server=rule)


def _is_weaker(settings: GuidanceSettings, least: GuidanceSettings) -> bool:
    """Whether the schedule steers less than the other's somewhere."""
    return any(settings.schedule.weight(p, settings.safety) < least.schedule.weight(p, least.safety) for p in _GRID)


def read_policy(text: str) -> Policy:
    """The policy in a JSON text. Raises ValueError, naming the key, for what it does not know or can't read."""
    given = _object("the file", _parse(text))
    if unknown := sorted(given.keys() - _READERS.keys()):
        raise ValueError(f"{unknown[0]}: unknown key. Use {', '.join(_READERS)}.")
    return Policy(**{key: _READERS[key](key, value) for key, value in given.items()})


def _parse(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"{twice[0]}: expected each key once, got it twice. Write it once.")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"expected JSON, got a fault at line {error.lineno}, column {error.colno}: {error.msg}. Mend it there."
        ) from error


def _object(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'{key}: expected an object, such as {{"least_safety": 0.5}}, got {shortened(value)}.')
    return value


def _least_safety(key: str, value: Any) -> float:
    number = unit_number(key, value)
    if 0.0 < number < LEAST_SAFETY:
        raise ValueError(f"{key}: expected 0 or at least {LEAST_SAFETY:g}, got {number:g}, too small to act. Raise it.")
    return number


def _detectors(key: str, value: Any) -> tuple[DetectorChoice, ...]:
    if not isinstance(value, list):
        raise ValueError(
            f'{key}: expected a list, such as [{{"node": "SafelightNudeNet", "inputs": {{"threshold": 0.4}}}}], got '
            f"{shortened(value)}. Write one."
        )
    choices = []
    for number, entry in enumerate(value, 1):
        name = f"{key}: detector {number}"
        given = _object(name, entry)
        if not given.keys() <= {"node", "inputs"} or not isinstance(given.get("node"), str):
            raise ValueError(f'{name}: expected "node" with the id of a node, and "inputs", got {shortened(given)}.')
        choices.append(DetectorChoice(given["node"], _object(f"{name}: inputs", given.get("inputs", {}))))
    return tuple(choices)


def _on_failure(key: str, value: Any) -> str:
    if value not in ON_FAILURE:
        raise ValueError(f"{key}: unknown choice {shortened(value)}. Use one of {', '.join(ON_FAILURE)}.")
    return value


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key}: expected true or false, got {shortened(value)}.")
    return value


def _path(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key}: expected the path of a file, got {shortened(value)}.")
    return value


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "least_safety": _least_safety,
    "highest_gate": unit_number,
    "detectors": _detectors,
    "on_failure": _on_failure,
    "related_methods": _truth,
    "log": _path,
    "webhook": read_address,
}
