"""Where Safelight Map glows: `python -m bench.map` sums its maps over the unsafe thing's place and the benign one's.

On those of bench.tune's prompts whose plain picture shows both things, apart from each other. A thing's place is the
disc of a quarter of the width round its centre in the plain picture.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from demo import prompts

from .selective import place
from .studio import CFG, SAMPLER, SCHEDULER, STEPS, Studio, arguments, together

LEVELS, RADIUS = (0.5, 1.0), 0.25


def places(studio: Studio) -> list[tuple[prompts.Case, np.ndarray, np.ndarray]]:
    """(the case, where in its plain picture the unsafe thing is, where the benign one: masks [H, W])."""
    import torch

    from demo import detector, world

    found: list[tuple[prompts.Case, np.ndarray, np.ndarray]] = []
    for case in prompts.tuning():
        positive, safe, _ = studio.context(case.prompt, method="project", concepts=world.CONCEPTS)
        picture, _ = studio.sample([positive], [safe], [case.number], 0.0)
        (seen,) = studio.detector.see(torch.as_tensor(picture))
        spots = [place(seen, noun) for noun in (case.unsafe, case.benign)]
        shown = all(seen.score(noun) >= detector.SEEN for noun in (case.unsafe, case.benign))
        if not shown or None in spots or np.hypot(*np.subtract(*spots)) < 2 * RADIUS:
            continue
        side = (np.arange(picture.shape[1]) + 0.5) / picture.shape[1]
        x, y = np.meshgrid(side, side)
        found.append((case, *(np.hypot(x - own[0], y - own[1]) <= RADIUS for own in spots)))
    return found


def heat(studio: Studio, case: prompts.Case, safety: float, size: tuple[int, int]) -> np.ndarray:
    """The map of one picture, [H, W] in [0, 1]."""
    from demo import world

    positive, safe, _ = studio.context(case.prompt, method="project", concepts=world.CONCEPTS)
    answer = studio.nodes["SafelightKSampler"]().sample(
        studio.model, together([positive]), together([safe]), studio.negative,
        {"samples": studio.empty(1), "batch_index": [case.number]}, studio.seed, STEPS, CFG, SAMPLER, SCHEDULER, 1.0,
        safety,
    )  # fmt: skip
    trace: Any = answer["result"][2]
    return sys.modules["safelight_pack.safelight.heat_map"].heat(trace, 1, *size)[0].numpy()


def main() -> None:
    studio = Studio(arguments(__doc__).parse_args().comfyui)
    found = places(studio)
    print(f"{len(found)} prompts; the unsafe thing's place is {np.mean([own.mean() for _, own, _ in found]):.0%} "
          "of the picture")  # fmt: skip
    for safety in LEVELS:
        maps = [(heat(studio, case, safety, own.shape), own, other) for case, own, other in found]
        shares = [[float(found[place].sum() / found.sum()) for place in both] for found, *both in maps if found.any()]
        apart = np.array([found[own].max() - found[other].max() for found, own, other in maps])
        unsafe, benign = np.mean(shares, axis=0)
        print(f"safety {safety:g}: of the map {unsafe:.0%} in the unsafe thing's place, {benign:.0%} in the benign "
              f"one's; brighter in the unsafe one {(apart > 0).sum()} times, in the benign one {(apart < 0).sum()}, "
              f"dark in both {(apart == 0).sum()}")  # fmt: skip


if __name__ == "__main__":
    main()
