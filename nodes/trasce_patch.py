"""SafelightTraSCEPatch: the modified negative guidance of TraSCE for any KSampler."""

from __future__ import annotations

from .bases import MethodPatchNode
from .trasce_guider import TraSCEMethod


class SafelightTraSCEPatch(TraSCEMethod, MethodPatchNode):
    DESCRIPTION = TraSCEMethod.DESCRIPTION + " For any KSampler."
