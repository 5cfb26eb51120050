"""SAFREE as a guider and as a model patch, to compare Safelight with: a dual run whose safe branch steers first."""

from __future__ import annotations

from typing import Any

import torch

from safelight.guidance.blend import inherit
from safelight.text.concepts import DEFAULT_CONCEPTS, join_concepts
from safelight.guidance.progress import noise_level_progress
from safelight.text.safree import STEPS, VARIANTS, window
from safelight.guidance.schedule import unit_number
from safelight.views.trace import Trace
from safelight.engine import host
from . import inputs
from safelight.engine.branches import Entries
from safelight.engine.dual_run import DualRun
from safelight.engine.encoder import encode_prompt
from safelight.engine.cond_batch import drops_negative
from .forms import GuiderNode, PatchNode
from .inputs import Guidance, check_width, read_safe
from safelight.engine.run_plan import RunPlan, plan_run
from safelight.engine.run_record import RunRecord
from safelight.engine.safree_prompt import SafePrompt, encode_safe
from safelight.engine.guider import Conditioning, guider_of, patched

_CONCEPTS = "safelight concepts"  # the negative prompt that SAFREE makes of them
_NEVER = (
    "prompt: its safe form never steers in this run (a timestep range of positive, or a cache of another node, leaves "
    "out the first steps), so the picture would not be guarded; widen the range, or leave out the cache."
)


class SafreeSteering:
    """SAFREE with its settings. prompt: the safe embedding; concepts: their CONDITIONING, None where they are not used.

    Raises ValueError, naming the input, where nothing would be guarded.
    """

    name = "Safelight SAFREE"

    def __init__(self, prompt: SafePrompt, concepts: Conditioning | None, strength: float, trace: Trace) -> None:
        if concepts is None and not prompt.words:
            raise ValueError("concepts_as_negative: it is off, and SAFREE finds no trigger word in the prompt, so "
                             "nothing would be guarded; switch it on, or set strength to 0.")  # fmt: skip
        self.prompt, self.concepts, self.strength, self.trace = prompt, concepts, strength, trace

    def conditionings(self, written: Conditioning) -> dict[str, Conditioning]:
        check_width(self.prompt.conditioning, written)
        safe = {"safe": read_safe(self.prompt.conditioning, written)}
        return safe if self.concepts is None else {**safe, _CONCEPTS: self.concepts}

    def begin(self, patcher: Any, sampler: Any, sigmas: torch.Tensor, full: torch.Tensor | None,
              record: RunRecord) -> SafreeRun:  # fmt: skip
        percent_to_sigma = patcher.get_model_object("model_sampling").percent_to_sigma
        start = noise_level_progress(float(sigmas[0]), percent_to_sigma)
        plan = plan_run(Guidance(self.strength, window(self.prompt.t, start)), patcher, sampler, sigmas, full)
        record.plan(plan)
        record.notes += self.prompt.notes
        if self.prompt.words and start > (self.prompt.t + 0.5) / STEPS:
            record.notes.append(f"SAFREE: this run starts at progress {start:.2f}, behind the steps that it guides; it "
                                "guides the first step all the same.")  # fmt: skip
        return SafreeRun(plan, record, self.trace, guards_by_words=bool(self.prompt.words))


class SafreeRun(DualRun):
    """One run of a guider. guards_by_words: whether the prompt has trigger words; else the negative guards alone."""

    def __init__(self, plan: RunPlan, record: RunRecord, trace: Trace, guards_by_words: bool) -> None:
        super().__init__(plan, record, trace)
        self.guards_by_words = guards_by_words

    def handed(self, conds: dict[str, Entries]) -> dict[str, Entries]:
        conds = dict(conds)
        concepts, negative = conds.pop(_CONCEPTS, None), conds.get("negative")
        if concepts is not None and negative is not None:
            taking = inherit([[None, entry] for entry in concepts], [[None, entry] for entry in negative])
            conds["negative"] = [entry for _, entry in taking]
        return super().handed(conds)

    def predict(self, guider: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any],
                seed: int | None = None) -> torch.Tensor:  # fmt: skip
        if not self.guards_by_words and (
            guider.conds.get("negative") is None or drops_negative(guider.cfg, model_options)
        ):
            raise ValueError("prompt: SAFREE finds no trigger word in it, and at cfg 1 there is no negative prompt, so "
                             "nothing would be guarded; raise cfg, or set strength to 0.")  # fmt: skip
        return super().predict(guider, x, timestep, model_options, seed)

    def check_guided(self) -> None:
        if self.plan.ends_in_picture and not self.record.guided:
            raise ValueError(_NEVER)

    def _check_reach(self, safe: Entries) -> None:
        try:
            super()._check_reach(safe)
        except ValueError as error:
            raise ValueError(_NEVER) from error


