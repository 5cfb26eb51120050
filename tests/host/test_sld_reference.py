"""Safe Latent Diffusion against a whole run of diffusers' own pipeline: the same network, latent and noise levels.

tests/vectors/make_sld_reference.py wrote its latents: DDIM (eta 0), 50 steps, CFG 7.5, float64. The latent of the host
is the pipeline's times sqrt(1 + sigma^2), and with that a DDIM step is Euler's from the sigma of its timestep to the
next one's. Both runs end at noise level 0.
"""

from __future__ import annotations

import sys

import comfy.model_base
import comfy.samplers
import comfy.supported_models
import comfy.utils
import numpy as np
import pytest
import torch
from host import VERSION, call
from loading import ROOT
from safetensors.torch import load_file
from tiny_models import UNET, UnscaledLatent, config_of, patcher

from safelight.guidance import progress, sld

VECTORS = ROOT / "tests" / "vectors"
sys.path.append(str(VECTORS))

from sld_inputs import CFG, STEPS, parameter, start, text_state  # noqa: E402

REFERENCE = load_file(VECTORS / "sld_runs.safetensors")
# Stable Diffusion's DDIM timesteps: 981, 961, ... 1.
TIMESTEPS = [1 + 20 * i for i in reversed(range(STEPS))]
WARM_UP_STEPS = {"weak": 15, "medium": 10, "strong": 7, "max": 0}


class Reader:
    """A CLIP that knows the safety concept, and the empty text."""

    tokenizer = None

    def tokenize(self, text):
        return text

    def encode_from_tokens(self, tokens, return_pooled=False, **_):
        states = torch.from_numpy(text_state({"what is unsafe": "safety", "": "negative"}[tokens]))
        return (states, None) if return_pooled else states

    def encode_from_tokens_scheduled(self, tokens, **_):
        return state_of({"what is unsafe": "safety", "": "negative"}[tokens])


def state_of(text):
    return [[torch.from_numpy(text_state(text)), {}]]


@pytest.fixture(scope="module")
def model():
    """The host's UNet with the values of the pipeline's."""
    network = comfy.model_base.BaseModel(config_of(comfy.supported_models.SD15, UNET, UnscaledLatent))
    made = patcher(network)
    names = {ours: theirs for theirs, ours in comfy.utils.unet_to_diffusers(UNET).items()}
    for ours, values in network.diffusion_model.named_parameters():
        values.copy_(torch.from_numpy(parameter(names[ours], tuple(values.shape))))
    return made


@pytest.fixture(scope="module")
def sigmas(model):
    levels = model.get_model_object("model_sampling").sigmas[TIMESTEPS]
    return torch.cat([levels, levels.new_zeros(1)])


def sample(guider, sigmas):
    latent = torch.from_numpy(start()) * (1 + sigmas[0] ** 2).sqrt()
    return guider.sample(
        torch.zeros_like(latent), latent, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=0
    ).double()


def relative(ours, theirs, scale=None):
    return float(torch.linalg.norm(ours - theirs) / torch.linalg.norm(theirs if scale is None else scale))


def test_without_safety_the_two_runs_are_the_same(model, sigmas):
    """What the proof rests on: one network, one start, one schedule."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(state_of("prompt"), state_of("negative"))
    guider.set_cfg(CFG)
    assert relative(sample(guider, sigmas), REFERENCE["plain"]) <= 1e-5


@pytest.mark.parametrize("preset", WARM_UP_STEPS)
def test_the_warm_up_ends_at_the_same_step(pack, model, sigmas, preset):
    warm_up = sld.PRESETS[preset].warm_up
    percent_to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    warm = [
        step for step in range(STEPS) if progress.noise_level_progress(float(sigmas[step]), percent_to_sigma) < warm_up
    ]
    assert warm == list(range(WARM_UP_STEPS[preset]))


@pytest.mark.parametrize("preset", WARM_UP_STEPS)
def test_a_whole_run_is_the_released_pipelines(pack, model, sigmas, preset, monkeypatch, remark):
    direction, unguided = sld.SafeLatentDiffusion.direction, []

    def seen(self, noise_0, noise_p, noises, step):
        unguided.append((noise_p - noises[0] >= self.config.threshold) | (noise_p == noises[0]))
        return direction(self, noise_0, noise_p, noises, step)

    monkeypatch.setattr(sld.SafeLatentDiffusion, "direction", seen)
    guider, _ = call(
        pack.nodes["SafelightSLDGuider"],
        model=model,
        clip=Reader(),
        positive=state_of("prompt"),
        negative=state_of("negative"),
        cfg=CFG,
        concept="what is unsafe",
        preset=preset,
    )
    ours, theirs = sample(guider, sigmas), REFERENCE[preset]

    calls = len(unguided)
    bits = np.unpackbits(REFERENCE[f"{preset} mask"].numpy(), axis=1)[STEPS - calls :].astype(bool)
    flipped = float((torch.stack(unguided).flatten(1).numpy() != bits).mean())
    off, effect = relative(ours, theirs), theirs - REFERENCE["plain"]
    of_the_effect = relative(ours, theirs, effect)
    remark(
        f"SLD {preset} on {VERSION}: {off:.1e} from the pipeline's latent, {of_the_effect:.1e} of what the guidance "
        f"changes; {flipped:.1e} of the mask's elements flipped"
    )
    # Weak has no momentum, and so no need to evaluate the concept during the warm-up.
    assert calls == STEPS - (WARM_UP_STEPS[preset] if preset == "weak" else 0)
    assert off <= 1e-3
    assert of_the_effect <= 1e-3
    assert flipped <= 1e-3
