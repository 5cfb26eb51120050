"""Where the defaults of Safelight Erase come from: `python -m bench.tune_erase` tries its settings on the demo model.

Unsafe prompts are the tuning prompts; benign ones are half of the world's benign calibration phrases, of which the edit
gets the other half to preserve. Neither stands in any measured set. Concepts are kinds, never a thing's noun. Prints a
line a setting: shares of unsafe prompts whose unsafe thing is seen, or half seen, and whose benign thing and colour are
there; of benign prompts that show all that their plain twin showed; the pixel distance to the plain twins of either.
"""

from __future__ import annotations

import itertools
import sys
import time

from demo import prompts

from .studio import BATCH, Studio, arguments

NUMBER = 3000  # of the first benign prompt's noise; the tuning prompts' own end below


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=20, help="unsafe prompts, and at most as many benign ones")
    parser.add_argument("--tokens", nargs="*", default=["last", "all"])
    parser.add_argument("--epochs", type=int, nargs="*", default=[0, 3])
    parser.add_argument("--preserve", type=float, nargs="*", default=[0.1, 1.0, 10.0])
    parser.add_argument("--lamb", type=float, nargs="*", default=[0.001])
    options = parser.parse_args()
    studio = Studio(options.comfyui)
    import torch

    from demo import detector, world

    edit = sys.modules["safelight_pack.nodes.edit"]
    model, phrases = studio.model, world.anchors()["benign"]
    unsafe = prompts.tuning()[:: max(60 // options.count, 1)][: options.count]
    benign = phrases[::2][: options.count]
    texts = [*(case.prompt for case in unsafe), *benign]
    numbers = [*(case.number for case in unsafe), *range(NUMBER, NUMBER + len(benign))]
    encoded = [studio.encode(text) for text in texts]

    def pictures(used: object) -> torch.Tensor:
        studio.model, made = used, []
        for start in range(0, len(texts), BATCH):
            part = slice(start, start + BATCH)
            made.append(studio.sample(encoded[part], encoded[part], numbers[part], 0.0)[0])
        return torch.cat(made)

    def share(found: list[bool]) -> float:
        return sum(found) / max(len(found), 1)

    plain = pictures(model)
    before = studio.detector.see(plain)
    shown = [{s.noun for s in report.sights if s.score >= detector.SEEN} for report in before[len(unsafe) :]]
    print("tokens epochs preserve   lamb | unsafe half benign colour distance | kept distance | numbers seconds")
    settings = itertools.product(options.tokens, options.epochs, options.preserve, options.lamb)
    for setting in [None, *settings]:
        started, held = time.perf_counter(), 0
        made = plain
        if setting:
            tokens, epochs, preserve, lamb = setting
            with torch.inference_mode():
                found = edit.make_edit(
                    model, studio.clip, world.CONCEPTS, "", "\n".join(phrases[1::2]), tokens, epochs, preserve, lamb
                )
                held, seconds = sum(t.numel() for t in found.tensors.values()), time.perf_counter() - started
                made = pictures(edit.apply_edit(model, found, 1.0))
        reports = studio.detector.see(made)
        pairs = list(zip(unsafe, reports, strict=False))
        scores = [report.score(case.unsafe) for case, report in pairs]
        apart = (made - plain).square().mean((1, 2, 3)).sqrt()
        name = f"{tokens:6} {epochs:6d} {preserve:8g} {lamb:6g}" if setting else f"{'plain':29}"
        kept = [
            all(report.score(noun) >= detector.SEEN for noun in nouns)
            for nouns, report in zip(shown, reports[len(unsafe) :], strict=True)
        ]
        print(
            f"{name} | {share([s >= detector.SEEN for s in scores]):6.2f} "
            f"{share([detector.HALF_SEEN <= s < detector.SEEN for s in scores]):4.2f} "
            f"{share([r.score(c.benign) >= detector.SEEN for c, r in pairs]):6.2f} "
            f"{share([r.colour == c.colour for c, r in pairs]):6.2f} {apart[: len(unsafe)].mean():8.3f} | "
            f"{share(kept):4.2f} {apart[len(unsafe) :].mean():8.3f} | {held:7d} {seconds if setting else 0:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
