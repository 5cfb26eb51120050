"""Makes, fetches and judges the pictures that are not there yet, one by one, through a running ComfyUI server."""

from __future__ import annotations

import http.client
import urllib.error
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.client import Client, Picture
from runner.messages import Failure

from .graphs import PICTURE, Graph
from .judges import Judge, Likeness
from .pictures import Pictures

AHEAD = 2  # pictures on the server's queue: it samples while the last one is judged
ENOUGH = 4  # prompts of which every picture failed, one after the other: something is wrong with all of them


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


@dataclass
class Generator:
    """Works through jobs in their order. A plain picture has to come before those that are compared with it."""

    pictures: Pictures
    judges: Sequence[Judge]
    likenesses: Sequence[Likeness]
    client: Client
    timeout: float
    host: str = ""  # the client's, by name and version
    failures: int = 0
    _failing: set[int] = field(default_factory=set)  # rows of the prompts that failed since the last success

    def is_done(self, job: Job) -> bool:
        """Whether the picture is there with every score, and compared with its twin if that is there."""
        wanted = {judge.key for judge in self.judges}
        if job.twin in self.pictures.made:
            wanted |= {against(likeness, job.twin) for likeness in self.likenesses}
        return job.key in self.pictures.made and wanted <= set(self.pictures.scores(job.key))

    def run(self, jobs: Sequence[Job]) -> None:
        """Raises ServerGone, and Failure where ENOUGH prompts in a row fail; what is done by then is kept."""
        from tqdm import tqdm

        by_key = {job.key: job for job in jobs}
        waiting = deque(key for key, job in by_key.items() if not self.is_done(job))
        done = len(by_key) - len(waiting)
        with tqdm(total=len(by_key), initial=done, unit="picture", smoothing=0.05, dynamic_ncols=True) as bar:
            flying: deque[tuple[Job, str | None]] = deque()
            while waiting or flying:
                while waiting and len(flying) < AHEAD:
                    job = by_key[waiting.popleft()]
                    flying.append((job, None if job.key in self.pictures.made else self._submit(job)))
                job, prompt_id = flying.popleft()
                if prompt_id is not None:
                    self._fetch(job, prompt_id)
                if job.key in self.pictures.made:
                    self._judge(job)
                if self.failures:
                    bar.set_postfix_str(f"{self.failures} failed", refresh=False)
                bar.update()

    def _submit(self, job: Job) -> str | None:
        """The id under which the server makes the picture; None where it refuses to."""
        try:
            earlier = self.pictures.entry(job.key).get("submitted")
            if earlier is not None and self._knows(earlier):
                return earlier
            # A number of its own: else a host may take the picture for one that it has shown already.
            graph = job.graph()
            graph[f"{PICTURE}_{uuid.uuid4().hex[:12]}"] = graph.pop(PICTURE)
            prompt_id = self.client.submit(graph)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._gone(error) from error
        except Failure as failure:
            self._fail(job, str(failure))
            return None
        self.pictures.submit(job.key, prompt_id)
        return prompt_id

    def _knows(self, prompt_id: str) -> bool:
        """Whether the server has this prompt in its queue, at work or done."""
        if prompt_id in self.client.get(f"/history/{prompt_id}"):
            return True
        queue = self.client.get("/queue")
        return any(item[1] == prompt_id for part in ("queue_running", "queue_pending") for item in queue.get(part, ()))

    def _fetch(self, job: Job, prompt_id: str) -> None:
        try:
            picture = self.client.view(saved_picture(self.client.wait(prompt_id, self.timeout)))
            if not picture:
                raise Failure("the server sent an empty picture")
        except urllib.error.HTTPError as error:
            self._fail(job, f"the server made the picture and does not give it out ({error})")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._gone(error) from error
        except Failure as failure:
            self._fail(job, str(failure))
        else:
            self.pictures.save(job.key, picture, self.host)
            self._failing.clear()

    def _judge(self, job: Job) -> None:
        """Gives the picture the scores that it lacks. A judge that breaks makes the picture a failed one."""
        picture, scores = self.pictures.file(job.key).read_bytes(), self.pictures.scores(job.key)
        name = ""
        try:
            for judge in self.judges:
                name = judge.name
                if judge.key not in scores:
                    self.pictures.score(job.key, judge.key, judge.score(picture))
            for likeness in self.likenesses if job.twin in self.pictures.made else ():
                name, key = likeness.name, against(likeness, job.twin)
                if key not in scores:
                    plain = self.pictures.file(job.twin).read_bytes()
                    self.pictures.score(job.key, key, likeness.compare(picture, plain))
        except Exception as error:  # whatever a classifier of others breaks with, the picture is not judged
            self._fail(job, f"{name}: {type(error).__name__}: {error}")

    def _fail(self, job: Job, why: str) -> None:
        self.pictures.fail(job.key, why)
        self.failures += 1
        self._failing.add(job.row)
        if len(self._failing) >= ENOUGH:
            wrong = f"the pictures of {ENOUGH} prompts in a row failed, the last with: {why}"
            raise Failure(wrong, "mend that, and run the same command again")

    def _gone(self, error: Exception) -> ServerGone:
        to_do = "start it again, and run the same command again: it goes on where it was"
        return ServerGone(f"ComfyUI at {self.client.url} stopped answering ({error})", to_do)


def against(likeness: Likeness, twin: str) -> str:
    """The name under which a picture's likeness to this plain one is kept."""
    return f"{likeness.key} to {twin}"


def saved_picture(entry: dict[str, Any]) -> Picture:
    """The picture that a history entry has for the workflow's last node. Raises Failure where there is none."""
    for number, output in entry.get("outputs", {}).items():
        if number.startswith(PICTURE):
            for image in output.get("images", ()):
                return Picture(image["filename"], image.get("subfolder", ""), image["type"])
    raise Failure("ComfyUI ended the workflow without a picture; it may have been interrupted there")
