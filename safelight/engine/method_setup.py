"""A guidance method with its node's inputs, for any number of runs: one builder per kind of method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.encoder import check_clip, check_known, encode_prompt
from safelight.engine.method_run import MethodRun
from safelight.engine.run_plan import RunPlan, plan_run
from safelight.engine.run_record import RunRecord
from safelight.engine.safree_prompt import SafePrompt
from safelight.engine.shared_rows import AnyMemory
from safelight.guidance.blend import SAFE
from safelight.guidance.dual import DualBlend
from safelight.guidance.method import EMPTY, GuidanceMethod
from safelight.guidance.noise_guidance import NoiseGuidance, unsafe_names
from safelight.guidance.progress import noise_level_progress
from safelight.guidance.safree import CONCEPTS, Safree
from safelight.guidance.settings import GuidanceSettings
from safelight.text.conditioning import Conditioning, as_branch, as_harmless, check_width, safe_branch
from safelight.text.inherit import unknown_keys
from safelight.views.trace import Trace

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import KSAMPLER
    from comfy.sd import CLIP

OnEnd = Callable[[RunRecord, Any, "int | None"], None]  # told the record, the latents and the seed of a run


@dataclass
class MethodSetup:
    """A guidance method for the runs of one node.

    name: the node's, for messages. make: a new method, called once per run. trace: of the last run.
    conditionings: given the positive one, those beside positive and negative, checked, with what they inherit.
    notes: for the artist, on the conditionings that it gave last. memory: what answers calls that are known, if any.
    run_type: the driver of its runs. on_end: told of each run that no node reports.
    """

    name: str
    make: Callable[[], GuidanceMethod]
    conditionings: Callable[[Conditioning], dict[str, Conditioning]]
    trace: Trace = field(default_factory=Trace)
    notes: list[str] = field(default_factory=list)
    memory: AnyMemory | None = None
    run_type: type[MethodRun] = MethodRun
    on_end: OnEnd | None = None

    def begin(
        self,
        patcher: ModelPatcher,
        sampler: KSAMPLER,
        sigmas: torch.Tensor,
        full_sigmas: torch.Tensor | None,
        record: RunRecord,
    ) -> MethodRun:
        """A run of the model in `patcher` over `sigmas`, a part of `full_sigmas` where that is known."""
        method = self.make()

        def start() -> float:
            percent_to_sigma = patcher.get_model_object("model_sampling").percent_to_sigma
            return noise_level_progress(float(sigmas[0]), percent_to_sigma)

        plan = plan_run(method.settings(start), patcher, sampler, sigmas, full_sigmas, method.start_name)
        record.note_plan(plan)
        record.notes += self.notes
        method.begin(len(plan.sigmas) - 1)
        return self.make_run(method, plan, record)

    def make_run(self, method: GuidanceMethod, plan: RunPlan, record: RunRecord) -> MethodRun:
        """The driver of a planned run."""
        return self.run_type(method, plan, record, self.trace)


def dual_setup(
    settings: GuidanceSettings, safe: Conditioning, memory: AnyMemory | None = None, on_end: OnEnd | None = None
) -> MethodSetup | None:
    """The dual blend; None where the settings leave the run to the stock sampler. safe: as the artist linked it."""
    if not settings.acts:
        return None
    conditionings, notes = safe_conditionings(marked(safe, settings))
    return MethodSetup(
        "Safelight", lambda: DualBlend(settings), conditionings, notes=notes, memory=memory, on_end=on_end
    )


def marked(safe: Conditioning, settings: GuidanceSettings) -> Conditioning:
    """The safe conditioning, which may be the prompt as written where the text is harmless."""
    return as_harmless(safe) if settings.text_harmless and safe else safe


def safe_conditionings(safe: Conditioning) -> tuple[Callable[[Conditioning], dict[str, Conditioning]], list[str]]:
    """What a MethodSetup of the dual blend gives for a positive prompt, and its notes on that."""
    notes: list[str] = []

    def conditionings(positive: Conditioning) -> dict[str, Conditioning]:
        branch = safe_branch(safe, positive)
        notes[:] = unknown_keys(safe, positive)
        return {SAFE: branch}

    return conditionings, notes


def noise_setup(
    name: str, make: Callable[[], NoiseGuidance], clip: CLIP, texts: Sequence[str], texts_input: str
) -> MethodSetup:
    """A method that takes a direction from the noise. texts: the unsafe texts, encoded here with clip.

    Raises ValueError, naming the input `texts_input`, where a text can't be encoded.
    """
    check_clip(clip)
    encoded = dict(zip(unsafe_names(len(texts)), (_encode(clip, text, texts_input) for text in texts), strict=True))
    encoded[EMPTY] = encode_prompt(clip, "")

    def conditionings(positive: Conditioning) -> dict[str, Conditioning]:
        check_width(encoded[EMPTY], positive)
        return {name: as_branch(conditioning, positive) for name, conditioning in encoded.items()}

    return MethodSetup(name, make, conditionings)


def safree_setup(prompt: SafePrompt, concepts: Conditioning | None, strength: float) -> MethodSetup:
    """SAFREE. prompt: the safe embedding; concepts: as the negative prompt, None where they are not used.

    Raises ValueError, naming the input, where nothing would be guarded.
    """
    if concepts is None and not prompt.words:
        raise ValueError(
            "concepts_as_negative: expected true for a prompt in which SAFREE finds no trigger word, got false, so "
            "nothing would be guarded. Switch it on, or set strength to 0."
        )

    def conditionings(positive: Conditioning) -> dict[str, Conditioning]:
        check_width(prompt.conditioning, positive)
        make_branch = safe_branch if prompt.words else as_branch
        safe = {SAFE: make_branch(prompt.conditioning, positive)}
        return safe if concepts is None else {**safe, CONCEPTS: concepts}

    def make() -> Safree:
        return Safree(strength, prompt.t, bool(prompt.words), prompt.notes)

    return MethodSetup("Safelight SAFREE", make, conditionings)


def _encode(clip: CLIP, text: str, texts_input: str) -> Conditioning:
    check_known(clip, text, texts_input)
    conditioning = encode_prompt(clip, text)
    for states, extras, *_ in conditioning:
        for tensor in (states, extras.get("pooled_output")):
            if isinstance(tensor, torch.Tensor) and not bool(torch.isfinite(tensor).all()):
                raise ValueError(
                    f"{texts_input}: expected finite states from the text encoder, got others for {text!r}. Use "
                    "another text or another text encoder (CLIP)."
                )
    return conditioning
