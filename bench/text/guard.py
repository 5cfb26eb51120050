"""Latent Guard beside Encoder Risk, on the demo model's text encoder: prompts with things that neither has seen.

The guard is trained by its node on the unsafe things that are not held out, with the look-alikes that are not as
harmless ones. Prompts are captions of the demo world without occasions; every group has as many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench import evidence
from bench.statistics import binomial_interval
from demo import world
from demo.session import DemoSession
from safelight.text.risk import DECISION, auc

COVERED = (
    *(f"safelight/text/{name}.py" for name in ("anchors", "concepts", "encoding", "kinds", "latent_guard", "risk")),
    *(f"safelight/text/latent_guard_{name}.py" for name in ("fit", "reading", "texts")),
    *("safelight/text/stand_ins.py", "safelight/engine/latent_guard.py", "safelight/engine/encoder_risk.py"),
    *("safelight/text/kinds.json", "safelight/text/lexicon.json", "safelight/text/stand_ins.json"),
    *("demo/weights/model.safetensors", "demo/world.py", "bench/text/guard.py"),
)
PROMPTS = 120  # of a group
SEEDS = (0, 1, 2)  # of trainings
FALSE_ALARMS = 0.05
OPEN_UNSAFE = [thing for thing in world.UNSAFE if not thing.held_out]
OPEN_NEAR = [thing for thing in world.LOOK_ALIKES if not thing.held_out]
CONCEPTS = ", ".join(thing.noun for thing in OPEN_UNSAFE)
HARMLESS = ", ".join(world.article(thing.noun) for thing in OPEN_NEAR)
Risk = Callable[[str], float]


def train(session: DemoSession, seed: int) -> Any:
    """The guard of SafelightLatentGuard."""
    return session.nodes["SafelightLatentGuard"]().train(session.clip, CONCEPTS, HARMLESS, seed)["result"][0]


def risk_of(session: DemoSession, guard: Any) -> Risk:
    node = session.nodes["SafelightLatentGuardRisk"]()
    return lambda prompt: node.read(session.clip, guard, prompt)["result"][0]


def groups(count: int = PROMPTS) -> dict[str, list[str]]:
    """Prompts by what is in them."""
    fits: dict[str, Callable[[Sequence[world.Thing]], bool]] = {
        "learned": lambda unsafe: bool(unsafe) and not any(thing.held_out for thing in unsafe),
        "held out": lambda unsafe: bool(unsafe) and all(thing.held_out for thing in unsafe),
    }
    result = {
        name: _captions(lambda things, fit=fit: fit([t for t in things if t.unsafe]), count, i)
        for i, (name, fit) in enumerate(fits.items())
    }
    safe = {
        "harmless": lambda things: True,
        "look-alikes": lambda things: any(thing.look_alike for thing in things),
        "look-alikes held out": lambda things: any(thing.look_alike and thing.held_out for thing in things),
    }
    for i, (name, fit) in enumerate(safe.items(), len(fits)):
        result[name] = _captions(lambda things, fit=fit: not any(t.unsafe for t in things) and fit(things), count, i)
    return result


def _captions(fits: Callable[[list[world.Thing]], bool], count: int, seed: int) -> list[str]:
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        scene = world.random_scene(rng)
        if not scene.occasion and fits([placed.thing for placed in scene.objects]):
            found.append(world.text_of(world.random_caption(scene, rng)))
    return found


def figures(risk: Risk, prompts: dict[str, list[str]]) -> dict[str, Any]:
    """Areas under the curve, the share found where FALSE_ALARMS of the harmless prompts are, and at risk .5."""
    risks = {name: np.array([risk(text) for text in some]) for name, some in prompts.items()}
    harmless = np.concatenate([risks["harmless"], risks["look-alikes"]])
    limit = float(np.quantile(harmless, 1 - FALSE_ALARMS))
    return {
        "auc": {
            "learned": auc(harmless, risks["learned"]),
            "held out": auc(harmless, risks["held out"]),
            "held out, look-alikes": auc(risks["look-alikes held out"], risks["held out"]),
        },
        "found": {name: _share(risks[name] > limit) for name in ("learned", "held out")},
        "over .5": {name: _share(values >= DECISION) for name, values in risks.items()},
    }


def _share(flags: np.ndarray) -> dict[str, Any]:
    hits, count = int(flags.sum()), len(flags)
    return {"value": hits / count, "interval": list(binomial_interval(hits, count)), "count": count}


def measure(session: DemoSession, seeds: Sequence[int] = SEEDS, count: int = PROMPTS) -> dict[str, Any]:
    prompts = groups(count)
    ways = {"Encoder Risk": figures(lambda prompt: session.encoder_risk(prompt, CONCEPTS), prompts)}
    for seed in seeds:
        ways[f"Latent Guard, seed {seed}"] = figures(risk_of(session, train(session, seed)), prompts)
    return {"made": {**evidence.commit(), "fingerprint": evidence.digest(COVERED)}, "ways": ways}
