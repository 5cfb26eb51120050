"""Growth inhibitors with two streams (GIE, arXiv 2408.01014): the plain picture runs beside the one that loses the
targets, and lends it its attention maps.

Each stream has a latent of its own, from the same noise; the sampler's function alone sees the two as one batch. Its
every call of the model becomes two calls of a single run's rows: first the plain picture's, which is the stock call,
then the other's. So areas, masks, ControlNets and hooks are the host's work as in any run, and nothing that the second
stream does reaches the first. What is shared is the map of the prompt's cross-attention: softmax(q k), of which k is
the same for both, as the prompt is. So the second stream asks with the queries of the first, and takes the prompt's
values where the plain picture would have them; what it finds of the targets it looks for with its own queries. The
targets' texts stand in no prompt, in no step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch

from safelight.engine.branches import any_active
from safelight.engine.draws import undone_draws
from safelight.engine.inhibited_attention import After, Before, ByRow, Place, inhibitors
from safelight.engine.shared_noise import listed_name, share_noise
from safelight.engine.wrapped_sampler import SamplerCall, wrapped_sampler

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import KSAMPLER, KSamplerX0Inpaint

    from safelight.text.encoding import Encoding

# The part of the run in which maps are shared, by progress of the noise level: the released code's. From .6 to 1 it
# makes little difference on the small model (js/docs/SafelightGrowthInhibitorsGuider.md), so nothing sets it.
SHARED = 0.8
_UNLIKE = (
    "model: expected the plain picture and the other to be evaluated alike for Safelight Growth Inhibitors Guider, got "
    "two calls of the model with different rows in its cross-attentions: a patch leaves some out, as a step cache "
    "does. Remove that node, or use Safelight Growth Inhibitors."
)


class TwoStreamsGuider(comfy.samplers.CFGGuider):
    """The host's guider, of whose two streams the second one's picture comes out.

    Its model has the patch of growth inhibitors, so that another guider made of it takes the targets away too.
    """

    def __init__(self, model: ModelPatcher, targets: Sequence[Encoding], strength: float) -> None:
        taking, self._before, self._after = inhibitors(model, targets, strength)
        super().__init__(taking)

    def sample(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: KSAMPLER,
        sigmas: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        if sigmas.shape[-1] > 1:
            sampler = self._two_streams(sampler)
        return super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)

    def _two_streams(self, sampler: KSAMPLER) -> KSAMPLER:
        """The sampler on both latents, with the same noise for each; it gives the second one."""
        name = listed_name(sampler)
        both = share_noise(name, sampler, 2, masked=False)  # a mask's noise is drawn outside of the sampler's function
        if both is None:
            raise ValueError(
                "sampler: expected one of the host's whose noise two latents can share for Safelight Growth Inhibitors "
                f"Guider (euler, dpmpp_2m, dpmpp_2m_sde and most others), got {name or 'another one'}. Choose one of "
                "those, or use Safelight Growth Inhibitors."
            )

        def sample(call: SamplerCall) -> torch.Tensor:
            def second(step: dict[str, Any]) -> None:
                if call.callback is not None:
                    call.callback({**step, **{key: step[key].chunk(2)[1] for key in ("x", "denoised")}})

            sampling = call.model.inner_model.inner_model.model_sampling
            until = float(sampling.percent_to_sigma(SHARED))
            streams = _Streams(call.model, self._before, self._after, until)
            out = replace(call, model=streams, x=torch.cat([call.x, call.x]), callback=second).run()
            return out.chunk(2)[1]

        return wrapped_sampler(both, sample)


class _Streams:
    """A sampler's model for the latents of both streams in one batch, the plain picture's first.

    before, after: the patches on the model by which the second stream loses the targets. until: the noise level down to
    which maps are shared. From then on the plain picture's latent has nothing to give, and is evaluated no more.
    """

    def __init__(self, model: KSamplerX0Inpaint, before: Before, after: After, until: float) -> None:
        self._model, self._before, self._after, self._until = model, before, after, until
        self._sharing = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)  # samplers ask it for the model's sampling

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, *, model_options: dict[str, Any], **further: Any
    ) -> torch.Tensor:
        (x_plain, x_taking), (sigma, _) = x.chunk(2), sigma.chunk(2)
        self._sharing = self._sharing and float(sigma[0]) > self._until
        if not self._sharing:
            denoised = self._model(x_taking, sigma, model_options=model_options, **further)
            return torch.cat([denoised, denoised])
        queries = _Queries(self._before)
        plain = _changed(model_options, (self._before, [queries.lend]), (self._after, []))
        taking = _changed(model_options, (self._before, [self._before, queries.borrow]))
        with undone_draws(x):  # the same draws for both
            denoised_plain = self._model(x_plain, sigma, model_options=plain, **further)
        denoised = self._model(x_taking, sigma, model_options=taking, **further)
        queries.check(any_active(self._model.inner_model.conds["positive"], sigma[0]))
        return torch.cat([denoised_plain, denoised])


class _Queries:
    """What the conditional rows of the plain picture's calls ask with in every cross-attention, in the order of the
    calls, until the same rows of the second stream's have asked with it."""

    def __init__(self, before: Before) -> None:
        self._before = before
        self._rows: dict[Place, deque[torch.Tensor]] = {}
        self.lend, self.borrow = _Patch(self._lend), _Patch(self._borrow)

    def _lend(self, n: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        place, rows = self._before.rows(n, options)
        if rows:
            self._rows.setdefault(place, deque()).extend(n[rows])
        return n

    def _borrow(self, n: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """Row by row, since the host may divide the rows of a call otherwise where it has less memory."""
        place, rows = self._before.rows(n, options)
        lent = self._rows.get(place, deque())
        if len(lent) < len(rows) or any(lent[i].shape != n.shape[1:] for i in range(len(rows))):
            raise ValueError(_UNLIKE)
        n = n.clone()
        for row in rows:
            n[row] = lent.popleft()
        return n

    def check(self, prompted: bool) -> None:
        """Raises ValueError where the second stream's calls have asked less than the plain picture's, or where neither
        has asked anything though the prompt takes part in the step."""
        if any(self._rows.values()) or (prompted and not self._rows):
            raise ValueError(_UNLIKE)


class _Patch(ByRow):
    """A patch in front of a cross-attention that changes the queries alone."""

    def __init__(self, of_queries: Callable[[torch.Tensor, dict[str, Any]], torch.Tensor]) -> None:
        self._of_queries = of_queries

    def __call__(
        self, n: torch.Tensor, context: torch.Tensor, value: torch.Tensor, options: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self._of_queries(n, options), context, value


def _changed(model_options: dict[str, Any], *instead: tuple[ByRow, list[ByRow]]) -> dict[str, Any]:
    """The options with other patches of the network in the place of some."""
    options, others = model_options["transformer_options"], {id(patch): new for patch, new in instead}
    patches = {
        kind: [new for patch in each for new in others.get(id(patch), [patch])]
        for kind, each in options["patches"].items()
    }
    return {**model_options, "transformer_options": {**options, "patches": patches}}
