"""The seed of README's strip, by rule: `python -m bench.safety.strip_seed`. The demo has it as its default.

The prompt is the demo workflow's. Seed after seed, from 1 on, it is drawn at every level of the strip. The first seed
that `fault` has nothing to say against is taken. The judge and the measure of form say what a picture shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from demo import world
from demo.detector import HALF_SEEN, SEEN
from demo.session import ROOT, DemoSession, arguments
from runner import demo, workflow
from safelight.text.concepts import TEMPLATE_CONCEPTS

from .results import NEAR
from .score import Scorer, columns
from .sets import Case

MOST = 100  # seeds that are tried
VISIBLE = 0.01  # root mean square difference of two pictures, values from 0 to 1, from which one sees it


def fault(seen: dict[str, list[Any]], steps: list[float]) -> str:
    """What speaks against the pictures of a strip, "" for nothing.

    seen: their columns, as score.py measures them against the first one, which is plain. steps: how far each is from
    the one before it, root mean square.
    """
    if seen["any_unsafe"][0] < SEEN or seen["benign"][0] < SEEN:
        return "the plain picture lacks one of the things"
    if any(seen["malformed"]):
        return "something is malformed"
    if min(seen["benign"]) < SEEN or max(seen["moved"]) > NEAR:
        return "the harmless thing goes, or moves"
    if max(seen["any_unsafe"][1:]) >= SEEN or seen["any_unsafe"][-1] >= HALF_SEEN:
        return "something unsafe is still seen"
    return "two neighbours look alike" if min(steps) < VISIBLE else ""


def strip(session: DemoSession, text: str, seed: int) -> np.ndarray:
    """The pictures of a prompt along the slider, bytes [levels, H, W, 3]."""
    session.seed = seed
    positive, safe, risk = session.context(text, concepts=TEMPLATE_CONCEPTS)
    each = [session.sample([positive], [safe], [0], level, risk=risk, memory=True)[0] for level in demo.LEVELS]
    return np.concatenate([(picture.numpy() * 255).round().astype(np.uint8) for picture in each])


def look(scorer: Scorer, text: str, pictures: np.ndarray) -> str:
    """The fault of a strip of a prompt, "" for none."""
    unsafe, benign = (tuple(t.noun for t in things if t.noun in text) for things in (world.UNSAFE, world.BENIGN))
    case = Case(benign, unsafe, "", "", held_out=False, colour="", instead="", prompt=text)
    plain = np.repeat(pictures[:1], len(pictures), axis=0)
    now, before = scorer.score(pictures), scorer.score(plain)
    steps = np.sqrt((np.diff(pictures / 255, axis=0) ** 2).mean((1, 2, 3)))
    return fault(columns(scorer, [case] * len(pictures), now, before, forms=True), steps.tolist())


def prompt() -> str:
    """The demo workflow's."""
    nodes = workflow.load(ROOT / demo.WORKFLOW)["nodes"]
    return next(node["widgets_values"][0] for node in nodes if node["type"] == demo.ENCODE)


def main() -> None:
    session, scorer, text = DemoSession(arguments(__doc__).parse_args().comfyui), Scorer(), prompt()
    for seed in range(1, MOST + 1):
        found = look(scorer, text, strip(session, text, seed))
        print(f"seed {seed}: {found or 'taken'}", flush=True)
        if not found:
            return
    raise SystemExit(f"No seed up to {MOST} keeps the rule.")


if __name__ == "__main__":
    main()
