"""What all guiders, and all model patches, have in common as nodes."""

from __future__ import annotations

from . import inputs


class GuiderNode:
    RETURN_TYPES = ("GUIDER", "SAFELIGHT_TRACE")
    RETURN_NAMES = ("GUIDER", "trace")
    OUTPUT_TOOLTIPS = ("A guider for Sampler Custom Advanced.", inputs.TRACE_TOOLTIP)
    FUNCTION = "guide"
    CATEGORY = "Safelight/guidance"
    SEARCH_ALIASES = inputs.SEARCH_ALIASES


class PatchNode:
    RETURN_TYPES = ("MODEL", "SAFELIGHT_TRACE")
    RETURN_NAMES = ("MODEL", "trace")
    OUTPUT_TOOLTIPS = ("The model, guided wherever a sampler uses it with a CFG guider.", inputs.TRACE_TOOLTIP)
    FUNCTION = "patch"
    CATEGORY = "Safelight/guidance"
    SEARCH_ALIASES = inputs.SEARCH_ALIASES
