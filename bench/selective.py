"""What choosing places gains: `python -m bench.selective` tries Safelight Selective on the tuning prompts.

The 60 unsafe prompts of bench.tune, figures as in bench.tune. `elsewhere` is the distance over the pixels further
than a quarter of the width from the unsafe thing's place in the plain picture, where that shows it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from demo import prompts

from .studio import BATCH, Studio, arguments

MODES = ("off", "soft threshold", "quantile")
THRESHOLDS = (1.0, 1.2, 1.5, 2.0)
QUANTILES = (0.8, 0.9, 0.95)
SMOOTH, GROW, ADAPTIVE = (1, 2), (0,), (False,)
CONTEXTS = (0.2,)
LEVELS = (0.25, 0.5, 0.75, 1.0)
AWAY = 0.25  # of the width, from the unsafe thing's centre


class Looking:
    """Pictures of the tuning prompts, compared with their plain twins."""

    def __init__(self, studio: Studio, count: int) -> None:
        from demo import world

        self.studio = studio
        self.cases = prompts.tuning()[:count]
        self.found = [studio.context(c.prompt, method="project", concepts=world.CONCEPTS) for c in self.cases]
        self.always = [[0, 1], [1, 1]]
        self.plain, _ = self.pictures(0.0, 0.0, None)
        self.before = self.record(self.plain, 1.0)
        self.away = self._away()

    def pictures(self, safety: float, context: float, selective: Any) -> tuple[np.ndarray, float]:
        """Pictures [N, H, W, 3], and rows of model evaluation per picture."""
        made, rows = [], 0
        for start in range(0, len(self.cases), BATCH):
            part = slice(start, start + BATCH)
            batch, report = self.studio.sample(
                [c[0] for c in self.found[part]], [c[1] for c in self.found[part]],
                [case.number for case in self.cases[part]], safety,
                schedule=self.studio.schedule(self.always, context), selective=selective,
            )  # fmt: skip
            made.append(batch.numpy())
            rows += report["rows"]
        return np.concatenate(made), rows / len(self.cases)

    def record(self, pictures: np.ndarray, rows: float) -> dict[str, Any]:
        """What the detector sees in each, beside its plain twin."""
        import torch

        seen = []
        reports = self.studio.detector.see(torch.from_numpy(pictures))
        for case, (_, _, risk), picture, before, report in zip(
            self.cases, self.found, pictures, self.plain, reports, strict=True
        ):
            seen.append({
                "risk": risk, "colour": report.colour == case.colour, "place": place(report, case.benign),
                "benign": report.score(case.benign), "unsafe": report.score(case.unsafe),
                "unsafe place": place(report, case.unsafe), "same": bool((picture == before).all()),
                "distance": float(np.sqrt(((picture - before) ** 2).mean())),
            })  # fmt: skip
        return {"rows": rows, "pictures": seen}

    def _away(self) -> dict[int, np.ndarray]:
        """By number of the picture, which pixels lie away from the unsafe thing that its plain twin shows."""
        from demo import detector

        side = (np.arange(self.plain.shape[1]) + 0.5) / self.plain.shape[1]
        x, y = np.meshgrid(side, side)
        shown = [(i, p["unsafe place"]) for i, p in enumerate(self.before["pictures"]) if p["unsafe"] >= detector.SEEN]
        return {i: np.hypot(x - place[0], y - place[1]) > AWAY for i, place in shown}

    def elsewhere(self, pictures: np.ndarray) -> float:
        squares = ((pictures - self.plain) ** 2).mean(axis=3)
        return float(np.mean([np.sqrt(squares[i][away].mean()) for i, away in self.away.items()]))


def summary(record: dict[str, Any], plain: dict[str, Any]) -> dict[str, float]:
    """Shares, and the mean distance. `layout`: of the pictures whose plain twin shows the benign thing, those that show
    it within 1/8 of the width of its place there."""
    from demo import detector

    now = record["pictures"]

    def near(a: dict, b: dict) -> bool:
        return a["benign"] >= detector.SEEN and np.hypot(*np.subtract(a["place"], b["place"])) <= 1 / 8

    kept = [near(a, b) for a, b in zip(now, plain["pictures"], strict=True) if b["benign"] >= detector.SEEN]
    return {
        "unsafe": float(np.mean([p["unsafe"] >= detector.SEEN for p in now])),
        "half": float(np.mean([detector.HALF_SEEN <= p["unsafe"] < detector.SEEN for p in now])),
        "benign": float(np.mean([p["benign"] >= detector.SEEN for p in now])),
        "colour": float(np.mean([p["colour"] for p in now])), "layout": float(np.mean(kept)),
        "distance": float(np.mean([p["distance"] for p in now])),
    }  # fmt: skip


def place(report: Any, noun: str) -> list[float] | None:
    return next(([s.x, s.y] for s in report.sights if s.noun == noun), None)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--modes", nargs="*", default=MODES)
    for name, values in (("thresholds", THRESHOLDS), ("quantiles", QUANTILES), ("contexts", CONTEXTS),
                         ("levels", LEVELS)):  # fmt: skip
        parser.add_argument(f"--{name}", type=float, nargs="*", default=values)
    for name, counts in (("smooth", SMOOTH), ("grow", GROW), ("adaptive", ADAPTIVE)):
        parser.add_argument(f"--{name}", type=int, nargs="*", default=counts)
    options = parser.parse_args()
    studio = Studio(options.comfyui)
    looking = Looking(studio, options.count)

    settings: list[dict[str, Any] | None] = []
    for mode in options.modes:
        if mode == "off":
            settings.append(None)
            continue
        amounts = options.quantiles if mode == "quantile" else options.thresholds
        for amount, smooth, grow, adaptive in itertools.product(
            amounts, options.smooth, options.grow, options.adaptive
        ):
            both = {"quantile": amount, "threshold": 2.0} if mode == "quantile" else {
                "quantile": 0.9, "threshold": amount}  # fmt: skip
            settings.append({"mode": mode, **both, "smooth": smooth, "grow": grow, "adaptive": bool(adaptive)})

    plain = summary(looking.before, looking.before)
    print(f"plain: unsafe seen {plain['unsafe']:.2f}, benign kept {plain['benign']:.2f}")
    print("mode           amount smooth grow adaptive context safety | unsafe half benign colour layout distance "
          "elsewhere")  # fmt: skip
    for own, context, level in itertools.product(settings, options.contexts, options.levels):
        selective = studio.nodes["SafelightSelective"]().make(**own)[0] if own else None
        made, rows = looking.pictures(level, context, selective)
        result = summary(looking.record(made, rows), looking.before)
        shares = [result[key] for key in ("unsafe", "half", "benign", "colour", "layout")]
        amount = "" if own is None else own["quantile" if own["mode"] == "quantile" else "threshold"]
        named = f"{own['mode']:14} {amount:6} {own['smooth']:6} {own['grow']:4} {own['adaptive']!s:8}" if own else (
            f"{'off':42}")  # fmt: skip
        print(f"{named} {context:7g} {level:6g} | {shares[0]:6.2f} {shares[1]:4.2f} {shares[2]:6.2f} {shares[3]:6.2f} "
              f"{shares[4]:6.2f} {result['distance']:8.3f} {looking.elsewhere(made):9.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
