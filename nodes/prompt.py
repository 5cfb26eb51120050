"""SafelightPrompt: a prompt and its safe counterpart as text, for any text node."""

from __future__ import annotations

from typing import Any

from safelight.checks import check_numbers, check_texts
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.reader import FALSE_ALARMS
from safelight.text.safe_prompt import make_safe_prompt

from . import inputs


class SafelightPrompt:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "prompt": (
                    "STRING",
                    {
                        "multiline": True,
                        "dynamicPrompts": True,
                        "tooltip": "The prompt, as you want it drawn.",
                    },
                ),
            },
            "optional": {
                "safe_prompt": inputs.safe_prompt_input(
                    tooltip="What to show instead, in any language. Where it is empty, Safelight rewrites the prompt."
                ),
                "concepts": inputs.concepts_input(),
                "stand_ins": inputs.STAND_INS,
                "false_alarms": inputs.FALSE_ALARMS,
            },
        }

    RETURN_TYPES = ("STRING", "STRING", "FLOAT", "STRING")
    RETURN_NAMES = ("prompt", "safe_prompt", "risk", "words")
    OUTPUT_TOOLTIPS = (
        "The prompt as written, for the text node of `positive`.",
        "The safe prompt, for a second text node of the same kind, whose output goes to `safe`. The prompt itself "
        "where nothing unsafe was found: link `risk` too, so that the sampler knows.",
        inputs.RISK_OUTPUT,
        "The words that make the prompt unsafe, separated by commas.",
    )
    FUNCTION = "read"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = (
        "Reads how unsafe a prompt is and rewrites it in harmless words, as text: for every text node of ComfyUI and "
        "of other packs, edit models with pictures, two texts of SDXL. Encode both outputs with the same kind of node."
    )
    SEARCH_ALIASES = ["prompt", "rewrite prompt", "safe prompt", "text"]

    def read(
        self,
        prompt: str,
        safe_prompt: str = "",
        concepts: str = DEFAULT_CONCEPTS,
        stand_ins: str = "",
        false_alarms: float = FALSE_ALARMS,
    ) -> dict[str, Any]:
        check_texts(prompt=prompt, safe_prompt=safe_prompt, concepts=concepts, stand_ins=stand_ins)
        check_numbers(false_alarms=false_alarms)
        made = make_safe_prompt(prompt, safe_prompt, concepts, stand_ins, false_alarms)
        return {
            "ui": {"safelight_verdict": [made.verdict.as_json()]},
            "result": (prompt, made.text, made.reading.risk, ", ".join(made.words)),
        }
