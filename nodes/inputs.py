"""The inputs that the guiding nodes share: their declarations, and the reading of what an artist gave."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch

from safelight.guidance.blend import inherit
from safelight.guidance.economy import MODES, OFF
from safelight.guidance.schedule import DEFAULT_PRESET, PRESETS, WeightSchedule, unit_number
from safelight.guidance.selective import Selection

SEARCH_ALIASES = ["sfw", "nsfw", "sld", "safe", "content safety"]
MERGES = ("every step", "separate")
DEFAULT_SAFETY = 1.0
DEFAULT_GATE = 0.5
DEFAULT_MERGE_AT = 0.8

MODEL = ("MODEL", {"tooltip": "The model that denoises."})
POSITIVE = ("CONDITIONING", {"tooltip": "The prompt as written. It alone decides the layout, before the schedule's "
                                        "context."})  # fmt: skip
SAFE = ("CONDITIONING", {"tooltip": "The prompt's safe counterpart, from Safelight Context Encode or written by "
                                    "yourself. It takes over ControlNets, areas, masks and timestep ranges of "
                                    "`positive` that it lacks."})  # fmt: skip
NEGATIVE = ("CONDITIONING", {"tooltip": "What to keep out of the picture, as with any sampler."})
CFG = ("FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01,
                 "tooltip": "Classifier-free guidance scale: how closely the picture follows the prompt."})  # fmt: skip
LATENT_IMAGE = ("LATENT", {"tooltip": "The latent image to denoise."})
SAFETY = ("FLOAT", {
    "default": DEFAULT_SAFETY, "min": 0.0, "max": 1.0, "step": 0.01, "display": "gradientslider",
    "gradient_stops": [{"offset": 0, "color": [74, 74, 74]}, {"offset": 1, "color": [200, 38, 28]}],
    "tooltip": "How strongly the safe prompt steers: 0 off, .25 low, .5 medium, .75 high, 1 full. At 0 the result is "
               "that of the stock sampler, bit for bit.",
})  # fmt: skip
SCHEDULE = ("SAFELIGHT_SCHEDULE", {"tooltip": "When the safe prompt steers, from Safelight Weight Schedule. Without a "
                                              f"link: the preset \"{DEFAULT_PRESET}\"."})  # fmt: skip
RISK = ("FLOAT", {
    "default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01, "forceInput": True,
    "tooltip": "How unsafe the text is, from Safelight Context Encode. Below `gate` the run is the stock sampler's. "
               "Without a link it counts as 1. It knows the text alone: leave it unlinked for image-to-image.",
})  # fmt: skip
GATE = ("FLOAT", {"default": DEFAULT_GATE, "min": 0.0, "max": 1.0, "step": 0.01, "advanced": True,
                  "tooltip": "A prompt whose risk is below this is left alone. 0 guides every prompt."})  # fmt: skip
MERGE = (list(MERGES), {
    "default": MERGES[0], "advanced": True,
    "tooltip": "every step: one latent, the two predictions merged at each step. separate (experimental): two "
               "latents from the schedule's context on, merged once at merge_at.",
})  # fmt: skip
MERGE_AT = ("FLOAT", {
    "default": DEFAULT_MERGE_AT, "min": 0.0, "max": 1.0, "step": 0.01, "advanced": True,
    "tooltip": "For merge = separate: the progress at which the two latents become one.",
})  # fmt: skip
MASK = ("MASK", {"tooltip": "Where the safe prompt may steer. Outside the mask the prompt as written stands alone."})
SELECTIVE = ("SAFELIGHT_SELECTIVE", {
    "tooltip": "Where the safe prompt steers, from Safelight Selective: only where it wants something else than "
               "`positive`. Without a link: everywhere.",
})  # fmt: skip
ECONOMY = (list(MODES), {
    "default": OFF, "advanced": True,
    "tooltip": "Between safety 0 and 1, and with a mask or selective, both prompts are evaluated: about 1.3 times the "
               "work of a stock run. balanced and free evaluate one of the two on most calls and remember the other: "
               "about 1.1 and 1.05 times the work, for almost the same picture.",
})  # fmt: skip
TRACE_TOOLTIP = "Where and when the run was changed, for Safelight Map."


def check_clip(clip: Any) -> None:
    """Raises ValueError where there is none."""
    if clip is None:
        raise ValueError("clip: there is no text encoder on this link; the checkpoint may not contain one.")


def strength_input(most: float, tooltip: str) -> tuple[str, dict[str, Any]]:
    """The declaration of a method's strength from 0 to `most`, as a slider; 1 is the method as it is."""
    return "FLOAT", {
        "default": 1.0, "min": 0.0, "max": most, "step": 0.05, "display": "gradientslider",
        "gradient_stops": SAFETY[1]["gradient_stops"], "tooltip": tooltip,
    }  # fmt: skip