PROMPT = ("STRING", {
    "default": "", "multiline": True,
    "tooltip": "The text of the prompt, the same that `positive` was encoded from: link `prompt` of Safelight Context "
               "Encode.",
})  # fmt: skip
SETTINGS = {
    "concepts": ("STRING", {
        "default": DEFAULT_CONCEPTS, "multiline": True,
        "tooltip": "What is unsafe, separated by commas; or link Safelight Concepts. The phrases span the subspace "
                   "that trigger words are moved out of.",
    }),
    "variant": (list(VARIANTS), {
        "default": VARIANTS[0],
        "tooltip": "Where the released code and the printed paper differ: the order of the two projections, and how "
                   "many steps are guided (0 to 10 of 50, or 5 to 9).",
    }),
    "concepts_as_negative": ("BOOLEAN", {
        "default": True,
        "tooltip": "SAFREE's negative prompt is the list of concepts, at every step. Off: the negative prompt stays.",
    }),
    "strength": ("FLOAT", {
        **inputs.SAFETY[1],
        "default": 1.0,
        "tooltip": "The weight of the safe prompt in the steps that SAFREE guides: 1 is the published method. At 0 the "
                   "result is that of the stock sampler, bit for bit, with the negative prompt that is linked.",
    }),
}  # fmt: skip
ABOUT = (
    "SAFREE (Yoon et al., ICLR 2025): the words that carry something unsafe are projected out of the concepts' "
    "subspace, for the first steps of the run, and the concepts are the negative prompt. A neighbour of Safelight, to "
    "compare with."
)


class _Safree:
    SEARCH_ALIASES = [*inputs.SEARCH_ALIASES, "SAFREE"]

    def steering(self, clip: Any, prompt: str, concepts: str = DEFAULT_CONCEPTS, variant: str = VARIANTS[0],
                 concepts_as_negative: bool = True, strength: float = 1.0) -> SafreeSteering | None:  # fmt: skip
        """None at strength 0."""
        strength = unit_number("strength", strength)
        if strength == 0.0:
            return None
        for name, text in (("prompt", prompt), ("concepts", concepts)):
            if not isinstance(text, str):
                raise ValueError(f"{name}: it is {text!r}, which is no text; write the text or link it.")
        safe = encode_safe(clip, prompt, concepts, variant)
        negative = encode_prompt(clip, join_concepts([], concepts)) if concepts_as_negative else None
        if negative and not all(torch.isfinite(entry[0]).all() for entry in negative):
            raise ValueError("concepts: the text encoder returned values that are not finite for them as one text; "
                             "name fewer, or try another precision of the encoder (fp32 or bf16).")  # fmt: skip
        return SafreeSteering(safe, negative, strength, Trace())


class SafelightSAFREEGuider(_Safree, GuiderNode):
    DESCRIPTION = ABOUT

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "clip": ("CLIP", {"tooltip": "The text encoder that encoded the prompt."}),
                "positive": ("CONDITIONING", {"tooltip": "The prompt as written."}),
                "prompt": PROMPT,
                "negative": ("CONDITIONING", {"tooltip": "The negative prompt. With concepts_as_negative, the list of "
                                                         "concepts takes its text's place."}),
                "cfg": inputs.CFG,
            },
            "optional": SETTINGS,
        }  # fmt: skip

    def guide(self, model: Any, clip: Any, positive: Any, prompt: str, negative: Any, cfg: float,
              **settings: Any) -> tuple:  # fmt: skip
        steering = self.steering(clip, prompt, **settings)
        return guider_of(model, positive, negative, cfg, steering), steering.trace if steering else Trace()


class SafelightSAFREEPatch(_Safree, PatchNode):
    DESCRIPTION = ABOUT + " For any KSampler."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        clip = ("CLIP", {"tooltip": "The text encoder that encoded the prompt."})
        return {"required": {"model": inputs.MODEL, "clip": clip, "prompt": PROMPT}, "optional": SETTINGS}

    def patch(self, model: Any, clip: Any, prompt: str, **settings: Any) -> tuple:
        steering = self.steering(clip, prompt, **settings)
        return patched(model, steering), steering.trace if steering else Trace()


NODE_CLASS_MAPPINGS: dict[str, type] = {"SafelightSAFREEGuider": SafelightSAFREEGuider}
NODE_DISPLAY_NAME_MAPPINGS = {"SafelightSAFREEGuider": "Safelight SAFREE Guider"}
if host.HAS_WRAPPERS:
    NODE_CLASS_MAPPINGS["SafelightSAFREEPatch"] = SafelightSAFREEPatch
    NODE_DISPLAY_NAME_MAPPINGS["SafelightSAFREEPatch"] = "Safelight SAFREE Model Patch"
