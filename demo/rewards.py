"""What the Safe Adapter is trained on: prompts of the demo world, and rewards from what the detector sees.

The prompts are those on which defaults were tuned, those from which the risk is calibrated, and the concept words that
every method is given ("a weapon"). None of them is measured, and none names a held-out thing; a picture that shows an
unsafe one all the same gives no reward, so that nothing is learnt from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import ddpo, prompts, world
from .detector import HALF_SEEN, Detector

REWARDS = ("erase", "shield")
# The detector is so sure that a thing is there that all pictures of a prompt would have the same safety, and nothing
# would be learnt from any; the scores' logits are divided by this for safety.
SOFTNESS = 4.0
_COLOURS = list(world.COLOURS)
_UNSAFE = [i for i, thing in enumerate(world.THINGS) if thing.unsafe]
_HELD_OUT = [i for i in _UNSAFE if world.THINGS[i].held_out]
_SHOWABLE = [i for i, thing in enumerate(world.THINGS) if not thing.unsafe and not thing.held_out]


@dataclass(frozen=True)
class Prompt:
    """A prompt and what it names. benign: indices into THINGS; unsafe: for each unsafe thing those that may be meant;
    colour: index into COLOURS."""

    text: str
    benign: tuple[int, ...]
    unsafe: tuple[tuple[int, ...], ...]
    colour: int


def pool() -> tuple[list[Prompt], list[Prompt]]:
    """(unsafe, benign) prompts."""
    anchors = world.anchors()
    texts = [case.prompt for case in prompts.tuning()] + anchors["unsafe"]
    unsafe = [_read(text) for text in dict.fromkeys(texts)]
    for kind in world.UNSAFE_KINDS:
        fitting = tuple(i for i in _UNSAFE if kind in world.THINGS[i].kinds and i not in _HELD_OUT)
        for phrase in world.KIND_PHRASES[kind]:
            unsafe += [
                Prompt(f"{phrase} on a {colour} background", (), (fitting,), i) for i, colour in enumerate(_COLOURS)
            ]
    return unsafe, [_read(text) for text in dict.fromkeys(anchors["benign"])]


def _read(text: str) -> Prompt:
    """A plain caption (world.caption), understood."""
    named, colour = text.removesuffix(" background").rsplit(" on a ", 1)
    known = {world.article(thing.noun): i for i, thing in enumerate(world.THINGS)}
    things = [known[words] for words in named.split(" and ")]
    return Prompt(
        text,
        tuple(i for i in things if i not in _UNSAFE),
        tuple((i,) for i in things if i in _UNSAFE),
        _COLOURS.index(colour),
    )


@torch.no_grad()
def look(detector: Detector, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of pictures [B, 3, SIZE, SIZE] in [0, 1]: each thing's score [B, things] and each background's [B, colours]."""
    logits, colours = detector(pictures)
    best = logits.float().flatten(2).amax(dim=2)
    return (best * detector.calibration[0] + detector.calibration[1]).sigmoid(), colours.float().softmax(dim=1)


@dataclass(frozen=True)
class Rewards:
    """Each [B], in [0, 1]. total: NaN for pictures from which nothing may be learnt."""

    total: torch.Tensor
    safe: torch.Tensor
    align: torch.Tensor


def judge(kind: str, named: list[Prompt], scores: torch.Tensor, colours: torch.Tensor) -> Rewards:
    """Rewards of pictures from what is seen in them (see `look`). kind: one of REWARDS; named: each picture's prompt.

    Safety is the same for both: P_unsafe is the highest score of an unsafe thing, softened, and P_neutral what it
    leaves of 1. "erase" aligns with what a safe picture should show: the benign things that the prompt names, any
    benign thing where it names none, and the background. "shield" aligns with the prompt as such, the unsafe things
    included.
    """
    if kind not in REWARDS:
        raise ValueError(f"reward: {kind!r} is unknown; use one of {', '.join(REWARDS)}.")
    unsafe = (scores[:, _UNSAFE].amax(dim=1).logit() / SOFTNESS).sigmoid()
    safe = ddpo.safety_reward(1 - unsafe, unsafe)
    align = torch.stack(
        [
            (_shown(kind, prompt, one) + hue[prompt.colour]) / 2
            for prompt, one, hue in zip(named, scores, colours, strict=True)
        ]
    )
    total = ddpo.reward(safe, align)
    strange = scores[:, _HELD_OUT].amax(dim=1) >= HALF_SEEN
    return Rewards(total.masked_fill(strange, torch.nan), safe, align)


def _shown(kind: str, prompt: Prompt, scores: torch.Tensor) -> torch.Tensor:
    """How far a picture with these scores [things] shows the things that it should, in [0, 1]."""
    wanted = [(i,) for i in prompt.benign] + (list(prompt.unsafe) if kind == "shield" else [])
    return torch.stack([scores[list(fitting)].amax() for fitting in wanted or [tuple(_SHOWABLE)]]).mean()
