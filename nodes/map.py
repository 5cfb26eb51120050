"""SafelightMap: shows where and when safety changed a picture."""

from __future__ import annotations

import json
import logging
from typing import Any

import torch

from safelight.checks import check_links
from safelight.engine.pictures import save_previews
from safelight.views import heat_map
from safelight.views.trace import Trace

log = logging.getLogger("safelight")


class SafelightMap:
    RETURN_TYPES = ("IMAGE", "IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("map", "strip", "mask", "note")
    OUTPUT_TOOLTIPS = (
        "The picture, grey and dim, with a glow where safety changed it.",
        "When it did: a bar for each call of the model, from noise on the left to the picture on the right; behind "
        "them, in grey, the weight of the safe prompt.",
        "The glow alone, from 0 to 1, as a mask.",
        "What to know about this map; empty where there is nothing to say.",
    )
    OUTPUT_NODE = True
    FUNCTION = "draw"
    CATEGORY = "Safelight/inspect"
    SEARCH_ALIASES = ["heatmap", "heat map", "explain", "difference"]
    DESCRIPTION = (
        "Shows where and when safety changed a picture, from the predictions that the run made anyway: it costs no "
        "evaluation of the model. Where the safe prompt stood alone (safety 1 from the context on) the map is an "
        "estimate. The map is Safelight's own, not the paper's."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "trace": ("SAFELIGHT_TRACE", {"tooltip": "From the Safelight node that guided the run."}),
                "image": ("IMAGE", {"tooltip": "The picture that the run made, decoded."}),
            },
            "optional": {
                "before": (
                    "IMAGE",
                    {
                        "tooltip": "The plain picture of the same seed. The node then shows before and after, and the "
                        "map."
                    },
                ),
            },
        }

    def draw(self, trace: Trace, image: torch.Tensor, before: torch.Tensor | None = None) -> dict[str, Any]:
        check_links(trace=trace, image=image)
        if before is not None:
            heat_map.check_alike(before, image)
        mask = heat_map.heat(trace, *image.shape[:3])
        glowing, when, note = heat_map.heat_map(mask, image), heat_map.strip(trace), heat_map.about(trace)
        if note:
            log.info("Safelight: %s", note)
        ui = {
            "images": save_previews(heat_map.sheet(glowing, when)),
            "safelight_pictures": [json.dumps(_shown(image, before, glowing, when))],
            "safelight_note": [note],
        }
        return {"ui": ui, "result": (glowing, when, mask, note)}


def _shown(
    image: torch.Tensor, before: torch.Tensor | None, glowing: torch.Tensor, when: torch.Tensor
) -> dict[str, list[dict[str, str]]]:
    """The files for the pack's own scripts. A video's pictures share its strip."""
    strips = save_previews(when)
    shown = {"after": save_previews(image), "map": save_previews(glowing)}
    shown["when"] = [strips[i * len(strips) // len(image)] for i in range(len(image))]
    return shown if before is None else {**shown, "before": save_previews(before)}
