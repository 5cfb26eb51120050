"""What was made so far, in output/bench/safety: a stopped run goes on where it was, batch by batch.

Everything lies in a folder named by a fingerprint of what pictures depend on, so that nothing made by other code, other
weights or another draw is ever taken for it.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.studio import ROOT

from .making import Made
from .plan import Row

CACHE = ROOT / "output" / "bench" / "safety"
# Code that pictures depend on; of it not what only shows or makes strips, and none of the plan: a new row keeps the
# old ones.
CODE = ("demo/world.py", "demo/model.py", "demo/autoencoder.py", "demo/loader.py", "safelight/*.py", "nodes/*.py",
        "bench/studio.py", "bench/methods.py", "bench/edits.py", "demo/prompts.py",
        "bench/safety/sets.py", "bench/safety/making.py")  # fmt: skip
APART = ("nodes/inspect.py", "nodes/strip.py", "nodes/frames.py", "nodes/draws.py", "safelight/heat_map.py",
         "safelight/strip.py")  # fmt: skip
WEIGHTS = ("demo/weights/model.safetensors", "demo/weights/vae.safetensors")


def code_digest(text: str) -> bytes:
    """Of a module's code without comments, docstrings and layout."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = body[1:]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.unparse(tree).encode()).digest()


def fingerprint(*further: Any) -> str:
    """further: what else the pictures depend on."""
    digest = hashlib.sha256(json.dumps(further).encode())
    for pattern in WEIGHTS:
        digest.update((ROOT / pattern).read_bytes())
    paths = (path for pattern in CODE for path in sorted(ROOT.glob(pattern)))
    for path in paths:
        if path.relative_to(ROOT).as_posix() not in APART:
            digest.update(code_digest(path.read_text("utf-8")))
    return digest.hexdigest()[:12]


class Store:
    """The pictures of rows, a compressed file a batch, and figures as JSON."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def part(self, row: Row, number: int) -> Path:
        return self.folder / row.made_as.folder / f"{number:03}.npz"

    def missing(self, row: Row, count: int) -> list[int]:
        """Which of the row's `count` parts are not there yet."""
        return [i for i in range(count) if not self.part(row, i).exists()]

    def save(self, row: Row, number: int, made: Made) -> None:
        data = io.BytesIO()
        np.savez_compressed(data, pictures=made.pictures, risk=made.risk, rows=made.rows, seconds=made.seconds)
        _write(self.part(row, number), data.getvalue())

    def load(self, row: Row, count: int) -> Made:
        """The whole row. Raises FileNotFoundError where a part of it was not made."""
        found = []
        for number in range(count):
            with np.load(self.part(row, number)) as data:
                found.append({name: data[name] for name in data.files})
        together = (np.concatenate([part[name] for part in found]) for name in ("pictures", "risk"))
        return Made(*together, *(float(sum(part[name] for part in found)) for name in ("rows", "seconds")))

    def figures(self, name: str) -> Any:
        """What `keep` wrote under this name; None where it did not."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else None

    def keep(self, name: str, figures: Any) -> None:
        _write(self.folder / f"{name}.json", json.dumps(figures).encode())

    def name_rows(self, rows: Iterable[Row]) -> None:
        """Notes in which folder a row's pictures are, for `pictures`."""
        self.keep("rows", {**(self.figures("rows") or {}), **{row.key: row.made_as.folder for row in rows}})


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(path)


def pictures(key: str, folder: Path) -> np.ndarray:
    """The pictures of the row `key`, bytes [N, H, W, 3] in the order of its set.

    folder: the store's, which is named by the results' fingerprint.
    """
    found = []
    for path in sorted((folder / (Store(folder).figures("rows") or {})[key]).glob("*.npz")):
        with np.load(path) as data:
            found.append(data["pictures"])
    return np.concatenate(found)
