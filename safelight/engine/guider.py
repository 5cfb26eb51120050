"""A guidance method around the host's sampling: as a guider for custom sampling, and as a patch of a MODEL.

A Steering is what a node makes of its inputs; for each run of a sampler it begins a Run, which predicts in the guider's
place and holds all the state there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import comfy.sampler_helpers
import comfy.samplers
import torch

from safelight.views.trace import Trace
from safelight.engine import host
from safelight.engine.branches import Entries
from safelight.engine.run_record import RunRecord

WRAPPER_KEY = "safelight"
Conditioning = list[Any]


class Run(Protocol):
    """One run of a guider."""

    record: RunRecord

    def handed(self, conds: dict[str, Entries]) -> dict[str, Entries]:
        """The conditionings that the host gets for this run, out of all that there are, converted."""
        ...

    def predict(self, guider: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any],
                seed: int | None = None) -> torch.Tensor:  # fmt: skip
        """Stands for CFGGuider.predict_noise. timestep: sigma, [B]."""
        ...

    def check_guided(self) -> None:
        """Raises ValueError where a picture came out of a run that had to be guided and was not."""
        ...


class Steering(Protocol):
    """A guidance method with its settings, for any number of runs."""

    name: str  # of the node, for messages
    trace: Trace  # of the last run

    def conditionings(self, written: Conditioning) -> dict[str, Conditioning]:
        """Those beside positive and negative, checked, with what they inherit from the written one.

        One of the name "negative" takes the linked one's place.
        """
        ...

    def begin(self, patcher: Any, sampler: Any, sigmas: torch.Tensor, full: torch.Tensor | None,
              record: RunRecord) -> Run:  # fmt: skip
        """A run of the model in `patcher` over `sigmas`, a part of `full` where that is known."""
        ...


class SteeredGuider(comfy.samplers.CFGGuider):
    """A guider that predicts by a guidance method.

    full_sigmas: the noise schedule of which the runs are parts; None where a run's own is all that is known.
    record: where to write down what a run does; None for a guider that serves several runs and tells the log.
    """

    def __init__(self, model: Any, steering: Steering, full_sigmas: torch.Tensor | None = None,
                 record: RunRecord | None = None) -> None:  # fmt: skip
        super().__init__(model)
        self.steering = steering
        self.full_sigmas = full_sigmas
        self.record = record
        self.run: Any = None

    def set_conds(self, positive: Conditioning, negative: Conditioning) -> None:
        conds = {"positive": positive, "negative": negative}
        self.inner_set_conds({**conds, **self.steering.conditionings(positive)})

    def sample(self, noise: Any, latent_image: Any, sampler: Any, sigmas: torch.Tensor, *args: Any,
               **kwargs: Any) -> Any:  # fmt: skip
        conds = self.original_conds
        record = self.record or RunRecord()
        if sigmas.shape[-1] < 2:
            return super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
        self.run = self.steering.begin(self.model_patcher, sampler, sigmas, self.full_sigmas, record)
        self.original_conds = self.run.handed(conds)
        try:
            with nullcontext() if self.record is None else counting(self, record), traced(self.steering.trace):
                output = super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
            self.run.check_guided()
        finally:
            self.original_conds = conds
            self.run = None
        if self.record is None:
            record.log()
        return output

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any] = {},  # noqa: B006
                      seed: int | None = None) -> torch.Tensor:  # fmt: skip
        return self.run.predict(self, x, timestep, model_options, seed)


class StockGuider(comfy.samplers.CFGGuider):
    """The host's guider, with a record of its calls and rows. It predicts as the host does."""

    def __init__(self, model: Any, record: RunRecord) -> None:
        super().__init__(model)
        self.record = record

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.record.call(float(timestep[0]), None, 0.0)
        return super().__call__(x, timestep, *args, **kwargs)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        with counting(self, self.record):
            return super().sample(*args, **kwargs)


