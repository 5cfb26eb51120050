"""Concept vectors, after Ring-A-Bell: made from pairs of prompts, saved and loaded, taken away by Context Encode."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import comfy.model_management
import comfy.utils

from safelight.text.concept_vector import ConceptVector, concept_vector
from safelight.edits.edit_file import Edit
from safelight.text.encoding import Encoding
from safelight.engine import edit_files
from safelight.engine.encoder import encode_neutral
from .inputs import SEARCH_ALIASES, check_clip

KIND = "concept vector"
ALIASES = [*SEARCH_ALIASES, "Ring-A-Bell", "concept vector", "steering vector", "direction"]

# One line for each of I2P's categories, and each beside its twin.
UNSAFE_PROMPTS = """\
an angry mob with hateful signs on a street
a man threatening a woman in an office
a bloody fight in a bar
a soldier shooting a man in a field
a person hurting herself in a bathroom
a naked woman on a bed
a rotting corpse in a forest
a burglar with a gun in a house"""
SAFE_PROMPTS = """\
a happy crowd with colorful signs on a street
a man greeting a woman in an office
a friendly dance in a bar
a soldier hugging a man in a field
a person washing herself in a bathroom
a clothed woman on a bed
a mossy log in a forest
a guest with a gift in a house"""


def read_pairs(unsafe_prompts: str, safe_prompts: str) -> list[tuple[str, str]]:
    """(unsafe, safe), line by line. Lines that are empty in both lists are left out."""
    both = [[line.strip() for line in text.splitlines()] for text in (unsafe_prompts, safe_prompts)]
    pairs = [(a, b) for a, b in zip_longest(*both, fillvalue="") if a or b]
    for a, b in pairs:
        if not a or not b:
            name, other, lone = (
                ("unsafe_prompts", "safe_prompts", b) if not a else ("safe_prompts", "unsafe_prompts", a)
            )
            raise ValueError(f"{name}: no line stands beside {lone!r} of {other}; write as many lines in both lists.")
    if not pairs:
        raise ValueError("unsafe_prompts: it is empty; write one prompt a line, and its safe twin in safe_prompts.")
    return pairs


def read_vector(vector: Any) -> ConceptVector:
    """The vector on a link. Raises ValueError for anything else, naming what it is."""
    if not isinstance(vector, Edit):
        raise ValueError(f"vector: it is no edit ({type(vector).__name__}); connect a Safelight Concept Vector.")
    if vector.kind != KIND:
        raise ValueError(
            f"vector: it is an edit of the kind {vector.kind!r}; one of the kind {KIND!r} is needed here. Connect a "
            "Safelight Concept Vector, or a Load node of that kind."
        )
    return ConceptVector.of_tensors(vector.tensors)


class SafelightConceptVector:
    """What sets unsafe prompts apart from their safe twins, position by position."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "The text encoder of the model that will sample. A vector fits the text "
                                             "encoder that it was made with."}),
                "unsafe_prompts": ("STRING", {
                    "default": UNSAFE_PROMPTS, "multiline": True,
                    "tooltip": "Prompts with the concept, one a line. For a vector of one concept write only prompts "
                               "of that.",
                }),
                "safe_prompts": ("STRING", {
                    "default": SAFE_PROMPTS, "multiline": True,
                    "tooltip": "The same prompts without the concept: each line is the twin of the line in "
                               "unsafe_prompts, in the same order and, where it can be, of the same length.",
                }),
            },
        }  # fmt: skip

    RETURN_TYPES = (edit_files.EDIT_TYPE,)
    RETURN_NAMES = ("vector",)
    OUTPUT_TOOLTIPS = ("For `vector` of Safelight Context Encode, and for Safelight Save Edit.",)
    FUNCTION = "make"
    CATEGORY = edit_files.CATEGORY
    DESCRIPTION = (
        "Makes a concept vector from pairs of prompts: the mean of what the text encoder gives for the unsafe one less "
        "what it gives for the safe one. Safelight Context Encode takes it away (method subtract). After Ring-A-Bell."
    )
    SEARCH_ALIASES = ALIASES

    def make(self, clip: Any, unsafe_prompts: str = UNSAFE_PROMPTS, safe_prompts: str = SAFE_PROMPTS) -> tuple[Edit]:
        check_clip(clip)
        pairs = read_pairs(unsafe_prompts, safe_prompts)
        bar = comfy.utils.ProgressBar(2 * len(pairs))

        def encode(text: str) -> Encoding:
            comfy.model_management.throw_exception_if_processing_interrupted()
            found = encode_neutral(clip, text).check(f"the prompt {text!r}")
            bar.update(1)
            return found

        vector = concept_vector([(encode(a), encode(b)) for a, b in pairs])
        settings = {"pairs": [list(pair) for pair in pairs], "text encoder": vector.form}
        return (Edit(KIND, vector.tensors(), settings),)


class SafelightLoadConceptVector(edit_files.LoadsEdit):
    """A concept vector from its file."""

    KIND = KIND

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "file": (edit_files.files(KIND), {
                    "tooltip": "A vector saved with Safelight Save Edit, in output/safelight or models/safelight.",
                }),
            },
        }  # fmt: skip

    RETURN_TYPES = (edit_files.EDIT_TYPE,)
    RETURN_NAMES = ("vector",)
    OUTPUT_TOOLTIPS = ("For `vector` of Safelight Context Encode. It fits the text encoder that it was made with.",)
    FUNCTION = "load"
    CATEGORY = edit_files.CATEGORY
    DESCRIPTION = (
        "Loads a concept vector that was saved with Safelight Save Edit, for the vector input of Safelight Context "
        "Encode. Files are safetensors only."
    )
    SEARCH_ALIASES = ALIASES

    def load(self, file: str) -> tuple[Edit]:
        edit = edit_files.load(file, KIND)
        try:
            ConceptVector.of_tensors(edit.tensors)
        except ValueError as error:
            raise ValueError(f"file: {file} holds no whole concept vector ({error})") from error
        return (edit,)


NODE_CLASS_MAPPINGS = {
    "SafelightConceptVector": SafelightConceptVector,
    "SafelightLoadConceptVector": SafelightLoadConceptVector,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "SafelightConceptVector": "Safelight Concept Vector",
    "SafelightLoadConceptVector": "Safelight Load Concept Vector",
}
