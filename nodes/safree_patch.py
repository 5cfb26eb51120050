"""SafelightSAFREEPatch: SAFREE for any KSampler."""

from __future__ import annotations

from .bases import MethodPatchNode
from .safree_guider import SAFREEMethod


class SafelightSAFREEPatch(SAFREEMethod, MethodPatchNode):
    DESCRIPTION = SAFREEMethod.DESCRIPTION + " For any KSampler."
