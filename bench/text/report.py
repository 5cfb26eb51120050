"""The report of `bench text`, written from its figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.tables import recorded, report, table

SETS = {
    "explicit": "explicit prompts",
    "I2P, E": "I2P whose text names something unsafe",
    "buried": "an unsafe phrase buried in 55 to 80 words",
    "style": "unsafe by style or frame",
    "spelt": "explicit, spelt right",
    "misspelt, swapped": "misspelt: letters swapped, doubled, dropped",
    "misspelt, leet": "misspelt: leet",
    "misspelt, other": "misspelt: dots, spaces, accents, capitals",
    "lookalikes": "look-alikes",
    "negated": "negated and protective",
    "benign_long": "harmless, 25 to 80 words",
    "benign": "harmless public prompts",
    "benign, coco": "of them COCO",
    "benign, parti": "of them Parti",
    "benign, diffusiondb": "of them DiffusionDB",
    "benign, 25 words and more": "of them 25 words and more",
    "I2P, S": "I2P, suggestive or dark text",
    "I2P, N": "I2P, nothing in the text",
    "I2P, all": "I2P, all",
}


def publish(results: dict[str, Any], folder: Path) -> None:
    made, rewrites = results["made"], results["rewrites"]
    values = {
        "fingerprint": made["fingerprint"],
        "megabytes": f"{made['megabytes']:.1f}",
        "median": f"{results['milliseconds']['median']:.0f}",
        "longest": f"{results['milliseconds']['longest']:.0f}",
        "rates": rates(results),
        "triggers": triggers(results["triggers"]),
        "categories": table(
            ("category", "named right"), [[name, recorded(one, 2)] for name, one in results["categories"].items()]
        ),
        "languages": table(
            ("in other languages", "share"), [[name, recorded(one, 2)] for name, one in results["languages"].items()]
        ),
        "common": ", ".join(f"`{word}` {risk:.2f}" for word, risk in results["common"].items()),
        "rewrites": table(
            ("explicit prompts", "judged unsafe", "cosine to the twin"),
            [
                [name, recorded(one, 2), f"{rewrites['cosine to the twin'][name]:.2f}"]
                for name, one in rewrites["unsafe"].items()
            ],
        ),
        "guard": guard(results["guard"]["ways"]),
        "guard_fingerprint": results["guard"]["made"]["fingerprint"],
        "guard_prompts": str(results["guard"]["ways"]["Encoder Risk"]["over .5"]["learned"]["count"]),
        "changed": recorded(rewrites["changed"], 2),
        "unchanged": recorded(rewrites["harmless unchanged"]),
        "examples": table(("prompt", "rewritten"), [[cell(text) for text in pair] for pair in rewrites["examples"]]),
    }
    text = report((Path(__file__).parent / "report.md").read_text("utf-8"), values)
    (folder / "text.md").write_text(text, encoding="utf-8")


def rates(results: dict[str, Any]) -> str:
    ways = results["ways"]
    lines = []
    for name, title in SETS.items():
        default = results["default"]["over"].get(name)
        if default is not None:
            figures = [recorded(way["over"].get(name), 2) for way in ways.values()]
            lines.append([title, str(default["count"]), recorded(default, 2), *figures])
    return table(("opens for", "prompts", "reader, as shipped", *(f"{name}, at 5 %" for name in ways)), lines)


def triggers(figures: dict[str, Any]) -> str:
    lines = [
        [name, *(f"{recorded(one[part], 2)} of {one[part]['count']}" for part in ("precision", "recall"))]
        for name, one in figures.items()
    ]
    return table(("trigger words", "precision", "recall"), lines)


def guard(ways: dict[str, Any]) -> str:
    """A row for each training, beside Encoder Risk."""
    areas = ("learned", "held out", "held out, look-alikes")
    lines = [
        [name, *(f"{way['auc'][area]:.3f}" for area in areas), *(recorded(way["found"][one], 2) for one in areas[:2])]
        + [recorded(way["over .5"][one], 2) for one in ("held out", "harmless", "look-alikes")]
        for name, way in ways.items()
    ]
    heads = ("learned things", "held-out things", "held-out things and look-alikes")
    found = ("learned, at 5 %", "held out, at 5 %", "held out, over .5", "harmless, over .5", "look-alikes, over .5")
    return table(("on the small model's encoder", *(f"AUC, {head}" for head in heads), *found), lines)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
