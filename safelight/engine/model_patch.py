"""A guidance method as a patch of a MODEL: every run under the host's CFG guider is guided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.sampler_helpers
import comfy.samplers

from safelight.engine import host
from safelight.engine.cond_batch import ModelCall
from safelight.engine.guider import traced
from safelight.engine.method_setup import MethodSetup
from safelight.engine.run_record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from comfy.model_patcher import ModelPatcher
    from comfy.patcher_extension import WrapperExecutor

WRAPPER_KEY = "safelight"


def patch_model(model: ModelPatcher, setup: MethodSetup | None) -> ModelPatcher:
    """A model whose runs under the host's CFG guider are guided; the same one where there is no method.

    Raises ValueError where a conditioning of the method could not be used that way.
    """
    if setup is None:
        return model
    for name, conditioning in setup.conditionings([]).items():
        if any(_has_hooks(extras) for _, extras, *_ in conditioning):
            raise ValueError(
                f"{name}: expected a conditioning without hooks, got one with hooks (a LoRA on a prompt), which a "
                f"model patch gets too late for the host to prepare. Use {setup.name} Guider with Sampler Custom "
                "Advanced."
            )
    model = model.clone()
    wrappers = host.patcher_extension.WrappersMP
    model.add_wrapper_with_key(wrappers.OUTER_SAMPLE, WRAPPER_KEY, _outer_sample(setup))
    return model


def _has_hooks(extras: dict[str, Any]) -> bool:
    control = extras.get("control")
    return extras.get("hooks") is not None or (control is not None and len(control.get_extra_hooks()) > 0)


def _outer_sample(setup: MethodSetup) -> Callable[..., torch.Tensor]:
    """A wrapper of CFGGuider.outer_sample: for the run inside, the guider predicts by the method."""

    def wrapper(executor: WrapperExecutor, *args: Any, **kwargs: Any) -> torch.Tensor:
        guider: comfy.samplers.CFGGuider = executor.class_obj
        if type(guider).predict_noise is not comfy.samplers.CFGGuider.predict_noise:
            raise ValueError(
                f"model: expected the host's CFGGuider for a {setup.name} Model Patch, got {type(guider).__name__}, "
                f"which the patch can't guide. Use CFGGuider in its place, or {setup.name} Guider."
            )
        if "predict_noise" in vars(guider):
            raise ValueError(
                "model: expected one patch that replaces the guider's prediction, got two, such as two Safelight Model "
                "Patches. Keep one."
            )
        sampler, sigmas = (kwargs[key] if key in kwargs else args[at] for key, at in (("sampler", 2), ("sigmas", 3)))
        if sigmas.shape[-1] < 2:
            return executor(*args, **kwargs)
        conds = dict(guider.conds)
        record = RunRecord()
        run = setup.begin(guider.model_patcher, sampler, sigmas, None, record)
        positive = [[entry.get("cross_attn"), entry] for entry in conds["positive"]]
        added = {
            name: comfy.sampler_helpers.convert_cond(conditioning)
            for name, conditioning in setup.conditionings(positive).items()
        }
        run.start(args[0] if args else kwargs["noise"])
        guider.conds = run.select_conds({**conds, **added}, guider)
        # On this one guider, for this one run; wrappers of other packs around predict_noise stay around it.
        guider.predict_noise = lambda x, timestep, model_options={}, seed=None: run.predict(
            ModelCall(guider, x, timestep, model_options, seed)
        )
        try:
            with traced(setup.trace):
                output = executor(*args, **kwargs)
        finally:
            del guider.predict_noise
            guider.conds = conds
        run.check_guided()
        record.log()
        if setup.on_end is not None:
            setup.on_end(record, output, kwargs["seed"] if "seed" in kwargs else args[7] if len(args) > 7 else None)
        return output

    return wrapper
