"""SafelightSAFREEPatch: SAFREE for any KSampler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.engine.model_patch import patch_model
from safelight.views.trace import Trace

from . import inputs
from .bases import PatchNode
from .safree_guider import SAFREEMethod

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


class SafelightSAFREEPatch(SAFREEMethod, PatchNode):
    DESCRIPTION = SAFREEMethod.DESCRIPTION + " For any KSampler."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        required = {"model": inputs.MODEL, "clip": cls.CLIP_INPUT, "prompt": cls.PROMPT}
        return {"required": required, "optional": cls.SETTINGS}

    def patch(self, model: ModelPatcher, clip: CLIP, prompt: str, **settings: Any) -> tuple[ModelPatcher, Trace]:
        setup = self.setup(clip, prompt, **settings)
        return patch_model(model, setup), setup.trace if setup else Trace()
