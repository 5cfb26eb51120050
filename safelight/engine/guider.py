"""The guiders: one that predicts by a guidance method, and the stock one with a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch

from safelight.engine.branches import CondEntries
from safelight.engine.cond_batch import ModelCall
from safelight.engine.live import shown_live
from safelight.engine.method_run import MethodRun
from safelight.engine.method_setup import MethodSetup
from safelight.engine.row_memory import RowMemory, why_forgetful
from safelight.engine.run_record import RunRecord
from safelight.engine.shared_rows import AnyMemory
from safelight.text.conditioning import Conditioning
from safelight.views.trace import Trace

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class MethodGuider(comfy.samplers.CFGGuider):
    """A guider that predicts by a guidance method.

    full_sigmas: the noise schedule of which the runs are parts; None where only a run's sigmas are known.
    record: filled by the run; None for a guider of several runs, each of which writes its notes to the log.
    """

    original_conds: dict[str, CondEntries]  # the host's, converted

    def __init__(
        self,
        model: ModelPatcher,
        setup: MethodSetup,
        full_sigmas: torch.Tensor | None = None,
        record: RunRecord | None = None,
    ) -> None:
        super().__init__(model)
        self.setup = setup
        self.full_sigmas = full_sigmas
        self.record = record
        self.run: MethodRun | None = None
        self.running = _Running()

    def set_conds(self, positive: Conditioning, negative: Conditioning) -> None:
        conds = {"positive": positive, "negative": negative}
        self.inner_set_conds({**conds, **self.setup.conditionings(positive)})

    def refuse_others(self) -> None:
        """Another guider made of this one's model and conditionings, as some packs do, is an error: it can't guide."""
        self.model_patcher.set_model_sampler_post_cfg_function(self.running.check)
        self.model_options = self.model_patcher.model_options

    def sample(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: comfy.samplers.KSAMPLER,
        sigmas: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        conds = self.original_conds
        record = self.record or RunRecord()
        memory = usable(self.setup.memory, self, conds, record)
        if sigmas.shape[-1] < 2:
            return super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
        self.run = self.setup.begin(self.model_patcher, sampler, sigmas, self.full_sigmas, record)
        self.run.start(latent_image)
        self.original_conds = self.run.select_conds(conds, self)
        try:
            with (
                self.running,
                nullcontext() if self.record is None else count_rows(self, record, memory),
                nullcontext() if self.record is None else shown_live(record),
                traced(self.setup.trace),
            ):
                output = super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
            self.run.check_guided()
        finally:
            self.original_conds = conds
            self.run = None
        if self.record is None:
            record.log()
            if self.setup.on_end is not None:
                self.setup.on_end(record, output, kwargs.get("seed"))
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


class _Running:
    """Whether a guider samples just now; its copies share this."""

    def __init__(self) -> None:
        self._runs = 0

    def __enter__(self) -> None:
        self._runs += 1

    def __exit__(self, *_: object) -> None:
        self._runs -= 1

    def check(self, args: dict[str, Any]) -> torch.Tensor:
        """A hook after classifier-free guidance that changes nothing."""
        if self._runs == 0:
            raise ValueError(
                "safe: expected Safelight's guider to sample, got another one that a node made of it (one that "
                "upscales or details, for instance), so nothing would be guarded. Give that node the model of a "
                "Safelight Model Patch and the host's CFGGuider."
            )
        return args["denoised"]


class StockGuider(comfy.samplers.CFGGuider):
    """The host's guider, with a record of its calls and rows. It predicts as the host does.

    memory: what answers calls that are known, if any.
    """

    original_conds: dict[str, CondEntries]  # the host's, converted

    def __init__(self, model: ModelPatcher, record: RunRecord, memory: RowMemory | None = None) -> None:
        super().__init__(model)
        self.record = record
        self.memory = memory

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.record.note_call(float(timestep[0]), None, 0.0)
        return super().__call__(x, timestep, *args, **kwargs)

    def sample(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        with count_rows(self, self.record, usable(self.memory, self, self.original_conds, self.record)):
            return super().sample(*args, **kwargs)


def make_guider(
    model: ModelPatcher, positive: Conditioning, negative: Conditioning, cfg: float, setup: MethodSetup | None
) -> comfy.samplers.CFGGuider:
    """A guider by the method; the host's CFGGuider where there is none."""
    if setup is None:
        guider = comfy.samplers.CFGGuider(model)
    else:
        guider = MethodGuider(model.clone(), setup)
        guider.refuse_others()
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    """The block is one run in `trace`."""
    trace.begin()
    try:
        yield
    finally:
        trace.end()


def usable(
    memory: AnyMemory | None, guider: comfy.samplers.CFGGuider, conds: dict[str, CondEntries], record: RunRecord
) -> AnyMemory | None:
    """The memory, where calls of the guider's model can be answered from one; the record says whether they can."""
    if memory is None:
        return None
    why = why_forgetful(guider.model_patcher, guider, conds)
    record.memory = why or memory.scope
    return None if why else memory


@contextmanager
def count_rows(guider: comfy.samplers.CFGGuider, record: RunRecord, memory: AnyMemory | None = None) -> Iterator[None]:
    """Counts in `record` the rows that the guider's model evaluates in the block, one run; `memory` answers what it
    knows."""
    options = guider.model_options

    def counted(apply_model: Callable[..., torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
        record.rows += args["input"].shape[0]
        # Read here, not before the run: the host may replace a wrapper when it loads the model (for another device).
        wrapper = guider.model_patcher.model_options.get("model_function_wrapper")
        if wrapper is None:
            return apply_model(args["input"], args["timestep"], **args["c"])
        return wrapper(apply_model, args)

    wrapper = counted if memory is None else memory.before(counted, guider.model_patcher, record)
    guider.model_options = {**options, "model_function_wrapper": wrapper}
    try:
        yield
    finally:
        guider.model_options = options
