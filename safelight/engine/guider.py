"""The guiders: one that predicts by a guidance method, and the stock one with a record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import comfy.samplers
import torch

from safelight.engine.cond_batch import ModelCall
from safelight.engine.method_run import MethodRun
from safelight.engine.method_setup import MethodSetup
from safelight.engine.run_record import RunRecord
from safelight.text.conditioning import Conditioning
from safelight.views.trace import Trace


class MethodGuider(comfy.samplers.CFGGuider):
    """A guider that predicts by a guidance method.

    full_sigmas: the noise schedule of which the runs are parts; None where a run's own is all that is known.
    record: where to write down what a run does; None for a guider that serves several runs and tells the log.
    """

    def __init__(
        self,
        model: Any,
        setup: MethodSetup,
        full_sigmas: torch.Tensor | None = None,
        record: RunRecord | None = None,
    ) -> None:
        super().__init__(model)
        self.setup = setup
        self.full_sigmas = full_sigmas
        self.record = record
        self.run: MethodRun | None = None

    def set_conds(self, positive: Conditioning, negative: Conditioning) -> None:
        conds = {"positive": positive, "negative": negative}
        self.inner_set_conds({**conds, **self.setup.conditionings(positive)})

    def sample(
        self, noise: Any, latent_image: Any, sampler: Any, sigmas: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        conds = self.original_conds
        record = self.record or RunRecord()
        if sigmas.shape[-1] < 2:
            return super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
        self.run = self.setup.begin(self.model_patcher, sampler, sigmas, self.full_sigmas, record)
        self.original_conds = self.run.select_conds(conds)
        try:
            with nullcontext() if self.record is None else count_rows(self, record), traced(self.setup.trace):
                output = super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
            self.run.check_guided()
        finally:
            self.original_conds = conds
            self.run = None
        if self.record is None:
            record.log()
        return output

    def predict_noise(
        self,
        x: torch.Tensor,
        timestep: torch.Tensor,
        model_options: dict[str, Any] = {},  # noqa: B006  (the host's signature)
        seed: int | None = None,
    ) -> torch.Tensor:
        assert self.run is not None
        return self.run.predict(ModelCall(self, x, timestep, model_options, seed))


class StockGuider(comfy.samplers.CFGGuider):
    """The host's guider, with a record of its calls and rows. It predicts as the host does."""

    def __init__(self, model: Any, record: RunRecord) -> None:
        super().__init__(model)
        self.record = record

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.record.note_call(float(timestep[0]), None, 0.0)
        return super().__call__(x, timestep, *args, **kwargs)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        with count_rows(self, self.record):
            return super().sample(*args, **kwargs)


def make_guider(
    model: Any, positive: Conditioning, negative: Conditioning, cfg: float, setup: MethodSetup | None
) -> comfy.samplers.CFGGuider:
    """A GUIDER; the host's own where there is no method."""
    guider = comfy.samplers.CFGGuider(model) if setup is None else MethodGuider(model, setup)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    """One run, collected in `trace`."""
    trace.begin()
    try:
        yield
    finally:
        trace.end()


@contextmanager
def count_rows(guider: Any, record: RunRecord) -> Iterator[None]:
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
