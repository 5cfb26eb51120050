"""A sampler of the host with something around its function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch

if TYPE_CHECKING:
    from comfy.samplers import KSAMPLER, KSamplerX0Inpaint


@dataclass(frozen=True)
class SamplerCall:
    """A call of a sampler's function, with what the host hands it.

    x: the noisy latents [B, C, ...] at the first of `sigmas`. extra_args: for every call of the model. callback: for
    each step's values by name, None where nobody listens. options: the sampler's own settings.
    """

    function: Callable[..., torch.Tensor]
    model: KSamplerX0Inpaint
    x: torch.Tensor
    sigmas: torch.Tensor
    extra_args: dict[str, Any]
    callback: Callable[[dict[str, Any]], None] | None
    disable: bool
    options: dict[str, Any]

    def run(self, **further: Any) -> torch.Tensor:
        """The latents at the last sigma. further: more settings of the function."""
        return self.function(
            self.model,
            self.x,
            self.sigmas,
            extra_args=self.extra_args,
            callback=self.callback,
            disable=self.disable,
            **self.options,
            **further,
        )


def wrapped_sampler(sampler: KSAMPLER, sample: Callable[[SamplerCall], torch.Tensor]) -> KSAMPLER:
    """A sampler with the name and the settings of another, of which `sample` answers the calls."""

    @functools.wraps(sampler.sampler_function)  # the host tells samplers apart by name
    def answer(
        model: KSamplerX0Inpaint,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable[..., None] | None,
        disable: bool,
        **options: Any,
    ) -> torch.Tensor:
        return sample(SamplerCall(sampler.sampler_function, model, x, sigmas, extra_args, callback, disable, options))

    return comfy.samplers.KSAMPLER(answer, sampler.extra_options, sampler.inpaint_options)
