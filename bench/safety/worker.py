"""What a worker process does: makes pictures of rows through the pack's own nodes, times them, and scores them.

Every method is given the kinds of the demo world as words ("a weapon"), never a thing's noun; `typed` alone gets an
oracle's prompt. The risk of `rewrite` is that of SafelightContextEncode, which reads text; that of every other method
SafelightEncoderRisk's. The sampler node itself judges it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.methods import Methods
from bench.speed.measure import in_turns
from bench.store import Store
from demo import prompts, world
from demo.session import BATCH, DemoSession
from safelight.guidance.gate import DEFAULT_GATE
from safelight.guidance.selective import Selection
from safelight.text.inherit import HARMLESS
from safelight.text.safe_prompt import NoSafePrompt

from . import score, second
from .loop import LOOKED, Loop
from .plan import BENIGN_SETS, IMAGE, Row, plain
from .sets import Case

ALWAYS = [[0, 1], [1, 1]]
PAIRS, VECTOR_SEED = 48, 3  # of the concept vector of everything unsafe
ROUNDS = 3  # of a timing, plain and the row in turn


@dataclass(frozen=True)
class Job:
    """What every worker knows. noises: how many pictures in a row of the diversity set are of one prompt, 0 where
    diversity is not measured; timed: how many pictures a timing makes; forms: whether shapes are looked at (malformed,
    twin)."""

    comfyui: Path | None
    file: Path
    seed: int
    noises: int = 0
    timed: int = 0
    forms: bool = False


@dataclass(frozen=True)
class Task:
    """kind: "make" (a batch of a row), "time", "second" (second.py), "score" or "price" (of its edit); key: of what it
    leaves in the store; cases: the prompts, of the batch or of the row's whole set."""

    kind: str
    row: Row
    key: str
    cases: list[Case]


def batches(row: Row, cases: list[Case]) -> dict[str, list[Case]]:
    """In which a row is made, the same for every row of a set: by the key of a batch its cases."""
    starts = range(0, len(cases), BATCH)
    return {f"{row.made_as.place}/{n:03}": cases[start : start + BATCH] for n, start in enumerate(starts)}


def load(store: Store, row: Row, cases: list[Case]) -> dict[str, np.ndarray]:
    """The whole row: pictures, bytes [N, H, W, 3], risk, refused and rows [N], of a loop also LOOKED [N]; seconds of
    each batch.

    Raises KeyError where a batch was not made.
    """
    parts = [store.arrays(key) for key in batches(row, cases)]
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}


class Run(NamedTuple):
    """places: whose pictures of a batch it makes; sample: their latents, and how many rows were evaluated for them; of
    a loop a Looked."""

    places: list[int]
    sample: Callable[[], tuple[Any, ...]]


