"""The nodes around text: which concepts are unsafe, and the prompt beside its safe counterpart."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from safelight.text.concept_space import ConceptSpace
from safelight.text.concept_vector import ConceptVector
from safelight.text.concepts import DEFAULT_CONCEPTS, I2P_CATEGORIES, join_concepts, split_concepts
from safelight.text.encoding import Encoding
from safelight.text.risk import DECISION, LEAST_AUC
from safelight.text.subspace import RIDGE
from nodes.concept_vector import read_vector
from safelight.engine.edit_files import EDIT_TYPE
from safelight.engine.encoder import (
    Tokens,
    describe,
    encode_entries,
    encode_prompt,
    encode_without_each,
    is_weighted,
    read_tokens,
    space_of,
    unweighted,
)
from nodes.inputs import SEARCH_ALIASES, check_clip

METHODS = ("auto", "typed", "project", "subtract")
# Keys of a CONDITIONING that hold no text states.
_NOT_STATES = frozenset({"pooled_output", "attention_mask", "hooks", "clip_start_percent", "clip_end_percent"})


@dataclass(frozen=True)
class Context:
    """The prompt as written, its safe counterpart, its risk, and what was done."""

    positive: list[Any]
    safe: list[Any]
    risk: float
    method: str
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def verdict(self) -> str:
        """For the artist, as JSON."""
        return json.dumps(
            {"risk": round(self.risk, 4), "method": self.method, "words": list(self.words), "notes": list(self.notes)}
        )


def encode_context(
    clip: Any,
    prompt: str,
    safe_prompt: str = "",
    concepts: str = DEFAULT_CONCEPTS,
    method: str = "auto",
    strength: float = 1.0,
    trigger: str = "share",
    threshold: float | None = None,
    common: str = "follow",
    tail: str = "follow",
    removal: str = "whole",
    reduction: str = "max",
    ridge: float = RIDGE,
    vector: ConceptVector | None = None,
) -> Context:
    """What SafelightContextEncode does. From `trigger` to `ridge` these are choices that the node makes for the artist.

    trigger, threshold, common, tail, removal: see ConceptSpace.project. reduction: see risk.prompt_score. ridge: see
        everyday_metric. vector: what `subtract` takes away in place of the concepts' own direction.
    Calls of the text encoder once the concepts are in memory: one for the prompt; one more where tokens are weighted or
    left out in turn; one for a typed safe prompt.
    Raises ValueError, naming the input, where no safe counterpart can be made.
    """
    check_clip(clip)
    if method not in METHODS:
        raise ValueError(f"method: {method!r} is unknown; choose one of {', '.join(METHODS)}.")
    if not math.isfinite(strength) or strength < 0:
        raise ValueError(f"strength: it is {strength}; it must be a number from 0 up.")
    phrases = split_concepts(concepts)
    if method == "auto":
        method = "typed" if safe_prompt.strip() else "project" if vector is None else "subtract"
    ignored = vector is not None and method != "subtract"
    vector = None if ignored else vector
    if method == "typed" and not safe_prompt.strip():
        raise ValueError(
            "safe_prompt: the method is 'typed', but no safe prompt is written. Write what to show instead, or choose "
            "the method 'project'."
        )
    if method != "typed" and vector is None and not phrases:
        raise ValueError(
            f"concepts: the list is empty, so the method {method!r} has nothing to take away. Name what is unsafe, or "
            "write a safe_prompt."
        )

    positive = encode_prompt(clip, prompt)
    plain = all(torch.is_tensor(entry[0]) and entry[0].ndim == 3 for entry in positive)
    if not plain and method != "typed":
        raise ValueError(
            f"clip: this text encoder gives no plain list of token states, so the method {method!r} can't read it. "
            "Write a safe_prompt and choose the method 'typed'."
        )
    readings = _read(clip, read_tokens(clip, prompt), positive, method, trigger) if plain else []
    space, risk, notes = _assess(clip, phrases, readings, reduction, ridge, method != "typed" and vector is None)
    if ignored:
        notes.append(f"The linked vector is not used: the method is {method!r}, and only 'subtract' takes one away.")
    if method == "typed":
        safe = encode_prompt(clip, safe_prompt)
        if not all(torch.isfinite(entry[0]).all() for entry in safe):
            raise ValueError("safe_prompt: the text encoder returned values that are not finite for it.")
        return Context(positive, safe, risk, method, (), tuple(notes))
    safe, words, anything = [], [], False
    for entry, reading in zip(positive, readings, strict=True):
        states, extra = entry[0], entry[1]
        pooled = extra.get("pooled_output")
        if vector is not None:
            states, pooled = vector.subtract(reading, states, pooled, strength)
        elif method == "subtract":
            assert space is not None
            states, pooled = space.subtract(reading, states, pooled, strength)
        else:
            assert space is not None
            states, pooled, changed = space.project(
                reading, states, pooled, strength, risk, trigger, threshold, common, tail, removal
            )
            anything = anything or bool(changed.any())
            words += [
                word
                for t, word in enumerate(reading.words)
                if word and word not in space.common and changed[:, t].any()
            ]
        safe.append([states, {**extra, "pooled_output": pooled} if "pooled_output" in extra else dict(extra)])
    notes += _left_as_written(positive)
    if method == "project" and trigger == "leave_one_out" and any(reading.without is None for reading in readings):
        notes.append("This text encoder takes one text at a time, so triggers were found by each word's own share.")
    if method == "project" and not anything:
        notes.append("Nothing unsafe was found in the prompt: safe is the prompt as written.")
    return Context(positive, safe, risk, method, tuple(dict.fromkeys(words)), tuple(notes))


def _read(clip: Any, tokens: Tokens, positive: Sequence[Any], method: str, trigger: str) -> list[Encoding]:
    """An Encoding for every entry of the prompt's CONDITIONING."""
    if method == "project" and trigger == "leave_one_out" and len(positive) == 1:
        whole = encode_without_each(clip, tokens, positive[0][0])
        if whole is not None:
            return [whole.check("the prompt")]
    entries = [(entry[0], entry[1].get("pooled_output")) for entry in positive]
    if is_weighted(tokens):
        entries = encode_entries(clip, unweighted(tokens))
    return [describe(clip, tokens, states, pooled).check("the prompt") for states, pooled in entries]


