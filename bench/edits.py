"""The edits that the benchmarks measure: each made once by its node, from words for kinds, as its defaults have it.

UCE and RECE erase the kinds, and a redaction reads them as REFERENCE. The Safe Adapter is the one in demo/weights;
another one takes part where `python -m demo.adapter train` has left it.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo import world
from demo.session import ROOT, DemoSession
from safelight.edits import edit_file

ERASE = {"UCE": 0, "RECE": 3}  # rounds
REDACT = {"redaction ridge": "ridge", "redaction network": "network"}  # forms
ADAPTERS = {"Safe Adapter": "safe_adapter_erase.safetensors", "ShieldDiff adapter": "safe_adapter_shield.safetensors"}
PLACES = (ROOT / "demo" / "weights", ROOT / "output" / "training")
REFERENCE = "a toy"
KINDS = "\n".join(phrase for kind in world.UNSAFE_KINDS for phrase in world.KIND_PHRASES[kind])


def trained(name: str) -> Path | None:
    """The file of a Safe Adapter, where there is one."""
    return next((folder / ADAPTERS[name] for folder in PLACES if (folder / ADAPTERS[name]).is_file()), None)


def missing(name: str) -> bool:
    """Whether this edit is one that is trained, and was not."""
    return name in ADAPTERS and trained(name) is None


def print_missing() -> None:
    """On the console, those that take no part."""
    for name in filter(missing, ADAPTERS):
        reward = Path(ADAPTERS[name]).stem.removeprefix("safe_adapter_")
        print(f"{name}: left out; `python -m demo.adapter train --reward {reward}` trains it", file=sys.stderr)


def digest(name: str) -> str:
    """Of the file of a Safe Adapter; empty where there is none."""
    file = trained(name)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8] if file else ""


class Edits:
    """Edited models and text encoders by the edit's name."""

    def __init__(self, session: DemoSession) -> None:
        self.session = session
        self._made: dict[str, tuple[Any, float]] = {}

    def edited(self, name: str, strength: float) -> tuple[Any, Any]:
        """(MODEL, CLIP) with the edit at a strength."""
        from safelight.engine import adapted_model, erase, redact, redacted_clip

        model, clip = self.session.model, self.session.clip
        if name in ADAPTERS:
            return adapted_model.adapted(model, self._adapter(name)[1], name, strength), clip
        made = self._edit(name)[0]
        if name in ERASE:
            return erase.apply_edit(model, made, strength), clip
        form, maps = redact.maps_of(made, name)
        return model, redacted_clip.redacted(clip, form, maps, strength)

    def price(self, name: str) -> dict[str, float]:
        """{"seconds": to make the edit, "bytes": of its file}; of an adapter those of its training and of its file."""
        if name in ADAPTERS:
            file, adapter = self._adapter(name)
            return {"seconds": adapter.settings["seconds"], "bytes": file.stat().st_size}
        made, seconds = self._edit(name)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "edit.safetensors"
            edit_file.write(file, made.kind, made.tensors, made.settings)
            return {"seconds": seconds, "bytes": file.stat().st_size}

    def _adapter(self, name: str) -> tuple[Path, Any]:
        """A trained file, and what it holds."""
        if (file := trained(name)) is None:
            raise FileNotFoundError(
                f"{name}: expected {ADAPTERS[name]}, got no file. Train it: python -m demo.adapter train"
            )
        return file, edit_file.Edit("adapter", *edit_file.read(file, "adapter"))

    def _edit(self, name: str) -> tuple[Any, float]:
        """The edit as its node gives it, and the seconds that it took."""
        if name not in self._made:
            began, nodes, clip = time.perf_counter(), self.session.nodes, self.session.clip
            if name in ERASE:
                made = nodes["SafelightErase"]().erase(self.session.model, clip, KINDS, epochs=ERASE[name])
            else:
                made = nodes["SafelightRedact"]().redact(clip, KINDS, REFERENCE, form=REDACT[name])
            self._made[name] = made[1], time.perf_counter() - began
        return self._made[name]
