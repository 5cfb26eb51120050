"""The state of a training in a file, so that an interrupted one goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from safelight.engine.low_rank import Adapters

_PARTS = ("exp_avg", "exp_avg_sq", "step")  # what AdamW keeps of a parameter


class StateFile:
    """identity: of the training, in which all stands that its result depends on but the number of steps."""

    def __init__(self, path: str | os.PathLike[str], identity: str) -> None:
        self.path, self.identity = Path(path), identity

    def save(self, adapters: Adapters, optimiser: torch.optim.Optimizer, losses: list[float]) -> None:
        """The file appears only when it is whole."""
        if not losses:
            return
        tensors: dict[str, torch.Tensor] = {}
        for i, (now, mean) in enumerate(zip(adapters.parameters(), adapters.means(), strict=True)):
            tensors |= {f"{i}.student": now, f"{i}.mean": mean}
            tensors |= {f"{i}.{part}": value for part, value in optimiser.state.get(now, {}).items() if part in _PARTS}
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.part")
        try:
            save_file(stored, str(part), metadata={"identity": self.identity, "losses": json.dumps(losses)})
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)

    @torch.no_grad()
    def restore(self, adapters: Adapters, optimiser: torch.optim.Optimizer) -> list[float]:
        """The losses so far, after putting the state into both; none where there is no file of this training."""
        try:
            with safe_open(str(self.path), framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("identity") != self.identity:
                    return []
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  no dictionary
        except (FileNotFoundError, SafetensorError):
            return []
        for i, (now, mean) in enumerate(zip(adapters.parameters(), adapters.means(), strict=True)):
            now.copy_(tensors[f"{i}.student"])
            mean.copy_(tensors[f"{i}.mean"])
            kept = {part: tensors[f"{i}.{part}"] for part in _PARTS if f"{i}.{part}" in tensors}
            if kept:  # the count of steps stays on the CPU, where AdamW has it
                optimiser.state[now] = {part: each if part == "step" else each.to(now) for part, each in kept.items()}
        return json.loads(metadata["losses"])

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
