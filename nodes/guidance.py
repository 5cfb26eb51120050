"""The guidance without a sampler: a guider for custom sampling, and a model patch for any KSampler."""

from __future__ import annotations

from typing import Any

import comfy.sampler_helpers
import comfy.samplers

from . import host, inputs
from .dual import DualRun, SafeGuider
from .inputs import Guidance, read_guidance, read_safe
from .plan import plan_run
from .report import RunRecord

OPTIONAL = {"schedule": inputs.SCHEDULE, "risk": inputs.RISK, "gate": inputs.GATE, "mask": inputs.MASK}
WRAPPER_KEY = "safelight"


class SafelightGuider:
    RETURN_TYPES = ("GUIDER",)
    OUTPUT_TOOLTIPS = ("A guider for Sampler Custom Advanced.",)
    FUNCTION = "guide"
    CATEGORY = "Safelight/guidance"
    SEARCH_ALIASES = inputs.SEARCH_ALIASES
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
              mask=None) -> tuple[Any]:  # fmt: skip
        guidance = read_guidance(safety, schedule, risk, gate, mask)
        if guidance.acts:
            guider = SafeGuider(model, guidance)
            guider.set_conds(positive, negative, read_safe(safe, positive))
        else:
            guider = comfy.samplers.CFGGuider(model)
            guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        return (guider,)


class SafelightModelPatch:
    RETURN_TYPES = ("MODEL",)
    OUTPUT_TOOLTIPS = ("The model, guided wherever a sampler uses it with a CFG guider.",)
    FUNCTION = "patch"
    CATEGORY = "Safelight/guidance"
    SEARCH_ALIASES = inputs.SEARCH_ALIASES
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

    def patch(self, model, safe, safety, schedule=None, risk=1.0, gate=inputs.DEFAULT_GATE, mask=None) -> tuple[Any]:
        guidance = read_guidance(safety, schedule, risk, gate, mask)
        if not guidance.acts:
            return (model,)
        read_safe(safe, [])
        if any(_has_hooks(extras) for _, extras, *_ in safe):
            raise ValueError("safe: it carries hooks (a LoRA on a prompt), which a model patch gets too late for the "
                             "host to prepare; use Safelight Guider with Sampler Custom Advanced.")  # fmt: skip
        model = model.clone()
        wrappers = host.patcher_extension.WrappersMP
        model.add_wrapper_with_key(wrappers.OUTER_SAMPLE, WRAPPER_KEY, _outer_sample(guidance, safe))
        return (model,)


def _has_hooks(extras: dict[str, Any]) -> bool:
    control = extras.get("control")
    return extras.get("hooks") is not None or (control is not None and len(control.get_extra_hooks()) > 0)


def _outer_sample(guidance: Guidance, safe: list[Any]) -> Any:
    """A wrapper of CFGGuider.outer_sample: for the run inside, the guider predicts dually."""

    def wrapper(executor: Any, *args: Any, **kwargs: Any) -> Any:
        guider = executor.class_obj
        if type(guider).predict_noise is not comfy.samplers.CFGGuider.predict_noise:
            raise ValueError(f"model: it carries a Safelight Model Patch, which does not work with the guider "
                             f"{type(guider).__name__}; give that guider the model without the patch.")  # fmt: skip
        if "predict_noise" in vars(guider):
            raise ValueError("model: it carries two patches that replace the guider's prediction, such as two "
                             "Safelight Model Patches; keep one.")  # fmt: skip
        sampler, sigmas = (kwargs[key] if key in kwargs else args[at] for key, at in (("sampler", 2), ("sigmas", 3)))
        if sigmas.shape[-1] < 2:
            return executor(*args, **kwargs)
        conds = dict(guider.conds)
        record = RunRecord()
        run = DualRun(plan_run(guidance, guider.model_patcher, sampler, sigmas), record)
        record.plan(run.plan)
        written = [[entry.get("cross_attn"), entry] for entry in conds["positive"]]
        prepared = comfy.sampler_helpers.convert_cond(read_safe(safe, written))
        guider.conds = run.handed(conds, prepared)
        # On this one guider, for this one run; wrappers of other packs around predict_noise stay around it.
        guider.predict_noise = lambda *given, **named: run.predict(guider, *given, **named)
        try:
            output = executor(*args, **kwargs)
        finally:
            del guider.predict_noise
            guider.conds = conds
        run.check_guided()
        record.log()
        return output

    return wrapper


NODE_CLASS_MAPPINGS: dict[str, type] = {"SafelightGuider": SafelightGuider}
NODE_DISPLAY_NAME_MAPPINGS = {"SafelightGuider": "Safelight Guider"}
if host.HAS_WRAPPERS:
    NODE_CLASS_MAPPINGS["SafelightModelPatch"] = SafelightModelPatch
    NODE_DISPLAY_NAME_MAPPINGS["SafelightModelPatch"] = "Safelight Model Patch"