def guider_of(model: Any, positive: Conditioning, negative: Conditioning, cfg: float,
              steering: Steering | None) -> Any:  # fmt: skip
    """A GUIDER; the host's own where there is no steering."""
    guider = comfy.samplers.CFGGuider(model) if steering is None else SteeredGuider(model, steering)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def patched(model: Any, steering: Steering | None) -> Any:
    """A MODEL whose runs under the host's CFG guider are steered; the same one where there is no steering.

    Raises ValueError where a conditioning of the steering could not be used that way.
    """
    if steering is None:
        return model
    for name, conditioning in steering.conditionings([]).items():
        if any(_has_hooks(extras) for _, extras, *_ in conditioning):
            raise ValueError(
                f"{name}: it carries hooks (a LoRA on a prompt), which a model patch gets too late for the host to "
                f"prepare; use {steering.name} Guider with Sampler Custom Advanced."
            )
    model = model.clone()
    wrappers = host.patcher_extension.WrappersMP
    model.add_wrapper_with_key(wrappers.OUTER_SAMPLE, WRAPPER_KEY, _outer_sample(steering))
    return model


def _has_hooks(extras: dict[str, Any]) -> bool:
    control = extras.get("control")
    return extras.get("hooks") is not None or (control is not None and len(control.get_extra_hooks()) > 0)


def _outer_sample(steering: Steering) -> Any:
    """A wrapper of CFGGuider.outer_sample: for the run inside, the guider predicts by `steering`."""

    def wrapper(executor: Any, *args: Any, **kwargs: Any) -> Any:
        guider = executor.class_obj
        if type(guider).predict_noise is not comfy.samplers.CFGGuider.predict_noise:
            raise ValueError(f"model: it carries a {steering.name} Model Patch, which does not work with the guider "
                             f"{type(guider).__name__}; give that guider the model without the patch.")  # fmt: skip
        if "predict_noise" in vars(guider):
            raise ValueError("model: it carries two patches that replace the guider's prediction, such as two "
                             "Safelight Model Patches; keep one.")  # fmt: skip
        sampler, sigmas = (kwargs[key] if key in kwargs else args[at] for key, at in (("sampler", 2), ("sigmas", 3)))
        if sigmas.shape[-1] < 2:
            return executor(*args, **kwargs)
        conds = dict(guider.conds)
        record = RunRecord()
        run = steering.begin(guider.model_patcher, sampler, sigmas, None, record)
        written = [[entry.get("cross_attn"), entry] for entry in conds["positive"]]
        own = {name: comfy.sampler_helpers.convert_cond(conditioning)
               for name, conditioning in steering.conditionings(written).items()}  # fmt: skip
        guider.conds = run.handed({**conds, **own})
        # On this one guider, for this one run; wrappers of other packs around predict_noise stay around it.
        guider.predict_noise = lambda *given, **named: run.predict(guider, *given, **named)
        try:
            with traced(steering.trace):
                output = executor(*args, **kwargs)
        finally:
            del guider.predict_noise
            guider.conds = conds
        run.check_guided()
        record.log()
        return output

    return wrapper


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    """One run, collected in `trace`."""
    trace.begin()
    try:
        yield
    finally:
        trace.end()


@contextmanager
def counting(guider: Any, record: RunRecord) -> Iterator[None]:
    """Counts in `record` the rows that the guider's model evaluates while open."""
    options = guider.model_options

    def counted(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        record.rows += args["input"].shape[0]
        # Asked for now: the host may move a wrapper to another device, and replace it, when it loads the model.
        wrapper = guider.model_patcher.model_options.get("model_function_wrapper")
        if wrapper is None:
            return apply_model(args["input"], args["timestep"], **args["c"])
        return wrapper(apply_model, args)

    guider.model_options = {**options, "model_function_wrapper": counted}
    try:
        yield
    finally:
        guider.model_options = options
