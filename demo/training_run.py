"""The loop that every stage of the demo model's training runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm


def autocast(device: str) -> torch.autocast:
    """Half precision where the device computes in it: a CPU that doesn't would emulate it, at a fifth of the speed."""
    native = device != "cpu" or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)()
    return torch.autocast(device, torch.bfloat16, enabled=native)


class TrainingRun:
    """One stage's loop: cosine learning rate, progress bar, checkpoints, resume.

    state names what a checkpoint holds: everything with state_dict and load_state_dict.
    """

    def __init__(self, name: str, folder: Path, steps: int, state: dict, rates: float, warmup: int = 200) -> None:
        self.path = folder / f"{name}.ckpt"
        self.name, self.steps, self.state, self.rate, self.warmup = name, steps, state, rates, warmup
        self.step = 0
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.step = saved.pop("step")
            for key, value in saved.items():
                state[key].load_state_dict(value)

    def save(self) -> None:
        partial = self.path.with_suffix(".part")
        torch.save({"step": self.step, **{k: v.state_dict() for k, v in self.state.items()}}, partial)
        partial.replace(self.path)

    def loop(self, update: Callable[[int], dict[str, float]]) -> None:
        """Call update(step) until the steps are done; it returns the figures for the progress bar."""
        optimiser = self.state["optimiser"]
        saved, means = time.monotonic(), {}
        bar = tqdm(total=self.steps, initial=self.step, desc=self.name, mininterval=5)
        while self.step < self.steps:
            ramp = min(1.0, (self.step + 1) / self.warmup)
            decay = 0.5 + 0.5 * float(torch.cos(torch.tensor(torch.pi * self.step / self.steps)))
            for group in optimiser.param_groups:
                group["lr"] = self.rate * ramp * (0.02 + 0.98 * decay)
            for key, value in update(self.step).items():
                means[key] = 0.98 * means.get(key, value) + 0.02 * value
            self.step += 1
            bar.update()
            bar.set_postfix({k: f"{v:.4f}" for k, v in means.items()}, refresh=False)
            if time.monotonic() - saved > 60:
                self.save()
                saved = time.monotonic()
        bar.close()
        self.save()
