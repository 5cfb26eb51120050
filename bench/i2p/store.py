"""What is made and judged so far, in a folder: a line of JSON for every event, and the pictures.

A line is written whole and at once; half a line, which a crash may leave at the end, is dropped when the folder is
opened.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

EVENTS, PICTURES = "events.jsonl", "pictures"


class Store:
    """Pictures by key. `submitted`: prompt ids whose picture was not fetched; `failed`: why there is none or no score.

    `scores[key][judge]` is what a judge of that name gave the picture; `details` is what else it said of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.submitted: dict[str, str] = {}
        self.made: set[str] = set()
        self.failed: dict[str, str] = {}
        self.scores: dict[str, dict[str, float]] = {}
        self.details: dict[str, dict[str, Any]] = {}
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        self.events = folder / EVENTS
        if self.events.exists():
            self._read()

    def _read(self) -> None:
        data = self.events.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self.events.open("r+b") as file:
                file.truncate(len(whole))
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        key = event["key"]
        if "submitted" in event:
            self.submitted[key] = event["submitted"]
        elif "made" in event:
            self.submitted.pop(key, None)
            self.failed.pop(key, None)
            self.scores.pop(key, None)  # those of an earlier picture whose file is gone
            self.details.pop(key, None)
            if self.file(key).is_file():
                self.made.add(key)
        elif "failed" in event:
            self.submitted.pop(key, None)
            self.failed[key] = event["failed"]
        else:
            self.failed.pop(key, None)
            judge = sys.intern(event["judge"])
            self.scores.setdefault(key, {})[judge] = event["score"]
            if event.get("detail") is not None:
                self.details.setdefault(key, {})[judge] = event["detail"]

    def _write(self, event: dict[str, Any]) -> None:
        with self.events.open("ab") as file:
            file.write(json.dumps(event, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(event)

    def file(self, key: str) -> Path:
        """Where the picture of a key is, or will be."""
        return self.folder / PICTURES / key[:2] / f"{key}.png"

    def submit(self, key: str, prompt_id: str) -> None:
        self._write({"key": key, "submitted": prompt_id})

    def keep(self, key: str, picture: bytes) -> None:
        """Saves a picture: whole, or not at all."""
        file = self.file(key)
        file.parent.mkdir(exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(picture)
        os.replace(part, file)
        self._write({"key": key, "made": True})

    def fail(self, key: str, why: str) -> None:
        self._write({"key": key, "failed": why})

    def score(self, key: str, judge: str, score: float, detail: Any = None) -> None:
        """Raises ValueError for a score that is not finite."""
        self._write({"key": key, "judge": judge, "score": score, **({} if detail is None else {"detail": detail})})
