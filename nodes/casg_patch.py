"""SafelightCASGPatch: conflict-aware adaptive safety guidance for any KSampler."""

from __future__ import annotations

from .bases import NoisePatchNode
from .casg_guider import CASGMethod


class SafelightCASGPatch(CASGMethod, NoisePatchNode):
    DESCRIPTION = CASGMethod.DESCRIPTION + " For any KSampler."
