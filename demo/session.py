"""A host in this process with the pack and the demo model in it, driven through the pack's own nodes."""

from __future__ import annotations

import argparse
import atexit
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from runner.host_process import enter_host, load_pack

ROOT = Path(__file__).resolve().parents[1]
STEPS, CFG, SAMPLER, SCHEDULER, SEED = 20, 3.0, "dpmpp_2m", "karras", 7
DENOISE = 0.6  # of image to image
BATCH = 20
SETTINGS = {"steps": STEPS, "cfg": CFG, "sampler": SAMPLER, "scheduler": SCHEDULER}


def arguments(about: str | None, **further: Any) -> argparse.ArgumentParser:
    """The option of every command that starts a host."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter, **further)
    parser.add_argument("--comfyui", type=Path, metavar="PATH", help="a ComfyUI checkout; without it the installed one")
    return parser


class DemoSession:
    """The demo model and the nodes, for batches of different prompts at once."""

    def __init__(self, comfyui: Path | None = None, seed: int = SEED) -> None:
        folder = Path(tempfile.mkdtemp(prefix="safelight-demo-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        enter_host(comfyui, folder=folder)
        import torch

        torch.set_grad_enabled(False)
        self.nodes = load_pack().NODE_CLASS_MAPPINGS
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

    def encoder_risk(self, prompt: str, concepts: str) -> float:
        """Of SafelightEncoderRisk."""
        return self.nodes["SafelightEncoderRisk"]().measure(self.clip, prompt, concepts)["result"][0]

    def vector(self, pairs: list[tuple[str, str]]) -> Any:
        """The SAFELIGHT_EDIT of SafelightConceptVector for pairs of (unsafe, safe) prompts."""
        unsafe, safe = ("\n".join(texts) for texts in zip(*pairs, strict=True))
        return self.nodes["SafelightConceptVector"]().make(self.clip, unsafe, safe)[0]

    def subspace_only(self, prompt: str, concepts: str) -> tuple[list[Any], list[Any], float]:
        """As context with the method `project`, but trigger words lose their part in the subspace alone."""
        from safelight.engine.context_states import project_context

        encoded = project_context(self.clip, prompt, concepts, strength=1.0, risk=0.0, removal="part")
        return encoded.positive, encoded.safe, encoded.verdict.risk

    def words(self, prompt: str, concepts: str, caption: str = "") -> Any:
        """The SAFELIGHT_WORDS of SafelightWords."""
        node = self.nodes["SafelightWords"]()
        return getattr(node, node.FUNCTION)(self.clip, prompt, concepts=concepts, caption=caption)[0]

    def schedule(self, points: list[list[float]], context: float) -> Any:
        curve = {"points": points, "interpolation": "linear"}
        return self.nodes["SafelightWeightSchedule"]().make("custom", context, "noise level", curve=curve)[0]

    def begin(self, numbers: list[int], start: Any = None) -> tuple[dict[str, Any], int, float]:
        """(LATENT, seed, denoise) of a run. numbers: which noise each picture starts from, whatever the batch it is in.
        start: latents to begin from, for image to image; its noise is another than that which they were made from."""
        import torch

        from demo import autoencoder, world

        if start is None:  # as the host's node has it, for any model
            side = world.SIZE // autoencoder.DOWNSCALE
            return {"samples": torch.zeros(len(numbers), 4, side, side), "batch_index": numbers}, self.seed, 1.0
        return {"samples": start, "batch_index": numbers}, self.seed + 1, DENOISE

    def latents(
        self,
        positive: list[list[Any]],
        safe: list[list[Any]],
        numbers: list[int],
        safety: float,
        start: Any = None,
        sampler: str = SAMPLER,
        **inputs: Any,
    ) -> tuple[Any, dict[str, Any], Any]:
        """Latents of SafelightKSampler for B prompts in one batch, its report and trace. numbers, start: see begin.

        Each run evaluates all that it needs, unless `memory` says otherwise, so that its rows are those of a first run.
        """
        import torch

        from safelight.text.conditioning import together

        latent, seed, denoise = self.begin(numbers, start)
        conds = together(positive), together(safe), self.negative
        sampling = STEPS, CFG, sampler, SCHEDULER, denoise, safety
        with torch.inference_mode():
            answer = self.nodes["SafelightKSampler"]().sample(
                self.model, *conds, latent, seed, *sampling, **{"memory": False, **inputs}
            )
        latents, report, trace, _ = answer["result"]
        return latents["samples"], json.loads(report), trace

    def sample(self, *conds: Any, **inputs: Any) -> tuple[Any, dict[str, Any]]:
        """As latents: pictures [B, H, W, 3], and the report."""
        latents, report, _ = self.latents(*conds, **inputs)
        return self.decode(latents), report

    def stock(self, positive: list[Any], numbers: list[int]) -> Any:
        """Latents of the host's own sampler, as its KSampler node has it, for one prompt."""
        import torch
        from comfy import sample

        from safelight.engine import host

        latent, seed, denoise = self.begin(numbers)
        samples = host.fix_empty_latent(self.model, latent)
        noise = sample.prepare_noise(samples, seed, numbers)
        run = STEPS, CFG, SAMPLER, SCHEDULER, positive, self.negative, samples
        with torch.inference_mode():
            return sample.sample(self.model, noise, *run, denoise=denoise, disable_pbar=True, seed=seed)

    def decode(self, latents: Any) -> Any:
        """Pictures [B, H, W, 3] in [0, 1]."""
        import torch

        with torch.inference_mode():
            return self.vae.decode(latents).float().clamp(0, 1)


def sample_with(
    model: Any,
    guider: Any,
    latent: dict[str, Any],
    seed: int,
    steps: int = STEPS,
    denoise: float = 1.0,
    numbers: list[int] | None = None,
    **shown: Any,
) -> Any:
    """The samples of a guider that is run as the KSampler node runs its own, with the same noise and sigmas.

    numbers: which noise each picture starts from; without them the batch's. shown: callback, disable_pbar.
    """
    import comfy.samplers

    from safelight.engine import host
    from safelight.engine.ksampler import stock_sampler

    samples = host.fix_empty_latent(model, latent)
    noise = host.make_noise(samples, seed, numbers, False)
    sigmas = stock_sampler(model, steps, SAMPLER, SCHEDULER, denoise).sigmas
    return guider.sample(noise, samples, comfy.samplers.sampler_object(SAMPLER), sigmas, seed=seed, **shown)
