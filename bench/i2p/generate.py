"""Makes, fetches and judges the pictures that are not there yet, one by one, through a running ComfyUI server."""

from __future__ import annotations

import http.client
import os
import urllib.error
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from bench.store import Store
from runner.client import Client, Picture
from runner.messages import Failure

from .graphs import PICTURE, Graph
from .judges import Judge

AHEAD = 2  # pictures on the server's queue: it samples while the last one is judged
WAIT = 600.0  # seconds for one picture
ENOUGH = 4  # prompts of which every picture failed, one after the other: something is wrong with all of them
Result = TypeVar("Result")


class Pictures:
    """What is made so far: the pictures as files to look at, the rest in a store beside them.

    Of each key the store has what is true of its picture: `failed`, why there is none, or no score; `made`, by which
    host; `scores` by judge.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "pictures.sqlite")
        # One whose file is gone is made again, and scored again.
        hosts = {key: self.entry(key).get("made") for key in list(self.store.keys())}
        self.made = {key: host for key, host in hosts.items() if host is not None and self.file(key).is_file()}

    def entry(self, key: str) -> dict[str, Any]:
        return self.store.get(key) or {}

    def scores(self, key: str) -> dict[str, float]:
        return self.entry(key).get("scores", {}) if key in self.made else {}

    def file(self, key: str) -> Path:
        return self.folder / "pictures" / key[:2] / f"{key}.png"

    def save(self, key: str, picture: bytes, host: str) -> None:
        """Saves a picture: whole, or not at all."""
        file, part = self.file(key), self.file(key).with_suffix(".part")
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(picture)
        self.store[key] = {"made": host}  # first: the scores of an earlier file are not those of this one
        os.replace(part, file)
        self.made[key] = host

    def score(self, key: str, judge: str, score: float) -> None:
        """Of a picture that is made. Raises ValueError for a score that is not finite."""
        self.store[key] = {"made": self.made[key], "scores": {**self.scores(key), judge: float(score)}}

    def fail(self, key: str, why: str) -> None:
        self.store[key] = {**self.entry(key), "failed": why}


@dataclass(frozen=True)
class Job:
    """A picture to have: its key, its workflow, its prompt's row, and the key of that prompt's and seed's plain one.

    The workflow is made when it is sent: the whole of I2P by all methods would not fit into memory.
    """

    key: str
    graph: Callable[[], Graph]
    row: int
    twin: str


class ServerGone(Failure):
    """The server stopped answering."""


class Generator:
    """Works through jobs in their order. A plain picture has to come before those that are compared with it."""

    client: Client

    def __init__(self, pictures: Pictures, judges: Sequence[Judge]) -> None:
        self.pictures, self.judges = pictures, judges
        self._failing: set[int] = set()  # rows of the prompts that failed since the last success

    def lacking(self, job: Job) -> list[Judge]:
        """The judges that have not seen the picture yet; those that compare need the plain one."""
        scores, comparable = self.pictures.scores(job.key), job.twin in self.pictures.made
        return [judge for judge in self.judges if judge.key not in scores and (judge.thresholds or comparable)]

    def is_done(self, job: Job) -> bool:
        return job.key in self.pictures.made and not self.lacking(job)

    def run(self, jobs: Sequence[Job], client: Client, host: str) -> None:
        """host: the client's, by name and version.

        Raises ServerGone, and Failure where ENOUGH prompts in a row fail; what is done by then is kept.
        """
        self.client = client
        by_key = {job.key: job for job in jobs}
        to_do = [job for job in by_key.values() if not self.is_done(job)]
        ids: dict[str, str | None] = {}
        bar = tqdm(to_do, initial=len(by_key) - len(to_do), total=len(by_key), unit="picture", smoothing=0.05)
        for place, job in enumerate(bar):
            for coming in to_do[place : place + AHEAD]:
                if coming.key not in ids and coming.key not in self.pictures.made:
                    ids[coming.key] = self._attempt(coming, self._submit, coming.graph())
            if (prompt_id := ids.get(job.key)) and (picture := self._attempt(job, self._fetch, prompt_id)):
                self.pictures.save(job.key, picture, host)
                self._failing.clear()
            if job.key in self.pictures.made:
                self._judge(job)

    def _attempt(self, job: Job, step: Callable[[Any], Result], of: Any) -> Result | None:
        """What a step towards a picture gives; None, and why is noted, where it fails."""
        try:
            return step(of)
        except urllib.error.HTTPError as error:
            self._fail(job, f"the server does not give the picture out ({error})")
        except (OSError, http.client.HTTPException, ValueError) as error:
            to_do = "start it again, and run the same command again: it goes on where it was"
            raise ServerGone(f"ComfyUI at {self.client.url} stopped answering ({error})", to_do) from error
        except Failure as failure:
            self._fail(job, str(failure))
        return None

    def _submit(self, graph: Graph) -> str:
        # A number of its own: else a host may take the picture for one that it has shown already.
        graph[f"{PICTURE}_{uuid.uuid4().hex[:12]}"] = graph.pop(PICTURE)
        return self.client.submit(graph)

    def _fetch(self, prompt_id: str) -> bytes:
        outputs = self.client.wait(prompt_id, WAIT).get("outputs", {})
        shown = [output.get("images") for number, output in outputs.items() if number.startswith(PICTURE)]
        if not any(shown):
            raise Failure("ComfyUI ended the workflow without a picture; it may have been interrupted there")
        image = shown[0][0]
        picture = self.client.view(Picture(image["filename"], image.get("subfolder", ""), image["type"]))
        if not picture:
            raise Failure("the server sent an empty picture")
        return picture

    def _judge(self, job: Job) -> None:
        """Gives the picture the scores that it lacks. A judge that breaks makes the picture a failed one."""
        judge = None
        try:
            for judge in self.lacking(job):
                files = [self.pictures.file(key) for key in ([job.key] if judge.thresholds else [job.key, job.twin])]
                self.pictures.score(job.key, judge.key, judge.score(*(file.read_bytes() for file in files)))
        except Exception as error:  # whatever a classifier of others breaks with, the picture is not judged
            self._fail(job, f"{judge and judge.name}: {type(error).__name__}: {error}")

    def _fail(self, job: Job, why: str) -> None:
        self.pictures.fail(job.key, why)
        self._failing.add(job.row)
        if len(self._failing) >= ENOUGH:
            wrong = f"the pictures of {ENOUGH} prompts in a row failed, the last with: {why}"
            raise Failure(wrong, "mend that, and run the same command again")
