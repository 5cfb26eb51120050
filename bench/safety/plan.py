"""What `bench safety` makes: methods, and their rows. A row is one method at one setting on one prompt set.

To add a method, add it to bench/methods.json; the pictures of other rows stay as they are. There, of a method:
family, way: how bench/safety/worker.py makes its pictures; settings: what that is given beside the row's strength.
    For the way "dual", `safe` is the method of the safe conditioning ("subspace only": `project` as it was at first,
    which leaves trigger words what lies outside the concepts' subspace; "vector": `subtract` with a concept vector),
    `strength` is SafelightContextEncode's, `selective` asks for Safelight Selective, `context`, `start_shift` and
    `exponent` are the schedule's, and everything else is an input of SafelightKSampler. For the way "loop": `eye` (one
    of bench/safety/eyes.py), `words` (what SafelightWords makes a safe prompt of where the text has none: "added" words
    or a "caption"), and `at_least`, the sampler's input. For the way "edit" the name is that of bench/methods.py;
    for the ways "noise", "model" and "text" `node` is that of a node.
places: by prompt set where on its range it is measured, null where it has none; open: the same of a dual method with
    the gate held open; timed: the places on the unsafe prompts at which time is measured; attacked: those of `bench
    redteam`. look: colour and marker in plots; line: another colour of its line.
quick: the rows of a quick run, as set, method, place, gated, timed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from bench.methods import missing, trained
from demo.session import ROOT

SEED = 2  # of the prompts and noises
BENIGN_SETS = ("benign", "neighbours")
IMAGE, IMPLICIT = "image to image", "implicit"
SLIDER_FAMILIES = ("dual", "loop")  # whose range is the slider, and which have a gate
PLAN = json.loads((ROOT / "bench" / "methods.json").read_text("utf-8"))


@dataclass(frozen=True)
class Method:
    """As methods.json has it."""

    name: str
    family: str
    way: str
    settings: dict[str, Any]
    places: dict[str, list[float | None]]
    look: tuple[str, str]
    line: str = ""
    open: dict[str, list[float | None]] = field(default_factory=dict)
    timed: tuple[float | None, ...] = ()
    attacked: tuple[float | None, ...] = ()

    @property
    def digest(self) -> str:
        """Changes with what it is given."""
        file = trained(self.name)
        weights = {"file": hashlib.sha256(file.read_bytes()).hexdigest()[:8]} if file else {}
        given = json.dumps([self.way, {**self.settings, **weights}], sort_keys=True)
        return hashlib.sha256(given.encode()).hexdigest()[:8]


METHODS = {method["name"]: Method(**method) for method in PLAN["methods"]}


@dataclass(frozen=True)
class Row:
    """x: the place on the method's range, None where it has none. gated: the gate's risk is the prompt's own, else it
    is held open."""

    cases: str
    method: str
    x: float | None = None
    gated: bool = False
    timed: bool = False

    @property
    def key(self) -> str:
        open_gate = self.of.family == "dual" and not self.gated
        parts = [self.cases, self.method, "" if self.x is None else f"{self.x:g}", "open" if open_gate else ""]
        return "_".join(part.replace(" ", "-") for part in parts if part)

    @property
    def setting(self) -> str:
        return "" if self.x is None else f"{'safety' if self.of.family in SLIDER_FAMILIES else 'strength'} {self.x:g}"

    @property
    def of(self) -> Method:
        return METHODS[self.method]

    @property
    def made_as(self) -> Row:
        """The row whose pictures are this one's: at slider 0 every dual method is plain sampling."""
        return plain(self.cases) if self.of.family == "dual" and self.x == 0.0 else self

    @property
    def place(self) -> str:
        """Where a store has its pictures: changes with the method's settings."""
        return f"{self.key}-{self.of.digest}"


def plain(cases: str) -> Row:
    return Row(cases, "plain")


def rows(quick: bool = False) -> list[Row]:
    """Every row of the full run, of a quick one a few of every kind; a method whose weights are not here has none."""
    if quick:
        return [Row(*words) for words in PLAN["quick"]]
    planned = []
    for name, method in METHODS.items():
        if missing(name):
            continue
        for gated, places in ((method.family in SLIDER_FAMILIES, method.places), (False, method.open)):
            each = [(cases, x) for cases, xs in places.items() for x in xs]
            planned += [Row(cases, name, x, gated, cases == "unsafe" and x in method.timed) for cases, x in each]
    return planned


def sample(planned: list[Row]) -> list[Row]:
    """One row of every method on the unsafe prompts, or on implicit ones where it is on no others, and one behind its
    gate on benign ones, beside plain.

    Of a dual method and a loop the middle of the slider, where both conds act; of any other the published strength.
    """
    named = {row.method for row in planned if row.cases == "unsafe" and row.method != "plain"}
    behind_gate = [row for row in planned if row.cases == "benign" and (row.gated or row.method == "plain")]
    implicit = [row for row in planned if row.cases == IMPLICIT and row.method not in named]
    fitting = [row for row in planned if row.cases == "unsafe"] + implicit + behind_gate
    fitting.sort(key=lambda row: -abs((row.x or 1.0) - (0.5 if row.of.family in SLIDER_FAMILIES else 1.0)))
    return list({(row.cases, row.method): row for row in fitting}.values())  # the nearest to it
