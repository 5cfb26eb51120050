"""The report of `bench safety` and the README's block, written from the committed figures alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.studio import DENOISE
from demo.detector import HALF_SEEN, SEEN

from . import examples, plots, tables, verdicts
from .reading import IMAGE, NEAR, PLAIN, PROJECT, SELECTIVE, Reading
from .statistics import CERTAIN, RESAMPLES

Pictures = Callable[[str], np.ndarray]
BLOCK = re.compile(r"(<!-- evidence:begin -->\n).*?(<!-- evidence:end -->)", re.DOTALL)

CAVEAT = """\
Mind whose ground this is. Safelight was developed on this model, whose text encoder knows 93 words, with other prompts;
the neighbours were made for Stable Diffusion, and their authors report far more there. Their constants are those
published, at CFG 7.5; the small model works at CFG 3, and CFG multiplies the guidance: strength 2.5 makes up for it,
and a range of strengths is measured. All methods are given the same words for kinds ("a weapon"), never a thing's noun.
The world is small: emoji on coloured backgrounds. These figures say how the methods behave there, and nothing about
your checkpoint and your prompts; for those there is `bench i2p`."""

EDITS = """\
An edit changes the model or its text encoder once, and sampling costs what it did; it has no gate, and acts on every
prompt. All are made from words for kinds, as their nodes' defaults have it; only the adapters are trained on pictures,
with the detector as the judge, of prompts that are not measured here. The time is of one processor thread."""

REPRODUCE = """\
```
python run.py bench safety            # everything; interrupted, it goes on where it was
python run.py bench safety --quick    # a few prompts, to see that it works
python run.py bench safety --report   # this report and the README's block again, from safety.json
```"""


def definitions(reading: Reading) -> str:
    """Every measure, in words."""
    redrawn = "not measured" if reading.redrawn is None else f"{reading.redrawn:.3f}"
    words = (Path(__file__).parent / "definitions.md").read_text("utf-8")
    return words.format(
        seen=SEEN, half=HALF_SEEN, near=NEAR, resamples=RESAMPLES, certain=100 * CERTAIN, redrawn=redrawn
    ).strip()


def picture(files: dict[str, str], name: str, about: str, folder: str = "") -> list[str]:
    return [f"![{about}]({folder}{files[name]})", ""] if name in files else []


def made(results: dict[str, Any]) -> str:
    """How the figures were made, in a sentence."""
    how = results["made"]
    sizes = ", ".join(f"{len(cases)} {name}" for name, cases in results["sets"].items())
    text = (
        f"Seed {how['seed']}; {sizes} prompts; {how['steps']} steps of {how['sampler']} / {how['scheduler']}, CFG "
        f"{how['cfg']:g}; {how['host']}; fingerprint `{how['fingerprint']}`; {how['minutes']:.0f} minutes."
    )
    return f"{text} **A quick run: a sanity check, not a result.**" if how["quick"] else text


def honest(reading: Reading) -> list[str]:
    """The section that says who is ahead."""
    lines = ["## Honest reading", "", "Written from the figures by the same command.", ""]
    lines += [f"- {sentence}" for sentence in verdicts.front(reading)]
    for method in verdicts.DEFAULTS:
        if reading.slider(method):
            lines += [f"- {sentence}" for sentence in verdicts.ahead(reading, method)]
    lines += [f"- {sentence}" for sentence in (*verdicts.price(reading), *verdicts.gate(reading))]
    lines += ["", CAVEAT, "", "### Every position of the slider", "", verdicts.slider(reading), ""]
    for method in verdicts.DEFAULTS:
        if reading.slider(method):
            lines += [f"### The neighbours beside {method}", "",
                      "Points of unsafe seen, the neighbour's less the slider's at equal cost: below 0 the neighbour "
                      "is better.", "", verdicts.neighbours(reading, method), ""]  # fmt: skip
    return lines


def text(reading: Reading, files: dict[str, str]) -> str:
    """The whole report."""
    shown = [row for row in (reading.find(PLAIN), reading.find("CASG", 1.0), reading.find(PROJECT, 0.5),
                             reading.find(PROJECT, 1.0)) if row]  # fmt: skip
    lines = [
        "# Safety: every method on the small model", "",
        "What every method takes out of a picture, and what it costs, on the demo model. The measures are defined "
        "[below](#definitions).", "", made(reading.results), "", " ".join(verdicts.short(reading)), "",
        *picture(files, "front", "Unsafe seen against layout kept and against distance, for every method"),
        "Whiskers are 95 % intervals; a number stands at a line's strongest end. The grey line is the front.", "",
        tables.headline(reading), "",
        *honest(reading),
        "## Unsafe prompts: what is seen, what is kept", "", tables.seen_and_kept(reading), "",
        "## Unsafe prompts: how far, and at what cost", "", tables.cost(reading), "",
        *picture(files, "front_pixel", "Unsafe seen against distance in pixels"),
        "## Unsafe seen, by what the prompt says", "", tables.groups(reading), "",
        "## The slider", "", *picture(files, "slider", "Curves over the slider, for every dual method"),
    ]  # fmt: skip
    if reading.contexts(PROJECT) or reading.contexts(SELECTIVE):
        lines += ["## The context threshold", "", *picture(files, "context", "Curves over the context threshold"),
                  tables.contexts(reading), ""]  # fmt: skip
    lines += ["## Benign prompts", "",
              "*benign*: nothing unsafe is named. *neighbours*: things that look like something unsafe, or stand near "
              "it in meaning. Bit-identical pictures are the promise of the gate.", "",
              *picture(files, "benign", "Distance to the plain picture on benign prompts"), tables.benign(reading), ""
              ]  # fmt: skip
    if "index" in files:
        lines += ["## Proximal disruption", "", *picture(files, "index", "The proximal-disruption index"),
                  tables.indices(reading), ""]  # fmt: skip
    if reading.edits:
        lines += ["## Edits: what is solved or learned", "", EDITS, "", tables.edits(reading), "",
                  "Beside plain pictures, at strength 1 (the gate of a dual method is not theirs):", "",
                  *(f"- {sentence}" for sentence in verdicts.edits(reading)), ""]  # fmt: skip
    if reading.of(IMAGE):
        lines += ["## Image to image", "",
                  f"From the plain picture of an unsafe prompt, with that prompt, denoise {DENOISE:g} and other noise: "
                  "the picture shows the unsafe thing already. Distances are to what plain image to image makes of "
                  "it.", "", tables.seen_and_kept(reading, rows=reading.of(IMAGE)), ""]  # fmt: skip
    lines += ["## Confusion by category", "",
              "Of the prompts that name a category (or imply it), the share of pictures that show each category. A row "
              "can add up to more than 100 %: a picture may show two.", "",
              *picture(files, "confusion", "Categories named against categories seen"),
              tables.confusions(reading, shown), ""]  # fmt: skip
    if "examples" in files:
        lines += ["## Examples", "", examples.RULE, "",
                  *picture(files, "examples", "The same prompts and noises by several methods")]  # fmt: skip
    lines += ["## Definitions", "", definitions(reading), "", "## Reproduce", "", REPRODUCE, ""]
    return "\n".join(lines)


def write_report(results: dict[str, Any], folder: Path, pictures: Pictures | None = None) -> Path:
    """safety.md and its pictures in `folder`. pictures: a row's pictures [N, H, W, 3] by its key; without it the grid
    of examples that lies in the folder stays."""
    reading = Reading(results)
    files = plots.draw(reading, folder)
    grid = folder / examples.FILE
    if pictures is not None:
        examples.write(reading, pictures, grid)
    if grid.exists():
        files["examples"] = examples.FILE
    path = folder / "safety.md"
    path.write_text(text(reading, files), encoding="utf-8")
    return path


def headline(results: dict[str, Any], folder: str = "bench/results") -> str:
    """The README's block: a table, the front, and what they say. folder: where the report is, seen from the README."""
    reading = Reading(results)
    count = len(reading.sets["unsafe"])
    benign = sum(len(reading.sets[cases]) for cases in ("benign", "neighbours"))
    return "\n".join([
        f"{count} unsafe and {benign} benign prompts; 95 % intervals in brackets. Every figure, with its definition: "
        f"[the report]({folder}/safety.md).", "",
        tables.headline(reading), "",
        f"![Unsafe seen against layout kept and against distance, for every method]({folder}/safety_front.png)", "",
        "*Left and up is better; whiskers are 95 % intervals, a number stands at a line's strongest end.*", "",
        " ".join([*verdicts.short(reading), *verdicts.gate(reading)]), "",
        "**Who is ahead.** " + " ".join([*verdicts.in_brief(reading), *verdicts.price(reading)]),
    ])  # fmt: skip


def publish(
    results: dict[str, Any], folder: Path, readme: Path | None = None, pictures: Pictures | None = None
) -> Path:
    """The report in `folder`, and the README's block between its marks."""
    before = "" if readme is None else readme.read_text("utf-8")
    if readme is not None and not BLOCK.search(before):
        raise ValueError(f"{readme.name}: no <!-- evidence:begin --> ... <!-- evidence:end --> to write between")
    path = write_report(results, folder, pictures)
    if readme is not None:
        block = headline(results, folder.relative_to(readme.parent).as_posix())
        readme.write_text(BLOCK.sub(lambda marks: f"{marks[1]}{block}\n{marks[2]}", before), encoding="utf-8")
    return path
