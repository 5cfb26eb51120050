"""What a server's log says of each picture: plain values, without a word of the prompt.

The states are those that the page names (js/feedback/result.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from safelight.detect.look import FOUND, Look

FORMAT = 1  # it goes up when a key changes its meaning
OFF, ALONE, STOCK, STEERED, WAITING = "off", "alone", "stock", "steered", "waiting"

Line = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where a picture comes from. node: the class; prompt_id, node_id: None where the host does not tell them."""

    node: str
    prompt_id: str | None
    node_id: str | None


def sampler_lines(report: Mapping[str, Any], pictures: int, origin: Origin, seed: int | None) -> list[Line]:
    """Of a sampler's, guider's or patch's run by its report, or of a strip's by its own.

    pictures: of the batch; of a strip for each level.
    """
    if "levels" in report:
        frames = [(frame, i) for frame in report["frames"] for i in range(pictures)]
        rows = [_of_frame(report, frame, i) for frame, i in frames]
    else:
        rows = [_of_picture(report, i) for i in range(pictures)]
    server = report.get("server", {})
    of_run = {
        "safety_asked": server.get("asked_safety", report["safety"]),
        "safety": report["safety"],
        "risk": report["risk"],
        "gate": report["gate"],
        "rows": report["rows"],
    }
    return _numbered([{"seed": seed, **of_run, **row} for row in rows], origin)


def look_lines(looks: Sequence[Look], hide: str, origin: Origin) -> list[Line]:
    """Of the pictures that Safelight Look looked at."""
    unknown = dict.fromkeys(("seed", "safety_asked", "safety", "risk", "gate", "rows", "state", "level"))
    return _numbered(
        [
            {
                **unknown,
                "passed": not look.found,
                "on_failure": hide,
                "found": [_find(None, False, look.score, look.words)] if look.found else [],
            }
            for look in looks
        ],
        origin,
    )


def _numbered(rows: list[Line], origin: Origin) -> list[Line]:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    begin = {"format": FORMAT, "time": now, "prompt_id": origin.prompt_id, "node_id": origin.node_id}
    counted = enumerate(rows, 1)
    return [{**begin, "node": origin.node, "picture": i, "pictures": len(rows), **row} for i, row in counted]


def _of_picture(report: Mapping[str, Any], picture: int) -> Line:
    looked = report.get("look")
    if looked is None:
        state = _state(report, report["safety"], any(call["w"] for call in report["weights"]), report, picture)
        level = report["safety"] if state in (STEERED, WAITING) else 0.0
        return {"state": state, "level": level, "passed": None, "on_failure": None, "found": []}
    seen = looked["pictures"][picture]
    level = 0.0 if report["harmless"] else seen["safety"]
    steered = level > 0.0 and _moved(report, picture)
    state = OFF if report["safety"] == 0.0 else STEERED if steered else STOCK
    if state == STOCK and (report["harmless"] or not seen["passed"]):
        state = ALONE
    finds = [_find(one["safety"], one["early"], one["score"], one["words"]) for one in seen["looks"]]
    return {
        "state": state,
        "level": level,
        "passed": seen["passed"],
        "on_failure": looked["hide"],
        "found": [find for find in finds if find["score"] >= FOUND],
    }


def _of_frame(report: Mapping[str, Any], frame: Mapping[str, Any], picture: int) -> Line:
    state = _state(report, frame["safety"], any(frame["weights"]), frame, picture)
    looks = report["look"]["pictures"][picture]["looks"] if "look" in report else []
    here = [one for one in looks if one["safety"] == frame["safety"]]
    finds = [_find(one["safety"], False, one["score"], one["words"]) for one in here]
    found = [find for find in finds if find["score"] >= FOUND]
    passed = not found if here else None
    return {"state": state, "level": frame["safety"], "passed": passed, "on_failure": None, "found": found}


def _state(report: Mapping[str, Any], safety: float, weighted: bool, movement: Mapping[str, Any], picture: int) -> str:
    if safety == 0.0:
        return OFF
    if not report["gate_open"] or report["harmless"]:
        return ALONE
    return STEERED if weighted and _moved(movement, picture) else WAITING


def _moved(movement: Mapping[str, Any], picture: int) -> bool:
    shares = movement["moved"]
    alone = movement["replaced"] > 0 or movement["valued"] > 0
    return alone or (picture < len(shares) and shares[picture] > 0.0)


def _find(level: float | None, early: bool, score: float, words: str) -> Line:
    return {"level": level, "early": early, "score": round(score, 4), "words": words}
