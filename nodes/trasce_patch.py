"""SafelightTraSCEPatch: the modified negative guidance of TraSCE for any KSampler."""

from __future__ import annotations

from .bases import NoisePatchNode
from .trasce_guider import TraSCEMethod


class SafelightTraSCEPatch(TraSCEMethod, NoisePatchNode):
    DESCRIPTION = TraSCEMethod.DESCRIPTION + " For any KSampler."
