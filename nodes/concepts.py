"""SafelightConcepts: concept words from the categories of I2P and the artist's own."""

from __future__ import annotations

from typing import Any

from safelight.checks import check_texts
from safelight.text.concepts import I2P_CATEGORIES, join_concepts

_TICKS = {name: name.replace(" ", "_").replace("-", "_") for name in I2P_CATEGORIES}


class SafelightConcepts:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        ticks = {
            tick: ("BOOLEAN", {"default": True, "tooltip": f"Adds: {', '.join(I2P_CATEGORIES[name])}."})
            for name, tick in _TICKS.items()
        }
        own_words = {
            "default": "",
            "multiline": True,
            "tooltip": "More things that count as unsafe, separated by commas, e.g. spiders, cigarettes, alcohol, any "
            "weapon. Short common words work best.",
        }
        return {"required": ticks, "optional": {"own_words": ("STRING", own_words)}}

    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("concepts",)
    OUTPUT_TOOLTIPS = ("The chosen words, separated by commas, for Safelight Prompt and Safelight Context Encode.",)
    FUNCTION = "join"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = "Chooses what counts as unsafe: the seven categories of the I2P benchmark, and words of your own."
    SEARCH_ALIASES = ["concepts", "categories", "unsafe words"]

    def join(self, own_words: str = "", **ticks: bool) -> tuple[str]:
        check_texts(own_words=own_words)
        return (join_concepts([name for name, tick in _TICKS.items() if ticks.get(tick)], own_words),)
