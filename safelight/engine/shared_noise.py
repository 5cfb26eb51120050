"""The noise that a sampler of the host draws while it runs, drawn once for all frames of a strip.

Seeded generators and Brownian trees depend on the shape that they fill, so a frame gets the noise of a single run only
if one frame's shape is drawn. The host's samplers are listed here by how they draw; any other sampler may mix the
frames and is not run on several at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import comfy.k_diffusion.sampling as k_diffusion
import torch

from safelight.engine.wrapped_sampler import SamplerCall, wrapped_sampler

if TYPE_CHECKING:
    from comfy.samplers import KSAMPLER

Draw = Callable[..., torch.Tensor]  # noise from (sigma, next sigma)

# They draw nothing with the settings of a KSampler.
STEADY = frozenset(
    {
        "euler",
        "heun",
        "heunpp2",
        "exp_heun_2_x0",
        "dpm_2",
        "lms",
        "dpm_fast",
        "dpmpp_2m",
        "ipndm",
        "ipndm_v",
        "deis",
        "res_multistep",
        "gradient_estimation",
        "ddim",
        "uni_pc",
        "uni_pc_bh2",
    }
)
# They draw from the host's default_noise_sampler.
DRAWING = frozenset(
    {
        "euler_ancestral",
        "dpm_2_ancestral",
        "dpmpp_2s_ancestral",
        "ddpm",
        "lcm",
        "res_multistep_ancestral",
        "er_sde",
        "seeds_2",
        "seeds_3",
        "exp_heun_2_x0_sde",
        "sa_solver",
        "sa_solver_pece",
    }
)
# They draw from a Brownian tree; those with "_gpu" after the name on the device of the latents.
BROWNIAN = frozenset({"dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"})

_FUNCTIONS = {
    "sample_unipc": "uni_pc",
    "sample_unipc_bh2": "uni_pc_bh2",
    "dpm_fast_function": "dpm_fast",
    "dpm_adaptive_function": "dpm_adaptive",
}
# Settings by which a sampler draws from the global generator, or keeps what one call of the guider found.
_MIXING = ("s_churn", "cfg_pp")


def listed_name(sampler: KSAMPLER) -> str:
    """The name of a SAMPLER's function in the host's list (ddim is euler); "" where it is not the host's, or has
    settings that no KSampler gives it and by which it may mix the frames."""
    function = getattr(sampler, "sampler_function", None)
    name, module = getattr(function, "__name__", ""), getattr(function, "__module__", "")
    if module.partition(".")[0] != "comfy" or any(sampler.extra_options.get(key) for key in _MIXING):
        return ""
    return _FUNCTIONS.get(name, name.removeprefix("sample_"))


def share_noise(name: str, sampler: KSAMPLER, frames: int, masked: bool) -> KSAMPLER | None:
    """A sampler that draws the same noise for each of `frames` equal parts of a batch; None where there can be none.

    name: the sampler's, in the host's list. masked: whether the run has a noise mask.
    """
    if masked and sampler.inpaint_options.get("random"):  # it fills the mask's outside with noise of the batch's shape
        return None
    if name in STEADY:
        return sampler
    tree = name.removesuffix("_gpu") in BROWNIAN
    if not tree and name not in DRAWING:
        return None

    def sample(call: SamplerCall) -> torch.Tensor:
        draw, of_frame = _brownian if tree else _seeded, call.x[: call.x.shape[0] // frames]
        one = draw(of_frame, call.sigmas, call.extra_args.get("seed"), not name.endswith("_gpu"))

        def for_all(*interval: float | torch.Tensor) -> torch.Tensor:
            return torch.cat([one(*interval)] * frames)

        return call.run(noise_sampler=for_all)

    return wrapped_sampler(sampler, sample)


def _seeded(x: torch.Tensor, sigmas: torch.Tensor, seed: int | None, on_cpu: bool) -> Draw:
    """The samplers' default where they get no noise_sampler. Before 2025 it drew from torch's global generator."""
    seeded = "seed" in inspect.signature(k_diffusion.default_noise_sampler).parameters
    return k_diffusion.default_noise_sampler(x, **({"seed": seed} if seeded else {}))


def _brownian(x: torch.Tensor, sigmas: torch.Tensor, seed: int | None, on_cpu: bool) -> Draw:
    low, high = sigmas[sigmas > 0].min(), sigmas.max()
    return k_diffusion.BrownianTreeNoiseSampler(x, low, high, seed=seed, cpu=on_cpu)
