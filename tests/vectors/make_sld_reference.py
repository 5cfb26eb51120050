"""Writes the references of Safe Latent Diffusion, from diffusers' own pipeline.

    pip install torch numpy safetensors "transformers<5" diffusers==0.33.1
    python tests/vectors/make_sld_reference.py

In an environment of its own: the package index build of ComfyUI and diffusers do not get on. 0.33.1 is the last release
that supports StableDiffusionPipelineSafe, whose __call__ has the method's released equations (perform_safety_guidance
beside it is dead code with two arguments the wrong way round). Everything here goes through that __call__, with
stand-ins for the parts that make no difference: tokenizer, text encoder, decoder.

sld_guided.safetensors: for each preset the guided noise that reaches the scheduler, [50, 2, 4, 4, 4], float64, where a
    stand-in network replays the noise predictions of sld_inputs.sequences.
sld_runs.safetensors: for each preset, and for "plain" without safety guidance, the last latent of a whole run of a tiny
    UNet, [1, 4, 8, 8], float64, from the same latent; for each preset also "<preset> mask", where mu is zero: one bit
    an element of every step, [50, 32], as numpy.packbits has them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipelineSafe, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion_safe import SafetyConfig
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
from sld_inputs import CFG, CONTEXT, STEPS, TOKENS, parameter, sequences, start, text_state  # noqa: E402

HERE = Path(__file__).parent
PRESETS = {name: getattr(SafetyConfig, name.upper()) for name in ("weak", "medium", "strong", "max")}
PLAIN = "plain"
SAFETY = "safety"


class Tokenizer:
    """One number for a text: the prompt, nothing (the negative), or the safety concept."""

    model_max_length = TOKENS
    texts = ["prompt", "", SAFETY]

    def __call__(self, texts, **_):
        texts = [texts] if isinstance(texts, str) else texts
        ids = torch.tensor([[self.texts.index(text)] * TOKENS for text in texts])
        return SimpleNamespace(input_ids=ids, attention_mask=torch.ones_like(ids))


class TextEncoder(torch.nn.Module):
    """The states of sld_inputs for the tokenizer's numbers."""

    def __init__(self, dtype):
        super().__init__()
        self.config = SimpleNamespace()
        self.dtype, self.device = dtype, torch.device("cpu")

    def forward(self, ids, attention_mask=None):
        names = ["prompt", "negative", SAFETY]
        return (torch.cat([torch.from_numpy(text_state(names[row[0]])) for row in ids]).to(self.dtype),)


class Decoder(torch.nn.Module):
    """No picture is wanted, only the latent that the pipeline hands over here."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(block_out_channels=[1] * 4, scaling_factor=1.0)
        self.dtype, self.device = torch.float32, torch.device("cpu")
        self.latent = None

    def decode(self, latent, return_dict=False):
        self.latent = latent
        return (torch.zeros(len(latent), 3, 8, 8),)


class Replay(torch.nn.Module):
    """A network that answers call i with the i-th entry of given noise predictions, [steps, 3, B, C, H, W]."""

    def __init__(self, noises):
        super().__init__()
        self.noises, self.call = noises, 0
        self.config = SimpleNamespace(in_channels=noises.shape[3], sample_size=noises.shape[-1])
        self.dtype, self.device = noises.dtype, torch.device("cpu")

    def forward(self, latents, t, encoder_hidden_states, added_cond_kwargs=None):
        e_0, e_p, e_s = self.noises[self.call]
        self.call += 1
        return SimpleNamespace(sample=torch.cat([e_0, e_p, e_s]))


class Scheduler(DDIMScheduler):
    """DDIM that keeps the guided noise that the pipeline hands over."""

    def step(self, model_output, *args, **kwargs):
        self.seen = [*getattr(self, "seen", []), model_output]
        return super().step(model_output, *args, **kwargs)


def scheduler():
    """Stable Diffusion's noise levels and the pipeline's DDIM, but for the last step.

    With set_alpha_to_one the last step ends at noise level 0, where a run of the host ends; Stable Diffusion's own
    configuration ends it at the level of timestep 0, .03, with a latent that still has that much noise in it.
    """
    return Scheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def call(unet, latents, preset):
    """The real pipeline's __call__. Returns the guided noise of every step and the last latent."""
    steps, decoder = scheduler(), Decoder()
    pipeline = StableDiffusionPipelineSafe(
        vae=decoder,
        text_encoder=TextEncoder(latents.dtype),
        tokenizer=Tokenizer(),
        unet=unet,
        scheduler=steps,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.safety_concept = SAFETY
    pipeline.set_progress_bar_config(disable=True)
    pipeline(
        ["prompt"] * len(latents),
        height=8 * latents.shape[-2],
        width=8 * latents.shape[-1],
        eta=0.0,
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        latents=latents,
        output_type="np",
        **PRESETS.get(preset, {"sld_guidance_scale": 0.0}),
    )
    return torch.stack(steps.seen), decoder.latent


def network(dtype):
    """A UNet like Stable Diffusion's, two levels of one block, with the values of sld_inputs."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=CONTEXT,
        attention_head_dim=8,
    )
    with torch.no_grad():
        for name, values in unet.named_parameters():
            values.copy_(torch.from_numpy(parameter(name, tuple(values.shape))))
    return unet.to(dtype).eval()


def run(preset, dtype):
    """A whole run. Returns the last latent and, step by step, where the safety concept gets no guidance (mu is 0)."""
    unet, masks = network(dtype), []

    def see(_, __, output):
        _, e_p, e_s = output.sample.chunk(3)
        masks.append((e_p - e_s >= PRESETS[preset]["sld_threshold"]) | (e_p == e_s))

    if preset != PLAIN:
        unet.register_forward_hook(see)
    return call(unet, torch.from_numpy(start()).to(dtype), preset)[1], masks


def main():
    noises = torch.from_numpy(sequences())
    about = {"diffusers": diffusers.__version__, "torch": torch.__version__}
    guided = {preset: call(Replay(noises), torch.zeros_like(noises[0, 0]), preset)[0] for preset in PRESETS}
    save_file(guided, HERE / "sld_guided.safetensors", about)

    runs = {PLAIN: run(PLAIN, torch.float64)[0]}
    for preset in PRESETS:
        runs[preset], masks = run(preset, torch.float64)
        runs[f"{preset} mask"] = torch.from_numpy(np.packbits(torch.stack(masks).flatten(1).numpy(), axis=1))
        in_float32, masks_32 = run(preset, torch.float32)
        rounding = torch.linalg.norm(in_float32 - runs[preset]) / torch.linalg.norm(runs[preset])
        flipped = torch.stack([a != b for a, b in zip(masks, masks_32, strict=True)]).double().mean()
        share = torch.stack(masks).double().mean()
        print(f"{preset}: mu is zero in {share:.3f}; the pipeline in float32 is {rounding:.1e} off, mask {flipped:.1e}")
    save_file(runs, HERE / "sld_runs.safetensors", about)


if __name__ == "__main__":
    main()
