"""Concept vectors, after Ring-A-Bell: made from pairs of prompts, and read from a link or a file."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.utils

from safelight.checks import check_texts
from safelight.edits.edit_file import Edit
from safelight.engine import edit_files
from safelight.engine.encoder import check_clip, check_known, encode_neutral
from safelight.engine.known_rows import check_rows
from safelight.text.concept_vector import ConceptVector, concept_vector
from safelight.text.encoding import Encoding

if TYPE_CHECKING:
    from comfy.sd import CLIP

KIND = "concept vector"

# One line for each of I2P's categories, and in the same order the safe versions.
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
    """(unsafe, safe), line by line. Lines that are empty in both texts are left out."""
    both = [[line.strip() for line in text.splitlines()] for text in (unsafe_prompts, safe_prompts)]
    pairs = [(a, b) for a, b in zip_longest(*both, fillvalue="") if a or b]
    for a, b in pairs:
        if not a or not b:
            name, other, lone = (
                ("unsafe_prompts", "safe_prompts", b) if not a else ("safe_prompts", "unsafe_prompts", a)
            )
            raise ValueError(
                f"{name}: expected a line for each in {other}, got none for {lone!r}. Write as many lines in both."
            )
    if not pairs:
        raise ValueError(
            "unsafe_prompts: expected prompts, got an empty text. Write one prompt per line, and its safe version in "
            "safe_prompts."
        )
    return pairs


def read_vector(vector: object) -> ConceptVector:
    """The vector on a link. Raises ValueError for anything else, naming what it is."""
    if not isinstance(vector, Edit) or vector.kind != KIND:
        got = f"one of the kind {vector.kind!r}" if isinstance(vector, Edit) else type(vector).__name__
        raise ValueError(
            f"vector: expected an edit of the kind {KIND!r}, got {got}. Connect Safelight Concept Vector or Safelight "
            "Load Concept Vector."
        )
    return ConceptVector.of_tensors(vector.tensors)


def make_vector(clip: CLIP, unsafe_prompts: str, safe_prompts: str) -> Edit:
    """The concept vector of pairs of prompts, line by line. Raises ValueError, naming the input."""
    check_clip(clip)
    check_texts(unsafe_prompts=unsafe_prompts, safe_prompts=safe_prompts)
    check_rows(clip, "a concept vector", "Write safe prompts, or let Safelight Context Encode rewrite.")
    pairs = read_pairs(unsafe_prompts, safe_prompts)
    bar = comfy.utils.ProgressBar(2 * len(pairs))

    def encode(input_name: str, text: str) -> Encoding:
        comfy.model_management.throw_exception_if_processing_interrupted()
        check_known(clip, text, input_name)
        encoding = encode_neutral(clip, text).check(f"the prompt {text!r}")
        bar.update(1)
        return encoding

    vector = concept_vector([(encode("unsafe_prompts", a), encode("safe_prompts", b)) for a, b in pairs])
    settings = {"pairs": [list(pair) for pair in pairs], "text encoder": vector.form}
    return Edit(KIND, vector.tensors(), settings)


def load_vector(file: str) -> Edit:
    """The concept vector in a file. Raises ValueError, naming the file, where it holds no whole one."""
    edit = edit_files.load(file, KIND)
    try:
        ConceptVector.of_tensors(edit.tensors)
    except ValueError as error:
        raise ValueError(f"file: expected a whole concept vector, got {file}. {error}") from error
    return edit
