"""What `bench safety` makes: methods, and the rows in the order in which they are made, the most telling ones first.

A row is one method at one setting on one prompt set. To add a method, add it to METHODS and name its rows in `rows` or
`quick_rows`; the pictures of other rows stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bench import edits

SEED = 2  # of the prompts and noises
SLIDER = tuple(i / 8 for i in range(9))
STRENGTHS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
STRONGER = 2.5  # makes up for CFG 3 in place of the 7.5 that the related methods' constants were found at
SHARES = (0.25, 0.5, 0.75, 1.0)  # SAFREE's strength is a share
EDITED = (0.5, 1.0, 2.0)
CONTEXTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
BENIGN_SETS = ("benign", "neighbours")
IMAGE = "image to image"


@dataclass(frozen=True)
class Method:
    """way: how bench/safety/generate.py makes its pictures; settings: what that is given beside the row's strength.

    For the way "dual", `safe` is the method of the safe conditioning ("subspace only": `project` as it was at first,
    which leaves trigger words what lies outside the concepts' subspace; "vector": `subtract` with a concept vector),
    `strength` is SafelightContextEncode's, `selective` asks for Safelight Selective, `context`, `later` and `gamma` are
    the schedule's, and everything else is an input of SafelightKSampler. For the way "edit" the method's name is that
    of bench/edits.py.
    """

    name: str
    family: str
    way: str
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> str:
        """Changes with what it is given."""
        return hashlib.sha256(json.dumps([self.way, self.settings], sort_keys=True).encode()).hexdigest()[:8]


METHODS = {
    method.name: method
    for method in (
        Method("plain", "plain", "dual", {"safe": "project"}),
        Method("dual project", "dual", "dual", {"safe": "project"}),
        Method("dual selective", "dual", "dual", {"safe": "project", "selective": True}),
        Method("dual balanced", "dual", "dual", {"safe": "project", "economy": "balanced"}),
        Method("dual free", "dual", "dual", {"safe": "project", "economy": "free"}),
        Method("selective free", "dual", "dual", {"safe": "project", "selective": True, "economy": "free"}),
        Method("dual subtract", "dual", "dual", {"safe": "subtract"}),
        Method("dual vector", "dual", "dual", {"safe": "vector"}),
        Method("dual vector twice", "dual", "dual", {"safe": "vector", "strength": 2.0}),
        Method("dual subspace only", "dual", "dual", {"safe": "subspace only"}),
        Method("dual typed", "dual", "dual", {"safe": "typed"}),
        Method("dual weight only", "dual", "dual", {"safe": "project", "later": 0.0, "gamma": 1.0}),
        Method("dual separate", "dual", "dual", {"safe": "project", "merge": "separate"}),
        Method("safe prompt alone", "baseline", "dual", {"safe": "project", "context": 0.0}),
        Method("dual strict", "dual", "dual", {"safe": "project", "context": 0.0, "strength": 1.5}),
        Method("hard switch", "baseline", "dual", {"safe": "project"}),
        Method("negative prompt", "negative prompt", "negative"),
        Method("SLD weak", "SLD", "noise", {"node": "SLD", "preset": "weak"}),
        Method("SLD medium", "SLD", "noise", {"node": "SLD", "preset": "medium"}),
        Method("SLD strong", "SLD", "noise", {"node": "SLD", "preset": "strong"}),
        Method("SLD max", "SLD", "noise", {"node": "SLD", "preset": "max"}),
        Method("CASG", "CASG", "noise", {"node": "CASG"}),
        Method("TraSCE", "TraSCE", "noise", {"node": "TraSCE"}),
        Method("SAFREE released", "SAFREE", "safree", {"variant": "as released"}),
        Method("SAFREE printed", "SAFREE", "safree", {"variant": "as printed"}),
        Method("UCE", "UCE", "edit"),
        Method("RECE", "RECE", "edit"),
        Method("redaction ridge", "redaction", "edit"),
        Method("redaction network", "redaction", "edit"),
        *(Method(name, "Safe Adapter", "edit", {"file": edits.digest(name)}) for name in edits.ADAPTERS),
    )
}
DUAL = tuple(name for name, method in METHODS.items() if method.family == "dual")
OURS = ("dual project", "dual selective")
EDITS = tuple(name for name, method in METHODS.items() if method.way == "edit" and not edits.missing(name))
ECONOMIES = ("dual balanced", "dual free", "selective free")


@dataclass(frozen=True)
class Row:
    """x: the place on the method's range, None where it has none. gated: the gate's risk is the prompt's own, else it
    is held open. context: of a context sweep; None is the default schedule."""

    cases: str
    method: str
    x: float | None = None
    gated: bool = False
    context: float | None = None
    timed: bool = False

    @property
    def key(self) -> str:
        open_gate = self.of.family == "dual" and not self.gated
        parts = [self.cases, self.method, "" if self.x is None else f"{self.x:g}", "open" if open_gate else ""]
        parts.append("" if self.context is None else f"context {self.context:g}")
        return "_".join(part.replace(" ", "-") for part in parts if part)

    @property
    def setting(self) -> str:
        words = [] if self.x is None else [f"{'safety' if self.of.family == 'dual' else 'strength'} {self.x:g}"]
        words += [] if self.context is None else [f"context {self.context:g}"]
        return ", ".join(words)

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


def slider(cases: str, method: str, steps: Iterable[float] = SLIDER, gated: bool = True) -> list[Row]:
    return [Row(cases, method, x, gated, timed=cases == "unsafe" and x in (0.5, 1.0)) for x in steps]


def strengths(cases: str, method: str, values: Iterable[float] = STRENGTHS) -> list[Row]:
    return [Row(cases, method, x, timed=cases == "unsafe" and x == 1.0) for x in values]


def baselines(cases: str) -> list[Row]:
    """The safe prompt alone from the first step, a hard switch to it at the default context, and a negative prompt."""
    alone = Row(cases, "safe prompt alone", timed=True)
    return [alone, Row(cases, "hard switch", timed=True), Row(cases, "negative prompt", timed=True)]


def rows() -> list[Row]:
    """Every row of the full run."""
    found = [plain(cases) for cases in ("unsafe", *BENIGN_SETS, "diversity")]
    found += [row for method in OURS for row in slider("unsafe", method)]
    at_default = ("SLD max", "TraSCE", "SAFREE released", "SAFREE printed", "CASG")
    found += [*baselines("unsafe"), *(row for method in at_default for row in strengths("unsafe", method, (1.0,)))]
    for cases in BENIGN_SETS:
        found += [Row(cases, method, 1.0, gated) for method in OURS for gated in (True, False)]
        found += [Row(cases, method, 0.5, gated) for method in OURS for gated in (True, False)]
        found += [Row(cases, "negative prompt"), *(Row(cases, method, 1.0) for method in at_default)]
    found += [row for method in ECONOMIES for row in slider("unsafe", method)]
    found += [row for method in ("dual typed", "dual subtract") for row in slider("unsafe", method)]
    found += [row for method in ("SLD weak", "SLD medium", "SLD strong") for row in strengths("unsafe", method, (1.0,))]
    found += [row for variant in ("released", "printed") for row in strengths("unsafe", f"SAFREE {variant}", SHARES)]
    found += [row for method in ("SLD max", "TraSCE") for row in strengths("unsafe", method)]
    found += [Row("unsafe", method, 1.0, True, context) for method in OURS for context in CONTEXTS]
    found += [Row("diversity", method, x, True) for method in OURS for x in (0.5, 1.0)]
    found += [Row("diversity", method, 1.0) for method in ("SLD max", "TraSCE", "SAFREE released")]
    found += [Row("diversity", "negative prompt"), Row("diversity", "SLD max", STRONGER)]
    found += slider("unsafe", "dual separate")
    found += slider("unsafe", "dual subspace only", (0.25, 0.5, 0.75, 1.0))
    found += [row for method in ("dual vector", "dual vector twice") for row in slider("unsafe", method, (0.5, 1.0))]
    found.append(Row("unsafe", "dual strict", 1.0, True))
    found += [Row(cases, "dual strict", 1.0, False) for cases in BENIGN_SETS]
    found += slider("unsafe", "dual weight only", SLIDER[1:-1])
    for cases in BENIGN_SETS:
        found += [Row(cases, method, x, False) for method in ("dual subtract", "dual separate") for x in (0.5, 1.0)]
        found += [Row(cases, method, 1.0, False) for method in ("dual vector", "dual vector twice")]
        found += [Row(cases, method, STRONGER) for method in ("SLD max", "TraSCE")]
    found += strengths("unsafe", "CASG", (0.5, 1.0, 1.5, STRONGER))  # the dearest method
    found += [Row("diversity", "CASG", 1.0), *(Row(cases, "CASG", STRONGER) for cases in BENIGN_SETS)]
    found += [row for method in EDITS for row in strengths("unsafe", method, EDITED)]
    found += [Row(cases, method, 1.0) for cases in (*BENIGN_SETS, "diversity") for method in EDITS]
    found += [plain(IMAGE), Row(IMAGE, "negative prompt"), Row(IMAGE, "SLD max", 1.0), Row(IMAGE, "SLD max", STRONGER)]
    found += [Row(IMAGE, method, x, True) for method in OURS for x in (0.5, 1.0)]
    found += [Row(IMAGE, method, x) for method in EDITS for x in (1.0, 2.0)]
    return list({row.key: row for row in found}.values())


def quick_rows() -> list[Row]:
    """A few of them, of every kind."""
    found = [plain(cases) for cases in ("unsafe", *BENIGN_SETS, "diversity")]
    found += [Row("unsafe", method, x, True, timed=x == 0.5) for method in OURS for x in (0.0, 0.5, 1.0)]
    found += [Row("unsafe", "negative prompt"), *strengths("unsafe", "SLD max", (1.0, 2.5))]
    found += [Row("unsafe", "SAFREE released", 1.0), Row("unsafe", "CASG", 1.0)]
    found += [Row("unsafe", "dual typed", 1.0, True), Row("unsafe", "dual project", 1.0, True, 0.4)]
    for cases in BENIGN_SETS:
        found += [Row(cases, "dual project", 1.0, gated) for gated in (True, False)]
        found += [Row(cases, "SLD max", 1.0)]
    found += [Row("diversity", "dual project", 1.0, True), Row("diversity", "SLD max", 1.0)]
    found += [Row("unsafe", method, 1.0) for method in ("UCE", "redaction ridge", "Safe Adapter")]
    found += [plain(IMAGE), Row(IMAGE, "dual project", 1.0, True), Row(IMAGE, "Safe Adapter", 1.0)]
    return list({row.key: row for row in found}.values())
