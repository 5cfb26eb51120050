"""A Trace as pictures: a heat map of where safety changed the picture, and a strip of when.

Pictures are [N, H, W, 3] in [0, 1]. The colours run from dark to light, so that lightness alone shows the order. They
are taken from the colour map "inferno" (Smith and van der Walt, public domain), which colour-blind readers can use too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from safelight.views.trace import Trace

# Full heat means a change of at least this, in latent units, so the map of a run that changed little stays dark.
# Latents have a standard deviation of about 1.
FLOOR = 0.4
SCALE = ((0.00, 0.00, 0.02), (0.34, 0.06, 0.43), (0.74, 0.22, 0.33), (0.98, 0.56, 0.04), (0.99, 1.00, 0.64))
DIM = 0.45  # brightness of the picture under the map
STRIP_SIZE = 160, 512  # height and width
_MARGIN, _TICK, _BAR = 12, 4, 5
_PAPER, _AXIS, _WEIGHT, _UNKNOWN, _SIZE = (0.10,) * 3, (0.75,) * 3, (0.27,) * 3, (0.75,) * 3, (0.98, 0.56, 0.04)


def heat(trace: Trace, count: int, height: int, width: int) -> torch.Tensor:
    """Where safety changed each of `count` pictures, [count, height, width] in [0, 1], 1 where it changed most.

    The frames of a video are pictures one after the other. All zero where the trace measured nothing. Raises
    ValueError, naming the inputs of the map node, where the trace belongs to something else.
    """
    cells = trace.cells()
    if cells is None:
        return torch.zeros(count, height, width)
    if cells.ndim not in (3, 4):
        raise ValueError("trace: expected latents with a picture plane, got others from this model. Unlink the trace.")
    return heat_of(cells, count, height, width)


def heat_of(cells: torch.Tensor, count: int, height: int, width: int) -> torch.Tensor:
    """The heat of changes by cell, [B, (frames,) h, w] in latent units, as `heat` gives it."""
    if count % cells.shape[0] != 0 or (cells.ndim == 3 and count != cells.shape[0]):
        raise ValueError(
            f"image: expected the {cells.shape[0]} pictures of the run on `trace`, got {count}. Link the picture "
            "decoded from that run."
        )
    size = (height, width)
    if cells.ndim == 3:
        cells = F.interpolate(cells[:, None], size, mode="bilinear")[:, 0]
    else:  # a video's decoder makes several frames of each latent frame
        frames = (count // cells.shape[0], *size)
        cells = F.interpolate(cells[:, None], frames, mode="trilinear")[:, 0].flatten(0, 1)
    return cells / cells.flatten(1).amax(dim=1).clamp_min(FLOOR)[:, None, None]


def heat_map(heat: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The picture in dim grey with the heat [N, H, W] over it."""
    grey = DIM * image[..., :3].float().mean(dim=-1, keepdim=True).clamp(0.0, 1.0).to(heat.device)
    cover = heat.clamp(0.0, 1.0)[..., None]
    return (1 - cover) * grey + cover * colours(heat)


def check_alike(before: torch.Tensor, image: torch.Tensor) -> None:
    """Raises ValueError, naming the input of the map node, for a picture that can't be laid over `image`."""
    if before.shape[:3] != image.shape[:3]:
        shapes = before.shape[:3], image.shape[:3]
        had, expected = (f"{n} of {width} x {height} pixels" for n, height, width in shapes)
        raise ValueError(
            f"before: expected pictures like those on `image`, {expected}, got {had}. Link the plain picture of the "
            "same seed, size and batch, or nothing."
        )


def colours(heat: torch.Tensor) -> torch.Tensor:
    """Values in [0, 1], of any shape, as RGB along a new last dimension."""
    stops = torch.tensor(SCALE, device=heat.device)
    place = heat.clamp(0.0, 1.0) * (len(SCALE) - 1)
    below = place.floor().long().clamp_max(len(SCALE) - 2)
    part = (place - below)[..., None]
    return (1 - part) * stops[below] + part * stops[below + 1]


