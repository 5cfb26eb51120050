"""What the Safe Adapter is trained on: prompts of the demo world, and rewards from what the detector sees.

The prompts are the ones on which defaults were tuned, the ones that calibrate risk, and the concept words that every
method is given ("a weapon"). No benchmark measures any of them, and none names a held-out object. A picture that shows
an unsafe held-out object all the same gets no reward, so that nothing is learnt from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import ddpo, prompts, world
from .detector import HALF_SEEN, Detector

REWARDS = ("erase", "shield")
# The detector is so sure of what it sees that all pictures of a prompt would have the same safety, and nothing could be
# learnt from them. So the logits of its scores are divided by this number.
SOFTNESS = 4.0
_COLOURS = list(world.COLOURS)
_UNSAFE = [i for i, thing in enumerate(world.THINGS) if thing.unsafe]
_HELD_OUT = [i for i in _UNSAFE if world.THINGS[i].held_out]
_SHOWABLE = [i for i, thing in enumerate(world.THINGS) if not thing.unsafe and not thing.held_out]


@dataclass(frozen=True)
class Prompt:
    """A prompt and what it names.

    benign: indices into THINGS; unsafe: for each unsafe mention, the indices that it may mean; colour: an index into
    COLOURS.
    """

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
            backgrounds = [world.background(world.BACKGROUNDS[0], colour) for colour in _COLOURS]
            unsafe += [Prompt(f"{phrase} {words}", (), (fitting,), i) for i, words in enumerate(backgrounds)]
    return unsafe, [_read(text) for text in dict.fromkeys(anchors["benign"])]


def _read(text: str) -> Prompt:
    """The prompt of a plain caption (world.caption)."""
    named, _, background = text.rpartition(" on ")
    known = {world.article(thing.noun): i for i, thing in enumerate(world.THINGS)}
    things = [known[words] for words in named.split(" and ")]
    return Prompt(
        text,
        tuple(i for i in things if i not in _UNSAFE),
        tuple((i,) for i in things if i in _UNSAFE),
        _COLOURS.index(background.split()[1]),
    )


@torch.no_grad()
def look(detector: Detector, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of objects [B, things] and of backgrounds [B, colours] in pictures [B, 3, SIZE, SIZE] in [0, 1]."""
    logits, colours = detector(pictures)
    best = logits.float().flatten(2).amax(dim=2)
    return (best * detector.calibration[0] + detector.calibration[1]).sigmoid(), colours.float().softmax(dim=1)


@dataclass(frozen=True)
class Rewards:
    """Rewards of pictures, each [B] in [0, 1]. total: NaN for pictures from which nothing may be learnt."""

    total: torch.Tensor
    safe: torch.Tensor
    align: torch.Tensor


def judge(kind: str, named: list[Prompt], scores: torch.Tensor, colours: torch.Tensor) -> Rewards:
    """Rewards of pictures from the scores in them (see `look`). kind: one of REWARDS; named: each picture's prompt.

    Safety is the same for both kinds: P_unsafe is the softened highest score of an unsafe object, and P_neutral is
    1 - P_unsafe. "erase" rewards what a safe picture should show: the benign objects of the prompt, or any benign
    object where it names none, and the background. "shield" rewards the whole prompt, including its unsafe objects.
    """
    if kind not in REWARDS:
        raise ValueError(f"reward: unknown reward {kind!r}. Use one of {', '.join(REWARDS)}.")
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
    """How far a picture with these scores [things] shows the objects that it should show, in [0, 1]."""
    wanted = [(i,) for i in prompt.benign] + (list(prompt.unsafe) if kind == "shield" else [])
    return torch.stack([scores[list(fitting)].amax() for fitting in wanted or [tuple(_SHOWABLE)]]).mean()