def read_strength(strength: Any, most: float) -> float:
    """Raises ValueError for anything but a number from 0 to `most`."""
    number = isinstance(strength, Real) and not isinstance(strength, bool)
    if not number or not 0.0 <= strength <= most:  # true for NaN too
        raise ValueError(f"strength: it is {strength!r}; give a number from 0 to {most:g}.")
    return float(strength)


@dataclass(frozen=True)
class Guidance:
    """What the artist set, read and checked.

    mask: [N, H, W] in [0, 1], or None where the whole picture is guided. notes: what the artist should know.
    selective: how the cells are chosen that are guided, None for all of them. economy: one of safelight.economy.MODES.
    """

    safety: float
    schedule: WeightSchedule
    risk: float = 1.0
    gate: float = DEFAULT_GATE
    mask: torch.Tensor | None = None
    notes: tuple[str, ...] = ()
    selective: Selection | None = None
    economy: str = OFF

    @property
    def gate_open(self) -> bool:
        return not self.risk < self.gate

    @property
    def acts(self) -> bool:
        return self.safety > 0.0 and self.gate_open


def read_guidance(safety: Any, schedule: Any = None, risk: Any = 1.0, gate: Any = DEFAULT_GATE,
                  mask: Any = None, selective: Any = None, economy: Any = OFF) -> Guidance:  # fmt: skip
    """The guiding inputs as a Guidance. Raises ValueError, naming the input, for what cannot be read.

    A mask is only looked at where the guidance acts, and so is `selective`.
    """
    notes: list[str] = []
    if schedule is None:
        schedule = PRESETS[DEFAULT_PRESET]
    elif not isinstance(schedule, WeightSchedule):
        try:
            schedule = WeightSchedule.from_value(schedule)
        except ValueError as error:
            raise ValueError(f"schedule: connect a Safelight Weight Schedule here. {error}") from error
    if not isinstance(risk, Real) or not math.isfinite(risk) or not 0.0 <= risk <= 1.0:
        notes.append(f"risk {risk} is not a number from 0 to 1; it counts as 1.")
        risk = 1.0
    guidance = Guidance(unit_number("safety", safety), schedule, float(risk), unit_number("gate", gate), None,
                        tuple(notes))  # fmt: skip
    if not guidance.acts:
        return guidance
    if selective is not None and not isinstance(selective, Selection):
        raise ValueError(f"selective: it is no such setting ({type(selective).__name__}); connect a Safelight "
                         "Selective or nothing.")  # fmt: skip
    if economy not in MODES:
        raise ValueError(f"economy: {economy!r} is no such setting; use one of {', '.join(MODES)}.")
    return replace(guidance, mask=None if mask is None else read_mask(mask), selective=selective, economy=economy)


def read_mask(mask: Any) -> torch.Tensor | None:
    """A MASK as [N, H, W] in [0, 1]; None where it is 1 everywhere. Raises ValueError for one that guards nothing."""
    if not isinstance(mask, torch.Tensor) or mask.ndim < 2 or mask.numel() == 0:
        raise ValueError(f"mask: it is no mask ({type(mask).__name__}); connect a MASK or nothing.")
    mask = mask.reshape(-1, mask.shape[-2], mask.shape[-1]).float()
    if not bool(torch.isfinite(mask).all()):
        raise ValueError("mask: it holds values that are not numbers; connect another mask or nothing.")
    mask = mask.clamp(0.0, 1.0)
    if not bool((mask.flatten(1).amax(dim=1) > 0.0).all()):
        raise ValueError("mask: it is empty, so nothing would be guarded; paint it, or set safety to 0.")
    return None if bool((mask == 1.0).all()) else mask


