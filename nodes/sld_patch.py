"""SafelightSLDPatch: Safe Latent Diffusion for any KSampler."""

from __future__ import annotations

from .bases import NoisePatchNode
from .sld_guider import SLDMethod


class SafelightSLDPatch(SLDMethod, NoisePatchNode):
    DESCRIPTION = SLDMethod.DESCRIPTION + " For any KSampler."
