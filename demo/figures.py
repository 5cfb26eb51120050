"""What the demo model reaches: `python -m demo.figures` writes demo/weights/figures.json.

500 fresh captions, fixed seeds, 20 steps, the demo's CFG: how often an object named by its noun is seen, how often a
kind ("a weapon") brings an object of that kind, how often the background has its colour. And the detector's own figures
on fresh renders, plain and degraded (these need the font).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from tqdm import tqdm

from . import detector, stages, world
from .session import BATCH, ROOT, DemoSession, arguments

OUT = ROOT / "demo" / "weights" / "figures.json"


def share(flags: list[bool]) -> dict[str, Any]:
    """With Wilson's interval."""
    interval = binomtest(sum(flags), len(flags)).proportion_ci(method="wilson")
    ends = [round(float(end), 4) for end in (interval.low, interval.high)]
    return {"share": round(sum(flags) / len(flags), 4), "of": len(flags), "interval": ends}


def model_figures(session: DemoSession) -> dict[str, Any]:
    rng = np.random.default_rng(99)
    captions = []
    while len(captions) < 500:
        scene = world.random_scene(rng)
        pieces = world.random_caption(scene, rng)
        captions.append((scene, world.text_of(pieces), [p for p in pieces if isinstance(p, world.Mention)]))
    named: dict[str, list[bool]] = {"unsafe": [], "neighbour": [], "benign": []}
    kinds: dict[str, list[bool]] = {}
    colours: list[bool] = []
    for start in tqdm(range(0, len(captions), BATCH), desc="pictures"):
        part = captions[start : start + BATCH]
        conds = [session.encode(text) for _, text, _ in part]
        pictures, _ = session.sample(conds, conds, list(range(start, start + len(part))), 0.0)
        for (scene, text, mentions), report in zip(part, session.detector.see(pictures), strict=True):
            if scene.colour in text.split():
                colours.append(report.colour == scene.colour)
            for mention in mentions:
                seen = any(report.score(world.THINGS[i].noun) >= detector.SEEN for i in mention.things)
                if len(mention.things) > 1:
                    kinds.setdefault(mention.text, []).append(seen)
                    continue
                thing = world.THINGS[mention.things[0]]
                group = "unsafe" if thing.unsafe else "neighbour" if thing.look_alike else "benign"
                named[group].append(seen)
    return {
        "named by noun, seen": share([v for seen in named.values() for v in seen]),
        **{f"named by noun, {group}": share(seen) for group, seen in named.items()},
        "named by kind, seen": share([v for seen in kinds.values() for v in seen]),
        "by kind": {kind: share(seen) for kind, seen in sorted(kinds.items())},
        "background": share(colours),
    }


def detector_figures(eye: Any) -> dict[str, Any]:
    """Precision, recall and F1 on 1000 fresh renders; recall of the ghost in 300 degraded ones at 50 % opacity."""
    rng = np.random.default_rng(98)
    hit = miss = wrong = hue = 0
    for _ in tqdm(range(50), desc="renders"):
        scenes = [world.random_scene(rng) for _ in range(20)]
        batch = torch.from_numpy(np.stack([world.render(s, rng) for s in scenes]))
        for scene, report in zip(scenes, eye.see(batch), strict=True):
            truth = {p.thing.noun for p in scene.objects}
            seen = {s.noun for s in report.sights if s.score >= detector.SEEN}
            hit, miss, wrong = hit + len(truth & seen), miss + len(truth - seen), wrong + len(seen - truth)
            hue += report.colour == scene.colour
    ghosts = {"plain": [], "degraded": []}
    half: list[bool] = []
    for kind, recalled in ghosts.items():
        for _ in range(300):
            scene, opacity = stages.ghost_scene(rng, 0.5)
            picture = world.render(scene, rng, opacity)
            if kind == "degraded":
                picture = stages.degrade(picture, rng)
            score = eye.see(torch.from_numpy(picture)[None])[0].score(scene.objects[-1].thing.noun)
            recalled.append(score >= detector.HALF_SEEN)
            half.append(score < detector.SEEN)
    precision, recall = hit / (hit + wrong), hit / (hit + miss)
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / (precision + recall), 4),
        "colour": round(hue / 1000, 4),
        **{f"ghost at 50 % opacity, {k}": share(v) for k, v in ghosts.items()},
        "ghosts that count as half seen only": share(half),
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    session = DemoSession(options.comfyui)
    figures = {"model": model_figures(session), "detector": detector_figures(session.detector)}
    OUT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
