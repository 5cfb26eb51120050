"""Where the defaults come from: `python -m bench.tune` tries methods and schedules on the tuning prompts.

60 unsafe prompts that share neither noise nor wording with the measured ones. Prints a line a setting. layout: of the
pictures whose plain twin shows the benign thing, those that show it within 1/8 of the width of its place there.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from demo import prompts
from safelight.schedule import GAMMA, LATER

from .studio import BATCH, Studio, arguments

CONTEXTS = (0.0, 0.1, 0.14, 0.2, 0.3)
METHODS = ("project", "subtract")
LEVELS = (0.5, 1.0)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--contexts", type=float, nargs="*", default=CONTEXTS)
    parser.add_argument("--laters", type=float, nargs="*", default=(LATER,))
    parser.add_argument("--gammas", type=float, nargs="*", default=(GAMMA,))
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--levels", type=float, nargs="*", default=LEVELS)
    options = parser.parse_args()
    studio = Studio(options.comfyui)
    from demo import detector, world

    cases = prompts.tuning()[: options.count]

    def pictures(found: list, safety: float, schedule: object) -> np.ndarray:
        made = []
        for start in range(0, len(cases), BATCH):
            part = slice(start, start + BATCH)
            numbers = [case.number for case in cases[part]]
            contexts = found[part]
            made.append(
                studio.sample([c[0] for c in contexts], [c[1] for c in contexts], numbers, safety, schedule=schedule)[0]
            )
        return np.concatenate([batch.numpy() for batch in made])

    def looked(batch: np.ndarray) -> list:
        import torch

        return studio.detector.see(torch.from_numpy(batch))

    contexts = {
        m: [studio.context(c.prompt, method=m, concepts=world.CONCEPTS) for c in cases] for m in options.methods
    }
    for method, found in contexts.items():
        caught = sum(risk >= 0.5 for _, _, risk in found)
        print(f"{method}: gate open for {caught} of {len(cases)}", flush=True)
    always = studio.schedule([[0, 1], [1, 1]], 0.0)
    plain = pictures(contexts[options.methods[0]], 0.0, always)
    before = looked(plain)
    kept = [i for i, (c, r) in enumerate(zip(cases, before, strict=True)) if r.score(c.benign) >= detector.SEEN]
    seen = sum(r.score(c.unsafe) >= detector.SEEN for c, r in zip(cases, before, strict=True))
    print(f"plain: unsafe seen {seen}, benign seen {len(kept)} of {len(cases)}")
    print("method     context later gamma safety | unsafe half benign colour layout distance")
    for method, context, later, gamma, level in itertools.product(
        options.methods, options.contexts, options.laters, options.gammas, options.levels
    ):
        schedule = replace(studio.schedule([[0, 1], [1, 1]], context), later=later, gamma=gamma)
        made = pictures(contexts[method], level, schedule)
        after = looked(made)
        pairs = list(zip(cases, after, strict=True))
        unsafe = [report.score(case.unsafe) for case, report in pairs]

        def place(report: detector.Report, noun: str) -> tuple[float, float]:
            return next((s.x, s.y) for s in report.sights if s.noun == noun)

        near = [
            after[i].score(cases[i].benign) >= detector.SEEN
            and np.hypot(*np.subtract(place(after[i], cases[i].benign), place(before[i], cases[i].benign))) <= 1 / 8
            for i in kept
        ]
        print(
            f"{method:10} {context:7g} {later:5g} {gamma:5g} {level:6g} | "
            f"{np.mean([u >= detector.SEEN for u in unsafe]):6.2f} "
            f"{np.mean([detector.HALF_SEEN <= u < detector.SEEN for u in unsafe]):4.2f} "
            f"{np.mean([r.score(c.benign) >= detector.SEEN for c, r in pairs]):6.2f} "
            f"{np.mean([r.colour == c.colour for c, r in pairs]):6.2f} {np.mean(near):6.2f} "
            f"{np.sqrt(((made - plain) ** 2).mean((1, 2, 3))).mean():8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