def fit_mask(mask: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`mask` [N, H, W] for the latents x [B, C, (frames,) h, w], one value per latent cell, broadcastable against x.

    A cell gets the mean of the mask over it, so that no thin stroke falls between cells. One mask holds for the whole
    batch and all frames; several go to the pictures of the batch in turn, or, for a single video, to its frames.
    """
    if x.ndim not in (4, 5):
        raise ValueError("mask: this model's latents have no picture plane that a mask could lie on; unlink it.")
    mask = mask.to(x.device)
    if x.ndim == 5 and x.shape[0] == 1 and mask.shape[0] > 1:
        return torch.nn.functional.adaptive_avg_pool3d(mask[None, None], tuple(x.shape[2:])).to(x.dtype)
    cells = torch.nn.functional.adaptive_avg_pool2d(mask[:, None], tuple(x.shape[-2:]))
    if cells.shape[0] > 1:
        cells = cells[torch.arange(x.shape[0], device=x.device) % cells.shape[0]]
    return (cells if x.ndim == 4 else cells.unsqueeze(2)).to(x.dtype)


def read_safe(safe: Any, written: list[Any]) -> list[Any]:
    """The safe conditioning, checked, with everything that it inherits from the written one.

    written: a CONDITIONING. Raises ValueError, naming the input, where the safe one could not guide this model.
    """
    if not isinstance(safe, (list, tuple)) or len(safe) == 0:
        raise ValueError("safe: it is empty, so nothing could guide; connect the safe output of Safelight Context "
                         "Encode or another conditioning, or set safety to 0.")  # fmt: skip
    texts = [entry[0] for entry in written if isinstance(entry[0], torch.Tensor)]
    widths = {text.shape[-1] for text in texts}
    pooled = any(entry[1].get("pooled_output") is not None for entry in written)
    for entry in safe:
        text, extras = entry[0], entry[1]
        for name, tensor in (("text", text), ("pooled output", extras.get("pooled_output"))):
            if isinstance(tensor, torch.Tensor) and not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"safe: its {name} holds values that are not numbers; encode it again.")
        if isinstance(text, torch.Tensor) and widths and text.shape[-1] not in widths:
            raise ValueError(f"safe: it is {text.shape[-1]} wide where the prompt is {min(widths)} wide; encode it "
                             "with the same text encoder (CLIP) as the prompt.")  # fmt: skip
        if text is None and texts:
            raise ValueError("safe: an entry of it has no text; encode it with the prompt's text encoder (CLIP).")
        if pooled and extras.get("pooled_output") is None:
            raise ValueError("safe: it lacks the pooled output that the prompt has; encode it with the same text "
                             "encoder (CLIP) as the prompt.")  # fmt: skip
    inherited = inherit(list(safe), written)
    # Models ask for "positive" or "negative"; the host would call these entries by their key.
    return [[entry[0], {"prompt_type": "positive", **entry[1]}, *entry[2:]] for entry in inherited]


def check_width(encoded: list[Any], written: list[Any]) -> None:
    """Raises ValueError, naming the clip, where it gives texts of another width than the prompt's.

    encoded: a CONDITIONING made with the clip; written: the prompt's.
    """
    widths = {entry[0].shape[-1] for entry in written if isinstance(entry[0], torch.Tensor)}
    for states, *_ in encoded:
        if isinstance(states, torch.Tensor) and widths and states.shape[-1] not in widths:
            raise ValueError(f"clip: its texts are {states.shape[-1]} wide where the prompt is {min(widths)} wide; "
                             "link the text encoder (CLIP) that encoded the prompt.")  # fmt: skip
