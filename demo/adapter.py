"""Trains a Safe Adapter for the demo model: `python -m demo.adapter train` from the repository's root, with ComfyUI
importable.

It uses policy gradients (demo/ddpo.py) on the detector's rewards: "erase" is ForceForget's concept-erasing reward,
"shield" the plain one of ShieldDiff. Training is seeded and can be resumed: each epoch writes a checkpoint, the adapter
and its curves. `--comfyui PATH` names a ComfyUI checkout; without it an installed `comfy` package is
used. The node Safelight Safe Adapter loads the file from models/safelight or output/safelight of a ComfyUI.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from runner.host_process import enter_host
from safelight.edits import edit_file, safe_adapter

from . import ddpo, rewards
from .policy import Attached, Drawn, Policy, Settings
from .training_run import autocast

MADE_FOR = "Safelight Demo Model"
SMOOTH = 10  # epochs in the running mean of the plotted curves


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    train = parser.add_subparsers(dest="command", required=True).add_parser("train", help="train an adapter")
    train.add_argument("--comfyui", type=Path, help="a ComfyUI checkout")
    train.add_argument("--reward", choices=rewards.REWARDS, default="erase")
    train.add_argument("--epochs", type=int, default=200)
    train.add_argument("--out", type=Path, help="default: output/training/safe_adapter_REWARD.safetensors")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    train.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train.add_argument("--tail", type=int, default=safe_adapter.TAIL, help="number of tokens with separate projections")
    train.add_argument("--rank", type=int, default=safe_adapter.RANK, help="rank of the LoRA on the other tokens")
    train.add_argument("--prompts", type=int, default=16, help="prompts per epoch")
    train.add_argument("--pictures", type=int, default=8, help="pictures of each prompt")
    train.add_argument("--benign", type=float, default=0.25, help="share of benign prompts")
    train.add_argument("--batch", type=int, default=4, help="prompts whose pictures are drawn together")
    for field in fields(Settings):
        train.add_argument(
            f"--{field.name}", type=type(field.default), default=field.default, help=field.metadata["help"]
        )
    return parser


def main() -> None:
    options = arguments().parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    enter_host(options.comfyui, cpu=options.device == "cpu").use_pytorch_cross_attention = True
    out = options.out or Path("output/training") / f"safe_adapter_{options.reward}.safetensors"
    out.parent.mkdir(parents=True, exist_ok=True)
    policy, texts, decode = demo_policy(options)
    Training(options, out, policy, texts, decode).run()


def demo_policy(
    options: argparse.Namespace,
) -> tuple[Policy, Callable[[str], torch.Tensor], Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]]:
    """The demo model as the nodes load it: (policy, function to encode a text, function to score clean latents).

    The denoiser is built as for training, because autograd refuses the host's blocks, which add in place.
    """
    from . import detector, loader, model, stages, world
    from .autoencoder import CHANNELS, DOWNSCALE, Autoencoder

    device = options.device
    if device == "cpu":
        torch.backends.cuda.enable_flash_sdp(False)  # plain attention trains these small maps in two thirds of the time
    weights = stages.committed("model")
    unet = model.build_unet(0)
    unet.load_state_dict({k.removeprefix("unet."): v for k, v in weights.items() if k.startswith("unet.")})
    unet.requires_grad_(False).eval().to(device)
    widths = {
        name: (module.in_features, module.out_features)
        for name, module in unet.named_modules()
        if name.endswith(safe_adapter.ENDINGS)
    }
    started = safe_adapter.start(widths, options.rank, options.seed)
    parameters = {name: value.to(device).requires_grad_() for name, value in started.items()}
    autoencoder, judge = Autoencoder(), detector.load().to(device)
    autoencoder.load_state_dict(stages.committed("vae"))
    autoencoder.requires_grad_(False).to(device)
    with torch.no_grad():
        clip = loader.load_clip(weights)

    @torch.no_grad()
    def states(text: str) -> torch.Tensor:
        return clip.encode_from_tokens(clip.tokenize(text), return_pooled=True)[0].float().to(device)

    def predict(x: torch.Tensor, times: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return unet(x, times, context=context)

    @torch.no_grad()
    def decode(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with autocast(device):
            pictures = autoencoder.decode(latents)
        return rewards.look(judge, (pictures.float() * 0.5 + 0.5).clamp(0, 1))

    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    adapter = Attached(unet, parameters, options.tail)
    shape = (CHANNELS, world.SIZE // DOWNSCALE, world.SIZE // DOWNSCALE)
    policy = Policy(predict, adapter, parameters, stages.noise_levels(), states(""), shape, settings)
    return policy, states, decode


class Training:
    """A training run. Its checkpoint records the options that define it, and only a run with the same can resume it."""

    def __init__(
        self,
        options: argparse.Namespace,
        out: Path,
        policy: Policy,
        states: Callable[[str], torch.Tensor],
        decode: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    ) -> None:
        self.options, self.out, self.policy, self.decode = options, out, policy, decode
        self.unsafe, self.benign = rewards.pool()
        self.states = {prompt: states(prompt.text) for prompt in (*self.unsafe, *self.benign)}
        self.checkpoint = out.with_suffix(".ckpt")
        self.curves: list[dict[str, float]] = []
        apart = ("command", "comfyui", "epochs", "out", "threads", "device")
        self.identity = {key: value for key, value in vars(options).items() if key not in apart}
        if self.checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        if saved["identity"] != self.identity:
            changed = [key for key in self.identity if saved["identity"].get(key) != self.identity[key]]
            raise SystemExit(
                f"--out: expected a checkpoint of a run with these options, got {self.checkpoint} with another "
                f"{', '.join(changed)}. Give another --out, or delete it to start again."
            )
        with torch.no_grad():
            for name, value in saved["parameters"].items():
                self.policy.parameters[name].copy_(value)
        self.policy.optimiser.load_state_dict(saved["optimiser"])
        self.curves = saved["curves"]

    def run(self) -> None:
        bar = tqdm(
            range(len(self.curves), self.options.epochs),
            initial=len(self.curves),
            total=self.options.epochs,
            desc=self.options.reward,
        )
        for epoch in bar:
            began = time.monotonic()
            figures = {"epoch": epoch, **self.epoch(epoch)}
            self.curves.append({**figures, "seconds": round(time.monotonic() - began, 2)})
            self.save()
            bar.set_postfix({key: f"{figures[key]:.3f}" for key in ("reward", "safe", "kept") if key in figures})
        if self.curves:
            picture(self.curves, self.out.with_suffix(".png"))

    def prompts(self, epoch: int) -> list[rewards.Prompt]:
        """The prompts of an epoch, without repeats; the benign ones are spread evenly over the batches."""
        rng = np.random.default_rng((self.options.seed, epoch))
        quiet = round(self.options.prompts * self.options.benign)
        drawn = [self.benign[i] for i in rng.choice(len(self.benign), quiet, replace=False)]
        loud = [self.unsafe[i] for i in rng.choice(len(self.unsafe), self.options.prompts - quiet, replace=False)]
        batches = -(-self.options.prompts // self.options.batch)
        ordered = drawn + loud
        return [prompt for start in range(batches) for prompt in ordered[start::batches]]

    def epoch(self, epoch: int) -> dict[str, float]:
        """Draws pictures, scores them and updates the adapter. Returns the epoch's figures."""
        options, policy = self.options, self.policy
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + epoch)
        prompts, device = self.prompts(epoch), policy.empty.device
        batches: list[Drawn] = []
        judged = []
        for start in range(0, len(prompts), options.batch):
            named = prompts[start : start + options.batch]
            states = torch.cat([self.states[prompt] for prompt in named])
            benign = torch.tensor([not prompt.unsafe for prompt in named], device=device)
            first = torch.randn(len(named), *policy.shape, generator=generator).to(device)
            fresh = torch.randn(len(named) * options.pictures, *policy.shape, generator=generator).to(device)
            step = int(torch.randint(policy.settings.early, (), generator=generator))
            batches.append(policy.draw(states, benign, first, fresh, step))
            each = [prompt for prompt in named for _ in range(options.pictures)]
            judged.append(rewards.judge(options.reward, each, *self.decode(batches[-1].clean)))
        total, safe, align = (torch.cat([getattr(one, part) for one in judged]) for part in ("total", "safe", "align"))
        groups = torch.arange(len(total), device=device) // options.pictures
        advantages = ddpo.advantages(total, groups).split([len(batch.clean) for batch in batches])
        learnt = policy.learn(batches, list(advantages))
        calm = torch.cat([batch.benign for batch in batches])
        means = {
            "reward": total.nanmean(),
            "safe": safe[~calm].mean(),
            "align": align[~calm].mean(),
            "kept": align[calm].mean(),
            "left out": total.isnan().float().mean(),
        }
        return {name: float(value) for name, value in means.items() if not value.isnan()} | learnt

    def save(self) -> None:
        """Writes the checkpoint, the adapter and the curves; each file appears only when it is whole."""
        policy = self.policy
        part = self.checkpoint.with_suffix(".part")
        parameters = {name: value.detach().cpu() for name, value in policy.parameters.items()}
        saved = {
            "identity": self.identity,
            "parameters": parameters,
            "optimiser": policy.optimiser.state_dict(),
            "curves": self.curves,
        }
        torch.save(saved, part)
        part.replace(self.checkpoint)
        settings = {
            "model": MADE_FOR,
            "tail": self.options.tail,
            "chunk": safe_adapter.CHUNK,
            "epochs": len(self.curves),
            "seconds": round(sum(one["seconds"] for one in self.curves), 1),
            **{k: v for k, v in self.identity.items() if k != "tail"},
        }
        edit_file.write(self.out, "adapter", {name: value.half() for name, value in parameters.items()}, settings)
        curves = self.out.with_suffix(".json")
        part = curves.with_suffix(".part")
        part.write_text(json.dumps({"settings": settings, "epochs": self.curves}, indent=1) + "\n", encoding="utf-8")
        part.replace(curves)


def picture(curves: list[dict[str, float]], path: Path) -> None:
    """Plots the rewards over the epochs as running means of SMOOTH epochs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = {
        "safe": "safety, unsafe prompts",
        "align": "alignment, unsafe prompts",
        "kept": "alignment, benign prompts",
        "reward": "reward, all prompts",
    }
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for key, label in shown.items():
        points = [(one["epoch"] + 1, one[key]) for one in curves if key in one]
        values = np.array([value for _, value in points])
        smooth = [values[max(0, i + 1 - SMOOTH) : i + 1].mean() for i in range(len(values))]
        axes.plot([epoch for epoch, _ in points], smooth, label=label)
    axes.set(xlabel="epoch", ylabel="mean", ylim=(0, 1))
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