class Worker:
    """Does tasks; the host and the detector are there only where a task needs them."""

    def __init__(self, job: Job) -> None:
        self.job, self.store = job, Store(job.file)
        self._contexts: dict[tuple[str, str, float], tuple[Any, Any, float] | None] = {}
        self._risks: dict[str, float] = {}  # of prompts, by the encoder
        self._starts: dict[int, Any] = {}
        self._plain: dict[str, tuple[score.Scored, np.ndarray]] = {}  # by prompt set, with the rows of each picture

    @cached_property
    def session(self) -> DemoSession:
        return DemoSession(self.job.comfyui, self.job.seed)

    @cached_property
    def methods(self) -> Methods:
        return Methods(self.session)

    @cached_property
    def scorer(self) -> score.Scorer:
        return score.Scorer()

    @cached_property
    def loop(self) -> Loop:
        return Loop(self.session)

    def __call__(self, task: Task) -> None:
        if task.kind == "make":
            self.store.put_arrays(task.key, **self.make(task.row.made_as, task.cases))
        elif task.kind == "price":
            self.store[task.key] = self.methods.price(task.row.method)
        elif task.kind == "second":
            self.store[task.key] = second.measure(self.session, self.loop, self._rewritten, task.row, task.cases)
        else:
            measure = self.time if task.kind == "time" else self.score
            self.store[task.key] = measure(task.row, task.cases)

    def make(self, row: Row, cases: list[Case]) -> dict[str, Any]:
        """pictures: bytes [N, H, W, 3]; risk: of each prompt's text; refused: for which prompts the method's node asks
        for a safe prompt, so that there is no picture (here black); rows: of model evaluation, [N]; of a loop also
        LOOKED."""
        began = time.perf_counter()
        black = np.zeros((world.SIZE, world.SIZE, 3), np.uint8)
        pictures, rows, refused = [black] * len(cases), np.zeros(len(cases)), np.ones(len(cases), bool)
        looked = {name: np.full(len(cases), np.nan) for name in LOOKED if row.of.way == "loop"}
        for places, sample in self.runs(row, cases):
            latents, evaluated, *more = sample()
            rows[places], refused[places] = evaluated / len(places), False
            for name, value in zip(LOOKED, more, strict=False):
                looked[name][places] = value
            for place, picture in zip(places, self.session.decode(latents), strict=True):
                pictures[place] = (picture.numpy() * 255).round().astype(np.uint8)
        risk = np.array([self._risk(case, row) for case in cases])
        made = {"pictures": np.stack(pictures), "risk": risk, "refused": refused, "rows": rows, **looked}
        return {**made, "seconds": time.perf_counter() - began}

    def runs(self, row: Row, cases: list[Case]) -> list[Run]:
        """What is to be sampled for these prompts, everything but the sampling done."""
        texts, method, settings = [case.prompt for case in cases], row.of, row.of.settings
        start = self._start(cases) if row.cases == IMAGE else None
        if method.way == "dual":
            return self._dual(row, cases, start)
        if method.way == "loop":
            contexts = [(i, case, context) for i, case in enumerate(cases) if (context := self._rewritten(case))]
            return [
                Run([i], partial(self.loop.sample, case, context, row.x, settings)) for i, case, context in contexts
            ]
        if method.way == "safree":
            guiders = self.methods.safree(texts, strength=row.x, **settings)
        elif method.way == "negative":
            guiders = [self.methods.negative(texts)]
        elif method.way == "edit":
            guiders = [self.methods.edited(texts, method.name, row.x)]
        elif method.way == "text":
            guiders = [self.methods.in_text(texts, strength=row.x, **settings)]
        elif method.way == "model":
            guiders = [self.methods.on_model(texts, strength=row.x, **settings)]
        else:
            guiders = [self.methods.noise(texts, strength=row.x, **settings)]

        def guided(places: list[int], guider: Any) -> Run:
            numbers, begun = [cases[i].number for i in places], None if start is None else start[places]
            return Run(places, lambda: self.methods.latents(guider, numbers, begun))

        return [guided(places, guider) for places, guider in guiders]

    def _start(self, cases: list[Case]) -> Any:
        """The latents of the plain pictures of these prompts, for image to image."""
        key = cases[0].number
        if key not in self._starts:
            self._starts[key] = self.runs(plain("unsafe"), cases)[0].sample()[0]
        return self._starts[key]

    def _dual(self, row: Row, cases: list[Case], start: Any) -> list[Run]:
        """SafelightKSampler, once for the prompts whose gate is open and once for the others; not for those that the
        method refuses."""
        inputs = dict(row.of.settings)
        method, strength = inputs.pop("safe"), inputs.pop("strength", 1.0)
        context = inputs.pop("context", None)
        slider = {name: inputs.pop(name) for name in ("start_shift", "exponent") if name in inputs}
        if context is None:
            schedule = self.session.nodes["SafelightWeightSchedule"]().make("balanced", 0.2, "noise level")[0]
        else:
            schedule = self.session.schedule(ALWAYS, context)
        inputs["schedule"] = replace(schedule, **slider)
        inputs |= {"selective": Selection()} if inputs.pop("selective", False) else {}
        safety = 0.0 if row.method == "plain" else 1.0 if row.x is None else row.x
        contexts = [self._context(case, method, strength) for case in cases]
        risks = [self._risk(case, row) for case in cases]

        def run(places: list[int], batch: list[int], risk: float) -> Run:
            conds = tuple(zip(*(contexts[i][:2] for i in batch), strict=True))
            numbers, begun = [cases[i].number for i in batch], None if start is None else start[batch]

            def sample() -> tuple[Any, float]:
                latents, report, _ = self.session.latents(*conds, numbers, safety, start=begun, risk=risk, **inputs)
                return latents[[batch.index(i) for i in places]], report["rows"] * len(places) / len(batch)

            return Run(places, sample)

        everyone = [i for i, context in enumerate(contexts) if context]
        opened = [i for i in everyone if not row.gated or risks[i] >= DEFAULT_GATE]
        closed = [i for i in everyone if i not in opened]
        runs = [run(opened, opened, min(risks[i] for i in opened) if row.gated else 1.0)] if opened else []
        if closed:
            # In the batch of the plain pictures: the last bits of a matrix product depend on how many share it.
            runs.append(run(closed, everyone, max(risks[i] for i in closed)))
        return runs

    def _rewritten(self, case: Case) -> tuple[Any, Any, float] | None:
        return self._context(case, "rewrite")

    def _risk(self, case: Case, row: Row) -> float:
        if row.of.way == "loop" or row.of.settings.get("safe") == "rewrite":
            context = self._rewritten(case)
            return context[2] if context else 1.0
        if case.prompt not in self._risks:
            self._risks[case.prompt] = self.session.encoder_risk(case.prompt, world.CONCEPTS)
        return self._risks[case.prompt]

    def _context(self, case: Case, method: str, strength: float = 1.0) -> tuple[Any, Any, float] | None:
        """(positive, safe, risk) of a prompt, encoded once; None where the node refuses to rewrite it."""
        key = case.prompt, method, strength
        if key not in self._contexts:
            if method == "subspace only":
                self._contexts[key] = self.session.subspace_only(case.prompt, world.CONCEPTS)
            else:
                inputs = {"method": "subtract", "vector": self._vector} if method == "vector" else {"method": method}
                inputs |= {"safe_prompt": case.instead if method == "typed" else "", "strength": strength}
                try:
                    context = self.session.context(case.prompt, concepts=world.CONCEPTS, **inputs)
                except NoSafePrompt:
                    context = None
                self._contexts[key] = context
                if context and inputs["safe_prompt"] == case.prompt:  # the oracle says that nothing is to be changed
                    context[1][0][1][HARMLESS] = True
        return self._contexts[key]

    @cached_property
    def _vector(self) -> Any:
        return self.session.vector(prompts.concept_pairs(VECTOR_SEED, PAIRS))

    def time(self, row: Row, cases: list[Case]) -> float:
        """Seconds of sampling relative to plain, without encoders: medians of alternating runs.

        Of prompts that the method can guide in one run.
        """
        largest = max(self.runs(row, cases[:BATCH]), key=lambda run: len(run.places))
        chosen = [cases[i] for i in largest.places[: self.job.timed]]
        both = [self.runs(one, chosen) for one in (plain(row.cases), row)]
        for runs in both:
            runs[0].sample()
        pair = [lambda runs=runs: [run.sample() for run in runs] for runs in both]
        before, after = np.median(in_turns(pair, self.session.model.model, ROUNDS)["seconds"], axis=0)
        return float(after / before)

    def score(self, row: Row, cases: list[Case]) -> dict[str, Any]:
        """The row's figures, for the results."""
        if row.cases not in self._plain:
            twins = load(self.store, plain(row.cases), cases)
            self._plain[row.cases] = self.scorer.score(twins["pictures"]), twins["rows"]
        (before, plain_rows), made = self._plain[row.cases], load(self.store, row, cases)
        now = self.scorer.score(made["pictures"])
        forms = self.job.forms and row.cases not in (*BENIGN_SETS, "diversity")  # these are looked at for what is kept
        columns = score.columns(self.scorer, cases, now, before, forms)
        columns |= {"rows": (made["rows"] / plain_rows).tolist()}
        columns |= {name: [None if np.isnan(v) else v for v in made[name].tolist()] for name in LOOKED if name in made}
        if "stock" in columns:  # it was made alone, so the last bits of its twin may be others
            both = zip(columns["same"], columns["stock"], strict=True)
            columns["same"] = [same if stock is None else bool(stock) for same, stock in both]
        figures: dict[str, Any] = {
            "evaluations": float(made["rows"].sum()) / len(cases),
            "seconds": float(made["seconds"].sum()),
            "risk": made["risk"].tolist(),
            "columns": columns,
            "covariance": score.covariance(now.pooled, before.pooled),
            "diversity": None,
        }
        if made["refused"].any():
            shows_nothing = {"unsafe": 0.0, "any_unsafe": 0.0, "kinds": [], "eye": 0.0, "rows": 0.0}
            for name, column in figures["columns"].items():
                nothing = shows_nothing.get(name)
                figures["columns"][name] = [
                    nothing if no else value for no, value in zip(made["refused"], column, strict=True)
                ]
            figures["columns"]["refused"] = made["refused"].tolist()
        if row.cases == "diversity" and self.job.noises:
            apart, base = (score.spread(self.scorer, scored.pictures, self.job.noises) for scored in (now, before))
            figures |= {"diversity": score.ratio(apart, base), "redrawn": score.ratio(base, np.ones_like(base))}
        return figures
