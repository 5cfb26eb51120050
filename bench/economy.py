"""`python -m bench economy`: how close an economical run stays to the full dual evaluation, and at what cost.

On the demo model, for prompts that took no part in choosing anything: the modes of the input `economy`, the same with
other amounts of work, and two other ways to save (the two prompts by turns without memory; the difference of the two
kept for some calls). Each picture is compared with the full evaluation's at the same place of the slider.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .safety import looking, sets
from .safety.plots import INK, pyplot, save
from .safety.reading import Row
from .safety.statistics import Estimate, Resamples
from .safety.store import fingerprint
from .studio import BATCH, CFG, ROOT, SAMPLER, SCHEDULER, STEPS, Studio, together

CACHE = ROOT / "output" / "bench" / "economy"
RESULTS = ROOT / "bench" / "results"
SEED = 3  # of the prompts; `bench safety` draws with another one
LEVELS = (0.25, 0.5, 0.75)
SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "heun", "uni_pc")
MODES = ("balanced", "free")
OFF = "off"


@dataclass(frozen=True)
class Way:
    """A way to save rows. kind: "mode" (of the input), "allowed" (the same with another amount), "by turns" (without
    memory) or "kept" (the difference of the two prompts is renewed on every n-th call); amount: of the kind."""

    kind: str
    amount: Any = None

    @property
    def name(self) -> str:
        if self.kind == "allowed":
            return f"memory, {self.amount:.0%} more rows" if self.amount else "memory, one call of both prompts"
        return {
            "mode": f"{self.amount}",
            "by turns": "by turns, nothing remembered",
            "kept": f"difference renewed every {self.amount} calls",
        }[self.kind]


WAYS = (
    *(Way("mode", mode) for mode in (OFF, *MODES)), *(Way("allowed", share) for share in (0.0, 0.15, 0.2, 0.3)),
    Way("by turns"), *(Way("kept", calls) for calls in (2, 3)),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One row of the tables: a way at a place of the slider, with a sampler. safety 0 is plain sampling."""

    way: Way
    safety: float
    sampler: str = SAMPLER

    @property
    def key(self) -> str:
        return f"{self.sampler} {self.safety:g} {self.way.kind} {self.way.amount}".replace(" ", "_")


def runs(quick: bool) -> list[Run]:
    off = WAYS[0]
    found = []
    for sampler in (SAMPLER, *(() if quick else SAMPLERS)):
        levels = (0.5,) if quick or sampler != SAMPLER else LEVELS
        ways = WAYS if sampler == SAMPLER and not quick else WAYS[:3]
        found += [Run(off, 0.0, sampler), *(Run(way, level, sampler) for level in levels for way in ways)]
    return found


class Maker:
    """Pictures of the prompts, one noise each."""

    def __init__(self, comfyui: Path | None, cases: list[sets.Case]) -> None:
        from demo import world

        self.studio = Studio(comfyui)
        self.cases = cases
        found = [self.studio.context(case.prompt, method="project", concepts=world.CONCEPTS) for case in cases]
        self.positive, self.safe = ([one[i] for one in found] for i in (0, 1))
        self._dual = sys.modules["safelight_pack.nodes.dual"]

    def pictures(self, run: Run) -> tuple[np.ndarray, float]:
        """Bytes [N, H, W, 3], and rows of model evaluation a picture."""
        import torch

        node, made, rows = self.studio.nodes["SafelightKSampler"](), [], 0
        economy = run.way.amount if run.way.kind == "mode" else MODES[0]
        for start in range(0, len(self.cases), BATCH):
            part = slice(start, start + BATCH)
            numbers = [case.number for case in self.cases[part]]
            latent = {"samples": self.studio.empty(len(numbers)), "batch_index": numbers}
            with torch.inference_mode(), self._memory(run.way):
                latents, report = node.sample(
                    self.studio.model, together(self.positive[part]), together(self.safe[part]), self.studio.negative,
                    latent, self.studio.seed, STEPS, CFG, run.sampler, SCHEDULER, 1.0, run.safety, economy=economy,
                )["result"][:2]  # fmt: skip
            made.append((self.studio.decode(latents["samples"]).numpy() * 255).round().astype(np.uint8))
            rows += json.loads(report)["rows"]
        return np.concatenate(made), rows / len(self.cases)

    @contextlib.contextmanager
    def _memory(self, way: Way) -> Iterator[None]:
        """While open, economical runs remember in this way."""
        usual = self._dual.Memory
        self._dual.Memory = memory(usual, way)
        try:
            yield
        finally:
            self._dual.Memory = usual