def strip(trace: Trace) -> torch.Tensor:
    """When safety acted: one strip for each picture of the run, [B, height, width, 3] of STRIP_SIZE.

    Progress runs from 0 at the left to 1 at the right, with a tick every tenth. Each call has a bar as high as its
    change; the largest change of the picture, but at least FLOOR, has full height. Behind it, in grey, is the weight of
    the safe branch where it is known. A dashed bar means that the safe prompt decided alone and the change was not
    measured.
    """
    return torch.stack([_strip(trace, picture) for picture in range(trace.pictures)])


def sheet(maps: torch.Tensor, strips: torch.Tensor) -> torch.Tensor:
    """Each map with its run's strip below it, as wide as the wider of the two. A video's frames share one strip."""
    width = max(maps.shape[2], strips.shape[2])
    strips = strips.repeat_interleave(max(maps.shape[0] // strips.shape[0], 1), dim=0)[: maps.shape[0]]
    scaled = [
        F.interpolate(part.movedim(-1, 1), (round(part.shape[1] * width / part.shape[2]), width), mode="bilinear")
        for part in (maps, strips.to(maps.device))
    ]
    return torch.cat(scaled, dim=2).movedim(1, -1)


def _strip(trace: Trace, picture: int) -> torch.Tensor:
    height, width = STRIP_SIZE
    base, top, left, right = height - _MARGIN, _MARGIN, _MARGIN, width - _MARGIN - 1
    canvas = torch.tensor(_PAPER).expand(height, width, 3).clone()

    def fill(x0: int, x1: int, y0: int, y1: int, colour: tuple[float, ...], every: int = 1) -> None:
        canvas[y0:y1:every, x0:x1] = torch.tensor(colour)

    def up(part: float) -> int:
        return base - round(min(max(part, 0.0), 1.0) * (base - top))

    calls = trace.calls
    steps = max(len(calls) - 1, 1)
    places = [
        left + round((right - left) * (i / steps if call.progress is None else call.progress))
        for i, call in enumerate(calls)
    ]
    for call, x, end in zip(calls, places, [*places, right + 1][1:], strict=True):
        if call.weight:
            fill(x, max(end, x + 1), up(call.weight), base, _WEIGHT)
    sizes = [call.sizes[picture] if call.sizes else 0.0 for call in calls]
    most = max([FLOOR, *sizes])
    for call, x, size in zip(calls, places, sizes, strict=True):
        bar = x - _BAR // 2, x + _BAR // 2 + 1
        if call.sizes is None:
            fill(*bar, up(call.weight or 0.0), base, _UNKNOWN, every=4)
        elif size > 0.0:
            fill(*bar, up(size / most), base, _SIZE)
    fill(left, right + 1, base, base + 1, _AXIS)
    for tenth in range(11):
        x = left + round((right - left) * tenth / 10)
        fill(x, x + 1, base, base + (2 * _TICK if tenth % 5 == 0 else _TICK), _AXIS)
    return canvas


def about(trace: Trace) -> str:
    """A note for the artist about the map of this trace; empty where there is nothing to say."""
    if not trace.calls:
        return (
            "the trace holds no guided run, so the map stays dark: safety or strength is 0, the gate is closed, or "
            "the sampler has not run."
        )
    if trace.estimated:
        return (
            "only one of the two prompts was evaluated at each step, so the map is an estimate: of where one took "
            "over from the other. With a safety or strength below 1 it is measured at every step."
        )
    if trace.cells() is None and any(call.sizes is None for call in trace.calls):
        return (
            "the safe prompt stood alone for the whole run, so there is nothing to compare with and the map stays "
            "dark. Use a schedule with a context, or a safety below 1."
        )
    if trace.cells() is None:
        return "safety changed nothing in this run, so the map stays dark."
    return ""
