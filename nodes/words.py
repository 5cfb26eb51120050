"""SafelightWords: what a detector finds gives the words of a safe prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.engine.words import Words, make_words
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.reader import FALSE_ALARMS

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightWords:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "The text encoder that encoded the prompt."}),
                "prompt": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "The prompt as written, the same that `positive` was encoded from: link `prompt` of "
                        "Safelight Context Encode or Safelight Prompt.",
                    },
                ),
            },
            "optional": {
                "safe_prompt": inputs.safe_prompt_input(
                    tooltip="Your safe prompt, where you wrote one in the node that made `safe`. Where it is empty, "
                    "Safelight rewrites the prompt."
                ),
                "instead": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "What should be there instead of what was found, one per line: "
                        '"mug of beer = a cup of tea", "nudity = wearing a warm coat". These come before Safelight\'s '
                        "table.",
                    },
                ),
                "concepts": inputs.concepts_input(),
                "stand_ins": inputs.STAND_INS,
                "false_alarms": inputs.FALSE_ALARMS,
                "caption": (
                    "STRING",
                    {
                        "default": "",
                        "forceInput": True,
                        "tooltip": "Tags or a caption of the plain picture, from another pack's node, such as a WD14 "
                        "tagger or Florence. Where it names something unsafe, it is rewritten and becomes the safe "
                        "prompt.",
                    },
                ),
            },
        }

    RETURN_TYPES = (inputs.WORDS_TYPE,)
    RETURN_NAMES = ("words",)
    OUTPUT_TOOLTIPS = ("For `words` of Safelight KSampler, beside a detector.",)
    FUNCTION = "make"
    CATEGORY = "Safelight/detect"
    SEARCH_ALIASES = ["safe prompt", "caption", "tags", "detector"]
    DESCRIPTION = (
        "For prompts that say nothing unsafe and pictures that show it all the same: what a detector finds in the "
        "sampler makes the safe prompt. What should be there instead is added to your prompt, or a caption of the "
        "picture is rewritten; what was found joins your negative prompt. Where nothing is found, nothing is encoded "
        "and nothing changes."
    )

    def make(
        self,
        clip: CLIP,
        prompt: str,
        safe_prompt: str = "",
        instead: str = "",
        concepts: str = DEFAULT_CONCEPTS,
        stand_ins: str = "",
        false_alarms: float = FALSE_ALARMS,
        caption: str = "",
    ) -> tuple[Words]:
        texts = {"safe_prompt": safe_prompt, "instead": instead, "concepts": concepts, "stand_ins": stand_ins}
        return (make_words(clip, prompt, false_alarms, caption=caption, **texts),)