def memory(usual: Any, way: Way) -> Callable[[float, int], Any]:
    """What makes the memory of a run; usual: safelight.economy.Memory."""

    class ByTurns(usual):
        def turn(self, weight: float, based: bool, kind: object = None) -> str:
            self.forget()
            self._due += weight
            if self._due < 0.5:
                return "written"
            self._due -= 1.0
            return "safe"

        def complete(self, turn: str, denoised: Any, *_: Any) -> tuple[Any, Any]:
            return denoised, denoised

    class Kept(usual):
        def turn(self, weight: float, based: bool, kind: object = None) -> str:
            self._calls += 1
            return "both" if self._calls % way.amount == 1 else "written"

        def complete(self, turn: str, denoised: Any, base: Any, sigma: float, based: bool) -> tuple[Any, Any]:
            return denoised, denoised + (self._safe - self._written)

    if way.kind == "allowed":
        return lambda _, steps: usual(way.amount, steps)
    return {"by turns": ByTurns, "kept": Kept}.get(way.kind, usual)


def made(chosen: list[Run], maker: Callable[[], Maker], folder: Path) -> dict[str, tuple[np.ndarray, float]]:
    """Pictures and rows by key; what lies in the folder is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    for run in tqdm(chosen, desc="making"):
        path = folder / f"{run.key}.npz"
        if not path.exists():
            pictures, rows = maker().pictures(run)
            partial = path.with_suffix(".part")
            with partial.open("wb") as file:
                np.savez_compressed(file, pictures=pictures, rows=rows)
            partial.replace(path)
    found = {}
    for run in chosen:
        with np.load(folder / f"{run.key}.npz") as data:
            found[run.key] = data["pictures"], float(data["rows"])
    return found


def figures(chosen: list[Run], cases: list[sets.Case], pictures: dict[str, tuple[np.ndarray, float]]) -> list[dict]:
    """For each run that is not plain: rows, what is seen and kept, and how unlike the full evaluation it is."""
    looker, resamples, off = looking.Looker(), Resamples(len(cases)), WAYS[0]
    looks = {key: looker.look(found) for key, (found, _) in pictures.items()}
    table = []
    for run in tqdm([run for run in chosen if run.safety > 0], desc="looking"):
        plain, full = Run(off, 0.0, run.sampler).key, Run(off, run.safety, run.sampler).key
        data = {"method": run.way.name, "family": "dual", "x": run.safety, "context": None, "gated": False}
        own, before = ({**data, "columns": looking.columns(looker, cases, looks[key], looks[plain])}
                       for key in (run.key, plain))  # fmt: skip
        row = Row(own, before, resamples)
        apart = {key: looker.distances(pictures[key][0], pictures[full][0]) for key in (run.key, plain)}
        unlike = resamples.ratio(apart[run.key], apart[plain], len(cases))
        table.append({
            "way": run.way.name, "kind": run.way.kind, "sampler": run.sampler, "safety": run.safety,
            "rows": pictures[run.key][1] / pictures[plain][1],
            **{name: _interval(value) for name, value in (
                ("unsafe seen", row.seen()), ("half seen", row.half_seen()), ("benign kept", row.benign_kept()),
                ("layout kept", row.layout_kept()), ("distance", row.distance()), ("unlike full", unlike))},
            "turned out another": _interval(resamples.share(apart[run.key] > 0.5 * apart[plain])),
        })  # fmt: skip
    return table


def _interval(found: Estimate) -> list[float]:
    return [round(value, 4) for value in (found.value, found.low, found.high)]


def text(results: dict[str, Any], picture: str) -> str:
    """The report, in Markdown."""
    head = ("way", "safety", "rows", "unlike full", "turned out another", "unsafe seen", "layout kept", "distance")
    lines = [
        "# Economy: the dual blend at almost no extra cost", "",
        f"`python -m bench economy` wrote this. {results['prompts']} prompts that name something unsafe, drawn with "
        f"seed {results['seed']} and used for nothing else; {STEPS} steps, CFG {CFG:g}, {SCHEDULER}, preset balanced, "
        f"{results['host']}. In brackets, 95 % intervals (bootstrap over prompts).", "",
        "- **rows**: of model evaluation, divided by plain sampling's.",
        "- **unlike full**: mean perceptual distance to the full evaluation's picture (`off`, same noise, same place "
        "of the slider), divided by the full evaluation's own distance to the plain picture. 0: the same picture.",
        "- **turned out another**: pictures further from the full evaluation's than half of what that changed.",
        "- **distance**: to the plain picture, on the detector's features, as in `safety.md`.", "",
        f"![How unlike the full evaluation, by rows and by sampler]({picture})", "",
    ]  # fmt: skip
    for sampler in dict.fromkeys(row["sampler"] for row in results["table"]):
        own = [row for row in results["table"] if row["sampler"] == sampler]
        lines += [f"## {sampler}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in own:
            shares = [_percent(row[name]) for name in head[3:7]]
            distance = "{:.3f} ({:.3f}–{:.3f})".format(*row["distance"])
            cells = [row["way"], f"{row['safety']:g}", f"{row['rows']:.2f}", *shares, distance]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _percent(interval: list[float]) -> str:
    return "{:.0f} % ({:.0f}–{:.0f})".format(*(100 * value for value in interval))


def draw(table: list[dict], path: Path) -> None:
    """Left: unlikeness by rows, for each way to save. Right: that of the two modes, by sampler."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    looks = {"memory": ("#0072B2", "o"), "by turns": ("#D55E00", "^"), "difference": ("#E69F00", "s")}
    named = {"mode": "memory", "allowed": "memory", "by turns": "by turns", "kept": "difference"}
    words = {"memory": "memory of the other prompt (ours)", "by turns": "by turns, nothing remembered",
             "difference": "difference kept for 2 or 3 calls"}  # fmt: skip
    own = [row for row in table if row["sampler"] == SAMPLER and row["way"] != OFF]
    for kind, (colour, marker) in looks.items():
        for level, dashes in zip(LEVELS, (":", "-", "--"), strict=True):
            rows = [row for row in own if named[row["kind"]] == kind and row["safety"] == level]
            rows.sort(key=lambda row: row["rows"])
            label = words[kind] if level == LEVELS[1] else None
            left.plot([r["rows"] for r in rows], [100 * r["unlike full"][0] for r in rows], dashes, color=colour,
                      marker=marker, label=label)  # fmt: skip
    left.set(xlabel="rows of model evaluation, relative to plain", ylabel="unlike the full evaluation, %",
             title=f"{SAMPLER}, safety .25 (dotted), .5, .75 (dashed)")  # fmt: skip
    left.set_ylim(0, 1.3 * left.get_ylim()[1])  # room for the legend
    left.legend(loc="upper right")
    samplers = list(dict.fromkeys(row["sampler"] for row in table))
    for shift, (mode, colour) in zip((-0.2, 0.2), (("balanced", "#b8860b"), ("free", "#c2185b")), strict=True):
        middle = {row["sampler"]: row for row in table if (row["way"], row["safety"]) == (mode, 0.5)}
        rows = [middle[name] for name in samplers]
        values = np.array([r["unlike full"] for r in rows]) * 100
        right.bar(np.arange(len(rows)) + shift, values[:, 0], 0.36, color=colour, label=mode,
                  yerr=np.abs(values[:, 1:] - values[:, :1]).T, ecolor=INK, capsize=2)  # fmt: skip
    right.set(title="by sampler, safety .5", ylabel="unlike the full evaluation, %")
    right.set_xticks(range(len(samplers)), samplers, rotation=25, ha="right")
    right.legend()
    save(figure, path)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m bench economy", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI checkout; without it the installed package")
    parser.add_argument("--quick", action="store_true", help="few prompts, one sampler")
    parser.add_argument("--count", type=int, default=100, help="prompts (default: 100)")
    parser.add_argument("--out", type=Path, help="folder of the results")
    options = parser.parse_args(argv)
    from .safety.command import host_name

    drawn = sets.draw(SEED)["unsafe"]
    cases = sets.evenly(drawn, 8 if options.quick else min(options.count, len(drawn)))
    chosen, host = runs(options.quick), host_name(options.comfyui)
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    held: list[Maker] = []

    def maker() -> Maker:
        held.append(held[0] if held else Maker(options.comfyui, cases))
        return held[0]

    folder = CACHE / fingerprint(len(cases), host, own)
    try:
        pictures = made(chosen, maker, folder)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    results = {"seed": SEED, "prompts": len(cases), "host": host, "table": figures(chosen, cases, pictures)}
    out = options.out or (CACHE / "results" if options.quick else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    (out / "economy.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results["table"], out / "economy.png")
    (out / "economy.md").write_text(text(results, "economy.png"), encoding="utf-8")
    print(f"Results and report are in {out}")
    return 0
