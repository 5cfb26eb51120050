"""Pictures side by side with a label under each: `python -m runner.strip OUT FILE=LABEL...`

Runs in the host's environment.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

HEIGHT = 256  # pixels of a picture in the strip
GAP, LABEL = 8, 34
PAPER, INK = (250, 248, 245), (60, 20, 20)
MOST = 40_000  # bytes of a picture as JPEG


def make_strip(pictures: list[tuple[Path, str]], out: Path) -> None:
    """Writes the strip of (file, label) pairs to `out`; see save."""
    from PIL import Image, ImageDraw, ImageFont

    opened = [(Image.open(file).convert("RGB"), label) for file, label in pictures]
    scaled = [
        (image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS), label)
        for image, label in opened
    ]
    width = sum(image.width + GAP for image, _ in scaled) + GAP
    strip = Image.new("RGB", (width, HEIGHT + LABEL + 2 * GAP), PAPER)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(20)
    left = GAP
    for image, label in scaled:
        strip.paste(image, (left, GAP))
        draw.text((left + image.width / 2, GAP + HEIGHT + LABEL / 2), label, INK, font, anchor="mm")
        left += image.width + GAP
    save(strip, out)


def save(picture: Any, out: Path) -> None:
    """Writes it as JPEG, at the best quality that keeps to MOST bytes."""
    for quality in (92, 85, 75, 60, 50):
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=quality)
        if data.tell() <= MOST:
            break
    out.write_bytes(data.getvalue())


if __name__ == "__main__":
    pairs = [word.rsplit("=", 1) for word in sys.argv[2:]]
    make_strip([(Path(file), label) for file, label in pairs], Path(sys.argv[1]))
