"""SafelightCRGPatch: concept removal guidance for any KSampler."""

from __future__ import annotations

from .bases import MethodPatchNode
from .crg_guider import CRGMethod


class SafelightCRGPatch(CRGMethod, MethodPatchNode):
    DESCRIPTION = CRGMethod.DESCRIPTION + " For any KSampler."
