"""The guidance without a sampler: a guider for custom sampling, and a model patch for any KSampler."""

from __future__ import annotations

from typing import Any

from safelight.views.trace import Trace
from safelight.engine import host
from . import inputs
from safelight.engine.dual_run import DualSteering
from .forms import GuiderNode, PatchNode
from .inputs import read_guidance
from safelight.engine.guider import guider_of, patched

OPTIONAL = {"schedule": inputs.SCHEDULE, "risk": inputs.RISK, "gate": inputs.GATE, "mask": inputs.MASK,
            "selective": inputs.SELECTIVE, "economy": inputs.ECONOMY}  # fmt: skip


class SafelightGuider(GuiderNode):
    DESCRIPTION = (
        "The guidance of the Safelight KSampler as a guider for custom sampling. At safety 0, and for a prompt whose "
        "risk is below the gate, it is the stock CFG guider. With the axis \"steps\", progress is that of the noise "
        "schedule that the sampler gets. A creative control, not a moderation gate."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "cfg": inputs.CFG,
                "safety": inputs.SAFETY,
            },
            "optional": OPTIONAL,
        }

    def guide(self, model, positive, safe, negative, cfg, safety, schedule=None, risk=1.0, gate=inputs.DEFAULT_GATE,
              mask=None, selective=None, economy=inputs.OFF) -> tuple[Any, Trace]:  # fmt: skip
        guidance, trace = read_guidance(safety, schedule, risk, gate, mask, selective, economy), Trace()
        steering = DualSteering(guidance, safe, trace) if guidance.acts else None
        return guider_of(model, positive, negative, cfg, steering), trace


class SafelightModelPatch(PatchNode):
    DESCRIPTION = (
        "Makes any KSampler take the safe prompt into account: its own positive prompt is the prompt as written. At "
        "safety 0, and for a prompt whose risk is below the gate, the model comes back unchanged. For guiders of other "
        "kinds (dual CFG, perpendicular negative) there is an error, since their terms would be lost. A creative "
        "control, not a moderation gate."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"model": inputs.MODEL, "safe": inputs.SAFE, "safety": inputs.SAFETY},
            "optional": OPTIONAL,
        }

    def patch(self, model, safe, safety, schedule=None, risk=1.0, gate=inputs.DEFAULT_GATE,
              mask=None, selective=None, economy=inputs.OFF) -> tuple[Any, Trace]:  # fmt: skip
        guidance, trace = read_guidance(safety, schedule, risk, gate, mask, selective, economy), Trace()
        return patched(model, DualSteering(guidance, safe, trace) if guidance.acts else None), trace


NODE_CLASS_MAPPINGS: dict[str, type] = {"SafelightGuider": SafelightGuider}
NODE_DISPLAY_NAME_MAPPINGS = {"SafelightGuider": "Safelight Guider"}
if host.HAS_WRAPPERS:
    NODE_CLASS_MAPPINGS["SafelightModelPatch"] = SafelightModelPatch
    NODE_DISPLAY_NAME_MAPPINGS["SafelightModelPatch"] = "Safelight Model Patch"