def _assess(
    clip: Any, phrases: list[str], readings: list[Encoding], reduction: str, ridge: float, must: bool
) -> tuple[ConceptSpace | None, float, list[str]]:
    """The concept space, the prompt's risk and notes on it. Where the space is not needed, its failure is a note."""
    if not phrases:
        return None, 1.0, ["No concepts are named, so risk is 1."]
    if not readings:
        return None, 1.0, ["This text encoder gives no plain list of token states to measure, so risk is 1."]
    try:
        space = space_of(clip, phrases, reduction, ridge)
        if any(len(reading.parts) != len(space.calibration) for reading in readings):
            raise ValueError(
                "clip: this text encoder gives the prompt another form than the concepts. Write a safe_prompt and "
                "choose the method 'typed'."
            )
    except ValueError as error:
        if must:
            raise
        return None, 1.0, [f"Risk is 1, because the concepts could not be read: {error}"]
    risk = max(space.risk(reading) for reading in readings)
    risk = risk if math.isfinite(risk) else 1.0
    if not any(calibration.can_tell for calibration in space.calibration):
        best = max((calibration.auc for calibration in space.calibration), default=0.0)
        return space, risk, [
            f"This text encoder can't tell the unsafe calibration phrases from the benign ones (AUC {best:.2f}, needed "
            f"{LEAST_AUC}), so risk is 1."
        ]
    if not any(reading.content.any() for reading in readings):
        return space, risk, ["The prompt has no words, so there is nothing to measure and risk is 1."]
    return space, risk, []


def _left_as_written(positive: Sequence[Any]) -> list[str]:
    keys = {
        key
        for _, extra, *_ in positive
        for key, value in extra.items()
        if key not in _NOT_STATES and isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 1
    }
    return [f"This text encoder also gives {', '.join(sorted(keys))}, which safe keeps as written."] if keys else []


_TICKS = {name: name.replace(" ", "_").replace("-", "_") for name in I2P_CATEGORIES}


