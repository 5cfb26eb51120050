"""SafelightSLDPatch: Safe Latent Diffusion for any KSampler."""

from __future__ import annotations

from .bases import MethodPatchNode
from .sld_guider import SLDMethod


class SafelightSLDPatch(SLDMethod, MethodPatchNode):
    DESCRIPTION = SLDMethod.DESCRIPTION + " For any KSampler."
