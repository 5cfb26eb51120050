"""A results file as `python -m bench safety` writes it, with made-up pictures behind it. For tests alone."""

from __future__ import annotations

from typing import Any

import numpy as np

KINDS = ("weapon", "death", "drug", "alcohol")
SLIDER = tuple(i / 8 for i in range(9))
STRENGTHS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
# By method: (family, how much of the unsafe it takes away at its end, what it costs in layout and distance there)
DUAL = {
    "dual rewrite": (0.98, 0.25, 0.20),
    "dual subtract": (0.60, 0.15, 0.15),
    "dual typed": (1.0, 0.12, 0.2),
    "dual project": (0.95, 0.14, 0.16),
}
RANGED = {
    "SLD max": ("SLD", 0.95, 0.7, 0.5),
    "CASG": ("CASG", 0.95, 0.7, 0.45),
    "TraSCE": ("TraSCE", 0.6, 0.5, 0.4),
    "SAFREE released": ("SAFREE", 0.3, 0.25, 0.2),
}
EDITS = {"UCE": ("UCE", 0.5, 10_000), "Safe Adapter": ("Safe Adapter", 5400.0, 633_000)}  # family, seconds, bytes
FIXED = {
    "negative prompt": ("negative prompt", 0.12, 0.08, 0.14),
    "SLD weak": ("SLD", 0.06, 0.04, 0.08),
    "safe prompt alone": ("baseline", 0.99, 0.32, 0.24),
    "hard switch": ("baseline", 0.98, 0.25, 0.2),
}


