"""What is made and scored so far, in a folder: the pictures as files to look at, the rest in a store beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.store import Store


class Pictures:
    """Pictures by key. Of each the store has what is true of it: `submitted`, the prompt id of one that was not fetched
    yet; `failed`, why there is none, or no score; `made`, by which host; `scores` by judge."""

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
        """Where the picture of a key is, or will be."""
        return self.folder / "pictures" / key[:2] / f"{key}.png"

    def submit(self, key: str, prompt_id: str) -> None:
        self.store[key] = {**self.entry(key), "submitted": prompt_id}

    def save(self, key: str, picture: bytes, host: str) -> None:
        """Saves a picture: whole, or not at all."""
        file = self.file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_bytes(picture)
        # The file last: stopped in between, the picture is fetched again by its prompt id, not made again.
        self.store[key] = {"made": host, "submitted": self.entry(key).get("submitted")}
        os.replace(part, file)
        self.made[key] = host

    def fail(self, key: str, why: str) -> None:
        entry = {name: value for name, value in self.entry(key).items() if name != "submitted"}
        self.store[key] = {**entry, "failed": why}

    def score(self, key: str, judge: str, score: float) -> None:
        """Raises ValueError for a score that is not finite."""
        entry = {name: value for name, value in self.entry(key).items() if name != "failed"}
        self.store[key] = {**entry, "scores": {**entry.get("scores", {}), judge: score}}
