"""Pictures with what a detector found in them: boxes and names drawn over it, or blurred or blanked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from safelight.detect.look import Finding, Look

KEEP, BLUR, BLANK = HIDINGS = ("keep", "blur", "blank")
FOUND_INK, OTHER_INK = (200, 38, 28), (120, 120, 120)
GREY = 0.5  # of what is blanked
SHARE = 0.05  # of a box's sides that is hidden around it
COARSE, LEAST = 5, 4  # cells along the longer side of what is blurred, and pixels of a cell


def drawn(picture: torch.Tensor, look: Look) -> torch.Tensor:
    """The picture [H, W, 3] in [0, 1] with the boxes of its findings, and what was found below each or at the top."""
    whole = torch.nan_to_num(picture.float()).clamp(0, 1).cpu()
    image = Image.fromarray((whole * 255).round().byte().numpy())
    pen, side = ImageDraw.Draw(image), max(image.size)
    font, line = ImageFont.load_default(max(10, side // 32)), max(1, side // 256)
    for finding in sorted(look.findings, key=lambda one: one.score):
        if finding.box is None:
            continue
        left, top, right, bottom = _pixels(finding.box, image.width, image.height)
        colour = FOUND_INK if finding.found else OTHER_INK
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
        _label(pen, (left, bottom), f"{finding.name} {finding.score:.2f}", font, colour, image.size)
    everywhere = [one for one in look.findings if one.box is None and one.found]
    texts = [f"{one.name} {one.score:.2f}" for one in everywhere] + ([look.failed] if look.failed else [])
    if texts:
        _label(pen, (0, 0), ", ".join(texts), font, FOUND_INK, image.size)
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255.0)


def hidden(picture: torch.Tensor, look: Look, how: str) -> torch.Tensor:
    """The picture [H, W, 3] with what was found blurred or blanked: its boxes, the whole picture where there are none.

    A picture in which nothing was found, and any with `keep`, stays as it is. Raises ValueError for an unknown way.
    """
    check_hiding(how)
    if how == KEEP or not look.found:
        return picture
    boxes = [finding.box for finding in _found(look.findings) if finding.box is not None]
    height, width = picture.shape[:2]
    result = torch.nan_to_num(picture).clone()
    everywhere = not boxes or look.failed or any(one.box is None for one in _found(look.findings))
    for box in [(0.0, 0.0, 1.0, 1.0)] if everywhere else boxes:
        left, top, right, bottom = _pixels(_wider(box), width, height)
        part = result[top:bottom, left:right]
        part[:] = GREY if how == BLANK else _blurred(part)
    return result


def check_hiding(how: str) -> None:
    if how not in HIDINGS:
        raise ValueError(f"hide: unknown way {how!r}. Use one of {', '.join(HIDINGS)}.")


def _found(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.found]


def _wider(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    x, y = SHARE * (right - left), SHARE * (bottom - top)
    return left - x, top - y, right + x, bottom + y


def _pixels(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """At least one pixel wide and high, inside the picture."""
    left, top, right, bottom = box

    def ends(start: float, stop: float, size: int) -> tuple[int, int]:
        first = min(max(math.floor(start * size), 0), size - 1)
        return first, min(max(math.ceil(stop * size), first + 1), size)

    (x, right_end), (y, bottom_end) = ends(left, right, width), ends(top, bottom, height)
    return x, y, right_end, bottom_end


def _blurred(part: torch.Tensor) -> torch.Tensor:
    """Cells that are large beside the part: nobody reads a face or a body out of them."""
    height, width = part.shape[:2]
    cell = max(LEAST, max(height, width) // COARSE)
    batch = part.movedim(-1, 0)[None].float()
    small = F.interpolate(batch, (max(1, height // cell), max(1, width // cell)), mode="area")
    smooth = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    return smooth[0].movedim(0, -1).to(part.dtype)


def _label(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """White on the colour, inside the picture."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    x, y = max(0, min(at[0], size[0] - (right - left) - 4)), max(0, min(at[1], size[1] - (bottom - top) - 4))
    pen.rectangle((x, y, x + right - left + 4, y + bottom - top + 4), fill=colour)
    pen.text((x + 2 - left, y + 2 - top), text, (255, 255, 255), font)
