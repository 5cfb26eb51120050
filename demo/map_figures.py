"""Where Safelight Map glows: `python -m demo.map_figures` sums its maps over two things' places.

On those of the tuning prompts whose plain picture shows the unsafe thing and the benign one, apart from each other. A
thing's place is the disc of a quarter of the width round its centre in the plain picture.
"""

from __future__ import annotations

import numpy as np
import torch

from safelight.views import heat_map

from . import prompts, world
from .detector import SEEN, Report
from .session import DemoSession, arguments

LEVELS, RADIUS = (0.5, 1.0), 0.25


def disc(centre: tuple[float, float], side: int) -> np.ndarray:
    """[H, W]: which pixels are in a thing's place."""
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2)
    return np.hypot(x - centre[0], y - centre[1]) <= RADIUS


def place(report: Report, noun: str) -> tuple[float, float] | None:
    return next(((sight.x, sight.y) for sight in report.sights if sight.noun == noun), None)


def main() -> None:
    session = DemoSession(arguments(__doc__).parse_args().comfyui)
    places = []
    for case in prompts.tuning():
        positive, safe, _ = session.context(case.prompt, method="project", concepts=world.CONCEPTS)
        picture, _ = session.sample([positive], [safe], [case.number], 0.0)
        (seen,) = session.detector.see(torch.as_tensor(picture))
        spots = [place(seen, noun) for noun in (case.unsafe, case.benign)]
        shown = all(seen.score(noun) >= SEEN for noun in (case.unsafe, case.benign))
        if shown and np.hypot(*np.subtract(*spots)) >= 2 * RADIUS:
            places.append((case, positive, safe, *(disc(spot, picture.shape[1]) for spot in spots)))
    area = np.mean([unsafe.mean() for *_, unsafe, _ in places])
    print(f"{len(places)} prompts; the unsafe thing's place is {area:.0%} of the picture")
    for safety in LEVELS:
        shares, apart = [], []
        for case, positive, safe, unsafe, benign in places:
            trace = session.latents([positive], [safe], [case.number], safety)[2]
            heat = heat_map.heat(trace, 1, *unsafe.shape)[0].numpy()
            apart.append(heat[unsafe].max() - heat[benign].max())
            if heat.any():
                shares.append([float(heat[spot].sum() / heat.sum()) for spot in (unsafe, benign)])
        inside, beside = np.mean(shares, axis=0)
        brighter, darker, dark = (int((np.sign(apart) == sign).sum()) for sign in (1, -1, 0))
        print(
            f"safety {safety:g}: of the map {inside:.0%} in the unsafe thing's place, {beside:.0%} in the benign "
            f"one's; brighter in the unsafe one {brighter} times, in the benign one {darker}, dark in both {dark}"
        )


if __name__ == "__main__":
    main()
