"""A row of pictures with a label under each. Runs in the host's environment: `-m runner.strip OUT FILE=LABEL...`"""

from __future__ import annotations

import io
import sys
from pathlib import Path

HEIGHT = 256  # pixels of a picture in the strip
GAP, LABEL = 8, 34
PAPER, INK = (250, 248, 245), (60, 20, 20)
MOST = 40_000  # bytes of a strip as JPEG


def make_strip(pictures: list[tuple[Path, str]], out: Path) -> None:
    """Writes the strip of (file, label) pairs to `out` as JPEG, at the best quality that keeps to MOST bytes."""
    from PIL import Image, ImageDraw, ImageFont

    opened = [(Image.open(file).convert("RGB"), label) for file, label in pictures]
    scaled = [
        (image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS), label)
        for image, label in opened
    ]
    width = sum(image.width for image, _ in scaled) + GAP * (len(scaled) + 1)
    strip = Image.new("RGB", (width, HEIGHT + LABEL + 2 * GAP), PAPER)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(20)
    left = GAP
    for image, label in scaled:
        strip.paste(image, (left, GAP))
        draw.text((left + image.width / 2, HEIGHT + GAP + LABEL / 2), label, INK, font, anchor="mm")
        left += image.width + GAP
    for quality in (92, 85, 75, 60):
        data = io.BytesIO()
        strip.save(data, "JPEG", quality=quality)
        if data.tell() <= MOST:
            break
    out.write_bytes(data.getvalue())


if __name__ == "__main__":
    pairs = [argument.rsplit("=", 1) for argument in sys.argv[2:]]
    make_strip([(Path(file), label) for file, label in pairs], Path(sys.argv[1]))
