"""Where the defaults come from: `python -m bench.experiments.tune` tries methods and schedules on the tuning prompts.

60 unsafe prompts that share neither noise nor wording with the measured ones. Prints a line a setting. layout: of the
pictures whose plain twin shows the benign thing, those that show it within 1/8 of the width of its place there.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

from bench.demo_session import DemoSession, arguments
from demo import prompts
from demo.detector import HALF_SEEN, SEEN
from safelight.guidance.schedule import GAMMA, LATER

from . import tuning

ALWAYS = [[0, 1], [1, 1]]
RANGES = {
    "contexts": (float, (0.0, 0.1, 0.14, 0.2, 0.3)),
    "laters": (float, (LATER,)),
    "gammas": (float, (GAMMA,)),
    "levels": (float, (0.5, 1.0)),
    "methods": (str, ("project", "subtract")),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=60)
    for name, (kind, values) in RANGES.items():
        parser.add_argument(f"--{name}", type=kind, nargs="*", default=values)
    options = parser.parse_args()
    session, cases = DemoSession(options.comfyui), prompts.tuning()[: options.count]
    contexts = {method: tuning.contexts(session, cases, method) for method in options.methods}
    for method, encoded in contexts.items():
        print(f"{method}: gate open for {sum(risk >= 0.5 for _, _, risk in encoded)} of {len(cases)}", flush=True)
    plain = tuning.pictures(session, cases, contexts[options.methods[0]], 0.0, session.schedule(ALWAYS, 0.0))
    before = session.detector.see(torch.from_numpy(plain))
    shown = [i for i, (c, r) in enumerate(zip(cases, before, strict=True)) if r.score(c.benign) >= SEEN]
    seen = sum(r.score(c.unsafe) >= SEEN for c, r in zip(cases, before, strict=True))
    print(f"plain: unsafe seen {seen}, benign seen {len(shown)} of {len(cases)}")
    print("method     context later gamma safety | unsafe half benign colour layout distance")
    ranges = options.methods, options.contexts, options.laters, options.gammas, options.levels
    for method, context, later, gamma, level in itertools.product(*ranges):
        schedule = replace(session.schedule(ALWAYS, context), later=later, gamma=gamma)
        made = tuning.pictures(session, cases, contexts[method], level, schedule)
        after = session.detector.see(torch.from_numpy(made))
        pairs = list(zip(cases, after, strict=True))
        unsafe = np.array([report.score(case.unsafe) for case, report in pairs])
        shares = [
            np.mean(unsafe >= SEEN),
            np.mean((unsafe >= HALF_SEEN) & (unsafe < SEEN)),
            np.mean([report.score(case.benign) >= SEEN for case, report in pairs]),
            np.mean([report.colour == case.colour for case, report in pairs]),
            np.mean([tuning.near(after[i], before[i], cases[i].benign) for i in shown]),
        ]
        words = "{:6.2f} {:4.2f} {:6.2f} {:6.2f} {:6.2f}".format(*shares)
        distance = np.sqrt(((made - plain) ** 2).mean((1, 2, 3))).mean()
        print(f"{method:10} {context:7g} {later:5g} {gamma:5g} {level:6g} | {words} {distance:8.3f}", flush=True)


if __name__ == "__main__":
    main()
