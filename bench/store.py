"""What was made so far, in one SQLite file: a stopped run goes on where it was.

A value is JSON or bytes under a key; it is there whole or not at all. Several processes may use the same file.
"""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

WAIT = 120.0  # seconds, for another process that is writing


class Store:
    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self._database = sqlite3.connect(file, timeout=WAIT, isolation_level=None)
        self._database.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL)")

    def __contains__(self, key: str) -> bool:
        return self._database.execute("SELECT 1 FROM entries WHERE key = ?", (key,)).fetchone() is not None

    def __getitem__(self, key: str) -> Any:
        """What `store[key] = value` wrote: bytes, or JSON. Raises KeyError where nothing was."""
        row = self._database.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return json.loads(row[0]) if isinstance(row[0], str) else row[0]

    def __setitem__(self, key: str, value: Any) -> None:
        """Raises ValueError for JSON with a number that is not finite."""
        written = value if isinstance(value, bytes) else json.dumps(value, allow_nan=False)
        self._database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key, written))

    def get(self, key: str) -> Any:
        """As store[key]; None where nothing was written."""
        try:
            return self[key]
        except KeyError:
            return None

    def keys(self) -> Iterator[str]:
        """All of them, in their order."""
        return (key for (key,) in self._database.execute("SELECT key FROM entries ORDER BY key").fetchall())

    def put_arrays(self, key: str, **arrays: Any) -> None:
        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        self[key] = data.getvalue()

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        """What put_arrays wrote. Raises KeyError where it did not."""
        with np.load(io.BytesIO(self[key])) as data:
            return {name: data[name] for name in data.files}