def cases(count: int, name: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    unsafe = name in ("unsafe", "implicit")
    return [
        {
            "prompt": f"{name} prompt {i}",
            "benign": ["cat"],
            "unsafe": ["dagger"] if unsafe else [],
            "group": ("one", "one", "two", "implied")[i % 4] if name == "unsafe" else "",
            "kind": KINDS[i % len(KINDS)] if unsafe else "",
            "held_out": i % 7 == 0,
            "colour": "green",
            "number": i,
            "risk": round(float(rng.uniform(0.6, 1) if name == "unsafe" else rng.uniform(0, 0.4)), 4),
        }
        for i in range(count)
    ]


def row(
    found: dict,
    name: str,
    method: str,
    family: str,
    effect: tuple[float, float, float],
    x: float | None = None,
    gated: bool = False,
    seed: int = 5,
) -> dict[str, Any]:
    """One row: the shares taken away and lost, and the mean distance, are about those of `effect`."""
    prompts = found["sets"][name]
    count = len(prompts)
    taken, shifted, far = effect
    luck = np.random.default_rng(seed).uniform(size=(4, count))  # the same for every row: the same prompts and noises
    own = np.random.default_rng(abs(hash_of(method, x)) % 2**32).normal(0, 0.04, (4, count))
    unsafe = name in ("unsafe", "implicit")
    shown = unsafe & (luck[0] < 0.82) & (luck[1] + own[0] * (taken > 0) > taken)
    half = unsafe & ~shown & (luck[0] < 0.82) & (luck[1] + own[0] > taken - 0.06) & (taken > 0)
    stays = luck[2] + own[1] * (shifted > 0) >= shifted
    scores = [0.95 if s else 0.5 if h else 0.0 for s, h in zip(shown, half, strict=True)]
    distance = np.clip(far * (0.5 + luck[3]) + own[2] * (far > 0) * 0.3, 0, 1) if far else np.zeros(count)
    return {
        "key": f"{name} {method} {x} {gated}",
        "set": name,
        "method": method,
        "family": family,
        "setting": "" if x is None else f"{x:g}",
        "x": x,
        "gated": gated,
        "evaluations": 40.0,
        "relative_rows": 1.5 if taken else 1.0,
        "relative_time": 1.4 if taken else 1.0,
        "columns": {
            "unsafe": scores,
            "any_unsafe": scores,
            "eye": scores,  # it agrees with the judge
            "rows": [1.5 if taken else 1.0] * count,
            "benign": [0.98] * count,
            "colour": [True] * count,
            "moved": [0.02 if s else 0.4 for s in stays],
            "pixel": [round(float(d) / 3, 4) for d in distance],
            "perceptual": [round(float(d), 4) for d in distance],
            "same": [bool(d == 0) for d in distance],
            "kinds": [[p["kind"]] if s else [] for s, p in zip(shown, prompts, strict=True)],
        },
        "covariance": {"value": far * 2, "interval": [far * 1.8, far * 2.3]},
        "diversity": {"value": 0.9, "interval": [0.85, 0.97]} if name == "diversity" else None,
    }


def looked(
    found: dict, name: str, method: str, effect: tuple[float, float, float], x: float, alarms: int = 0
) -> dict[str, Any]:
    """A row of a loop: level 0 where the plain picture shows nothing, else x; but of alarms more prompts x too."""
    made = row(found, name, method, "loop", effect, x, gated=True)
    plain = row(found, name, "plain", "plain", (0.0, 0.0, 0.0))["columns"]["any_unsafe"]
    columns = made["columns"]
    level = [x if score >= 0.2 or i < alarms else 0.0 for i, score in enumerate(plain)]
    columns["level"] = level
    columns["looks"] = [1.0 + 2.0 * (one > 0) for one in level]
    columns["rows"] = [1.0 + 0.5 * (one > 0) for one in level]
    columns["passed"] = [float(score < 0.2) for score in columns["any_unsafe"]]
    columns["early"] = [float(one > 0) for one in level]
    columns["floor"] = [0.0] * len(level)
    columns["stock"] = [None if one else 1.0 for one in level]
    columns["malformed"] = [False] * len(level)
    return made


def hash_of(*parts: Any) -> int:
    return sum(ord(letter) * 31**i for i, letter in enumerate(repr(parts)))


def scaled(effect: tuple[float, float, float], by: float) -> tuple[float, float, float]:
    return tuple(min(e * by, 1.0) for e in effect)  # type: ignore[return-value]


def results(unsafe: int = 120, benign: int = 40) -> dict[str, Any]:
    """Every method over its range; on benign prompts the gate keeps the dual methods shut."""
    rng = np.random.default_rng(3)
    sizes = {"unsafe": unsafe, "benign": benign, "neighbours": benign, "diversity": 8, "image to image": 12}
    sizes["implicit"] = unsafe // 2
    found: dict[str, Any] = {
        "version": 1,
        "made": {
            "seed": 7,
            "quick": False,
            "steps": 20,
            "cfg": 3.0,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "host": "ComfyUI 0.3.64",
            "fingerprint": "0123456789ab",
            "minutes": 90.0,
        },
        "redrawn": {"value": 0.5, "interval": [0.47, 0.53]},
        "second": {"dual rewrite at 0.75 after 0.5": [0.7, 0.74], "loop at 1 after 0.75": [0.5, 0.6]},
        "edits": {name: {"seconds": seconds, "bytes": size} for name, (_, seconds, size) in EDITS.items()},
        "sets": {name: cases(size, name, rng) for name, size in sizes.items()},
        "rows": [],
    }
    rows = found["rows"]
    nothing = (0.0, 0.0, 0.0)
    for name in sizes:
        rows.append(row(found, name, "plain", "plain", nothing))
        rows[-1]["columns"]["malformed"] = [False] * sizes[name]
    for method, effect in DUAL.items():
        rows += [row(found, "unsafe", method, "dual", scaled(effect, x), x, gated=True) for x in SLIDER]
    for x in (0.75, 1.0):
        rows += [looked(found, name, "loop", (1.0, 0.05 * x, 0.1), x) for name in ("unsafe", "implicit")]
        rows += [looked(found, name, "loop", (0.0, 0.0, 0.0), x, alarms=2) for name in ("benign", "neighbours")]
    for x in (1.0, 3.0):
        rows += [
            row(found, "implicit", method, family, scaled(tuple(effect), x / 2.5), x)
            for method, (family, *effect) in RANGED.items()
        ]
    for method, (family, *effect) in RANGED.items():
        rows += [row(found, "unsafe", method, family, scaled(tuple(effect), x / 2.5), x) for x in STRENGTHS]
    rows += [row(found, "unsafe", method, family, tuple(effect)) for method, (family, *effect) in FIXED.items()]
    for name in ("benign", "neighbours"):
        for method in ("dual rewrite", "dual project"):
            rows.append(row(found, name, method, "dual", nothing, 1.0, gated=True))
            rows += [row(found, name, method, "dual", (0.0, 0.0, 0.01 * x), x) for x in (0.5, 1.0)]
        for method, (family, *effect) in RANGED.items():
            rows += [
                row(found, name, method, family, (0.0, *scaled(tuple(effect), x / 2.5)[1:]), x) for x in (1.0, 3.0)
            ]
        rows += [row(found, name, m, family, (0.0, *effect[1:])) for m, (family, *effect) in FIXED.items()]
        rows += [row(found, name, m, family, (0.0, 0.5, 0.3), 1.0) for m, (family, *_) in EDITS.items()]
    rows += [
        row(found, cases, m, family, (0.7, 0.5, 0.3), 1.0)
        for m, (family, *_) in EDITS.items()
        for cases in ("unsafe", "image to image")
    ]
    return found
