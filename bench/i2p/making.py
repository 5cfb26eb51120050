"""Makes, fetches and judges the pictures that a store lacks, one by one, through a running ComfyUI server."""

from __future__ import annotations

import http.client
import urllib.error
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runner.client import Client, Picture
from runner.messages import Failure

from .graphs import PICTURE, Graph
from .judges import Judge
from .likeness import Likeness
from .store import Store

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


class Maker:
    """Works through jobs in their order. A plain picture has to come before those that are compared with it."""

    def __init__(
        self, store: Store, client: Client, judges: Sequence[Judge], likenesses: Sequence[Likeness], timeout: float
    ) -> None:
        self.store, self.client, self.timeout = store, client, timeout
        self.judges, self.likenesses = judges, likenesses
        self.failures: dict[str, str] = {}  # of this run, by key
        self._failing: set[int] = set()  # rows of the prompts that failed since the last success

    def is_done(self, job: Job) -> bool:
        """Whether the picture is there with every score, and compared with its twin if that is there."""
        if job.key not in self.store.made:
            return False
        wanted = [judge.key for judge in self.judges]
        if job.twin in self.store.made:
            wanted += [against(likeness, job.twin) for likeness in self.likenesses]
        return set(wanted) <= set(self.store.scores.get(job.key, ()))

    def run(self, jobs: Sequence[Job]) -> None:
        """Raises ServerGone, and Failure where ENOUGH prompts in a row fail; what is done by then is in the store."""
        from tqdm import tqdm

        waiting = deque(dict.fromkeys(job.key for job in jobs if not self.is_done(job)))
        by_key = {job.key: job for job in jobs}
        done = len(by_key) - len(waiting)
        with tqdm(total=len(by_key), initial=done, unit="picture", smoothing=0.05, dynamic_ncols=True) as bar:
            flying: deque[tuple[Job, str | None]] = deque()
            while waiting or flying:
                while waiting and len(flying) < AHEAD:
                    job = by_key[waiting.popleft()]
                    flying.append((job, None if job.key in self.store.made else self._submit(job)))
                job, prompt_id = flying.popleft()
                if prompt_id is not None:
                    self._fetch(job, prompt_id)
                if job.key in self.store.made:
                    self._judge(job)
                if self.failures:
                    bar.set_postfix_str(f"{len(self.failures)} failed", refresh=False)
                bar.update()

    def _submit(self, job: Job) -> str | None:
        """The id under which the server makes the picture; None where it refuses to."""
        try:
            earlier = self.store.submitted.get(job.key)
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
        self.store.submit(job.key, prompt_id)
        return prompt_id

    def _knows(self, prompt_id: str) -> bool:
        """Whether the server has this prompt in its queue, at work or done."""
        if prompt_id in self.client.get(f"/history/{prompt_id}"):
            return True
        queue = self.client.get("/queue")
        return any(item[1] == prompt_id for part in ("queue_running", "queue_pending") for item in queue.get(part, ()))

    def _fetch(self, job: Job, prompt_id: str) -> None:
        try:
            saved = result(self.client.wait(prompt_id, self.timeout))
            picture = self.client.view(saved)
            if not picture:
                raise Failure("the server sent an empty picture")
        except urllib.error.HTTPError as error:
            self._fail(job, f"the server made the picture and does not give it out ({error})")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._gone(error) from error
        except Failure as failure:
            self._fail(job, str(failure))
        else:
            self.store.keep(job.key, picture)
            self._failing.clear()

    def _judge(self, job: Job) -> None:
        """Gives the picture the scores that it lacks. A judge that breaks makes the picture a failed one."""
        picture = self.store.file(job.key).read_bytes()
        known = self.store.scores.get(job.key, {})
        name = ""
        try:
            for judge in self.judges:
                name = judge.name
                if judge.key not in known:
                    self.store.score(job.key, judge.key, *judge.score(picture))
            if job.twin in self.store.made:
                plain = self.store.file(job.twin).read_bytes()
                for likeness in self.likenesses:
                    name, key = likeness.name, against(likeness, job.twin)
                    if key not in known:
                        self.store.score(job.key, key, likeness.compare(picture, plain))
        except Exception as error:  # whatever a classifier of others breaks with, the picture is not judged
            self._fail(job, f"{name}: {type(error).__name__}: {error}")

    def _fail(self, job: Job, why: str) -> None:
        self.store.fail(job.key, why)
        self.failures[job.key] = why
        self._failing.add(job.row)
        if len(self._failing) >= ENOUGH:
            raise Failure(
                f"the pictures of {ENOUGH} prompts in a row failed, the last with: {why}",
                "mend that, and run the same command again",
            )

    def _gone(self, error: Exception) -> ServerGone:
        return ServerGone(
            f"ComfyUI at {self.client.url} stopped answering ({error})",
            "start it again, and run the same command again: it goes on where it was",
        )


def against(likeness: Likeness, twin: str) -> str:
    """The name under which a store has a picture's likeness to this plain one."""
    return f"{likeness.key} to {twin}"


def result(entry: dict[str, Any]) -> Picture:
    """The picture that a history entry has for the workflow's last node. Raises Failure where there is none."""
    for number, output in entry.get("outputs", {}).items():
        if number.startswith(PICTURE):
            for image in output.get("images", ()):
                return Picture(image["filename"], image.get("subfolder", ""), image["type"])
    raise Failure("ComfyUI ended the workflow without a picture; it may have been interrupted there")
