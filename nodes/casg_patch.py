"""SafelightCASGPatch: conflict-aware adaptive safety guidance for any KSampler."""

from __future__ import annotations

from .bases import MethodPatchNode
from .casg_guider import CASGMethod


class SafelightCASGPatch(CASGMethod, MethodPatchNode):
    DESCRIPTION = CASGMethod.DESCRIPTION + " For any KSampler."
