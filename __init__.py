"""Safelight: ComfyUI nodes that steer a picture away from what is unsafe and keep everything else."""

from .nodes import (
    adapter,
    concept_vector,
    context,
    demo,
    edit,
    edit_files,
    guidance,
    inspect,
    neighbours,
    redaction,
    safree,
    sampling,
    schedule,
    selective,
    steps,
    strip,
)

_MODULES = (
    context, schedule, selective, sampling, strip, guidance, neighbours, safree, demo, inspect, edit, redaction,
    adapter, concept_vector, edit_files,
)  # fmt: skip

NODE_CLASS_MAPPINGS = {name: node for module in _MODULES for name, node in module.NODE_CLASS_MAPPINGS.items()}
NODE_DISPLAY_NAME_MAPPINGS = {
    name: shown for module in _MODULES for name, shown in module.NODE_DISPLAY_NAME_MAPPINGS.items()
}
WEB_DIRECTORY = "js"

steps.serve()

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