class SafelightConcepts:
    """Concept words from the categories of I2P and the artist's own."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        ticks = {
            tick: ("BOOLEAN", {"default": True, "tooltip": f"Adds: {', '.join(I2P_CATEGORIES[name])}."})
            for name, tick in _TICKS.items()
        }
        own = {
            "default": "",
            "multiline": True,
            "tooltip": "More things that count as unsafe, separated by commas, e.g. spiders, cigarettes. Short common "
            "words work best.",
        }
        return {"required": ticks, "optional": {"own_words": ("STRING", own)}}

    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("concepts",)
    OUTPUT_TOOLTIPS = ("The chosen words, separated by commas, for Safelight Context Encode.",)
    FUNCTION = "join"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = "Chooses what counts as unsafe: the seven categories of the I2P benchmark, and words of your own."
    SEARCH_ALIASES = SEARCH_ALIASES

    def join(self, own_words: str = "", **ticks: bool) -> tuple[str]:
        return (join_concepts([name for name, tick in _TICKS.items() if ticks.get(tick)], own_words),)


class SafelightContextEncode:
    """The prompt as written, its safe counterpart, and how unsafe the prompt is."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "The text encoder of the model that will sample."}),
                "prompt": ("STRING", {
                    "multiline": True, "dynamicPrompts": True,
                    "tooltip": "The prompt, encoded exactly as CLIP Text Encode does.",
                }),
            },
            "optional": {
                "safe_prompt": ("STRING", {
                    "default": "", "multiline": True, "dynamicPrompts": True,
                    "tooltip": "What to show instead: the prompt in safe words. Used by the methods typed and auto; "
                               "may stay empty for the others.",
                }),
                "concepts": ("STRING", {
                    "default": DEFAULT_CONCEPTS, "multiline": True,
                    "tooltip": "What counts as unsafe, separated by commas; or link Safelight Concepts. Risk and the "
                               "methods project and subtract go by these words.",
                }),
                "method": (list(METHODS), {
                    "default": "auto",
                    "tooltip": "How the safe counterpart is made. auto: typed where safe_prompt is written, else "
                               "project. typed: the safe prompt. project: makes everyday words of those that "
                               "carry something unsafe. subtract: moves every word away from the concepts, or from "
                               "the linked vector.",
                }),
                "strength": ("FLOAT", {
                    "default": 1.0, "min": 0.0, "max": 4.0, "step": 0.05,
                    "tooltip": "How much project and subtract take away: 0 nothing, 1 all of it, more "
                               "pushes beyond. typed ignores it.",
                }),
                "vector": (EDIT_TYPE, {
                    "tooltip": "A concept vector, from Safelight Concept Vector or Safelight Load Concept Vector. The "
                               "method subtract takes it away in place of the concepts' own direction; auto becomes "
                               "subtract where no safe_prompt is written.",
                }),
            },
        }  # fmt: skip

    RETURN_TYPES = ("CONDITIONING", "CONDITIONING", "FLOAT", "STRING")
    RETURN_NAMES = ("positive", "safe", "risk", "prompt")
    OUTPUT_TOOLTIPS = (
        "The prompt as written: the same as CLIP Text Encode gives.",
        "Its safe counterpart, for the `safe` input of a Safelight sampler, guider or model patch.",
        f"How unsafe the prompt is, 0 to 1, {DECISION} being the decision point of this text encoder. 1 where it can't "
        "be told.",
        "The text of the prompt, for nodes that read it themselves, such as Safelight SAFREE Guider.",
    )
    FUNCTION = "encode"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = (
        "Encodes a prompt, makes a safe counterpart of it and measures its risk. The paper that Safelight follows is "
        "reconstructed from its abstract; how the safe counterpart is made is our choice."
    )
    SEARCH_ALIASES = [*SEARCH_ALIASES, "CLIP Text Encode", "prompt"]

    def encode(
        self,
        clip: Any,
        prompt: str,
        safe_prompt: str = "",
        concepts: str = DEFAULT_CONCEPTS,
        method: str = "auto",
        strength: float = 1.0,
        vector: Any = None,
    ) -> dict[str, Any]:
        linked = None if vector is None else read_vector(vector)
        context = encode_context(clip, prompt, safe_prompt, concepts, method, strength, vector=linked)
        return {
            "ui": {"safelight_verdict": [context.verdict()]},
            "result": (context.positive, context.safe, context.risk, prompt),
        }


NODE_CLASS_MAPPINGS = {"SafelightConcepts": SafelightConcepts, "SafelightContextEncode": SafelightContextEncode}
NODE_DISPLAY_NAME_MAPPINGS = {
    "SafelightConcepts": "Safelight Concepts",
    "SafelightContextEncode": "Safelight Context Encode",
}
