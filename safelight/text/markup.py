"""What of a prompt is markup and not words: weights, embeddings, LoRA tags, wildcards, choices."""

from __future__ import annotations

import re

# Words in capitals that part a prompt for some encoders.
SEPARATORS = r"(?:BREAK|AND|ADDCOMM|ADDROW|ADDCOL|ADDBASE)"
# In this order: what stands as a whole for something else, then the signs around words.
_WHOLE = re.compile(
    rf"""
    embedding:[^\s,()<>{{}}|]+          # a textual inversion, by its file's name
    | <[a-z]\w*:[^<>]*>               # <lora:name:1>, <lyco:...>, <hypernet:...>
    | __[\w./*-]+__                   # a wildcard's file
    | \b{SEPARATORS}\b
    """,
    re.VERBOSE,
)
_WEIGHT = re.compile(r":\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*(?=[)\]])")
_CHOICE_COUNT = re.compile(r"(?<=\{)\s*\d+(?:-\d+)?\$\$")


def plain_text(prompt: str) -> str:
    """The prompt with its markup blanked: a text of the same length, every word at its place.

    The signs of a choice, {a|b}, become commas, since each part is read for itself; underscores between words (tags as
    "long_hair") become spaces.
    """

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    text = _WHOLE.sub(blank, prompt)
    text = _CHOICE_COUNT.sub(blank, text)
    text = _WEIGHT.sub(blank, text)
    text = re.sub(r"[{}|]", ",", text)
    return re.sub(r"[\\()\[\]<>]|(?<=\w)_(?=\w)", " ", text)
