"""Pictures side by side with a label under each: `python -m runner.strip [--square] OUT FILE=LABEL...`

Runs in the host's environment.
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

HEIGHT = 256  # pixels of a picture in the strip
GAP, LABEL = 8, 34
PAPER, INK = (250, 248, 245), (60, 20, 20)
MOST = 40_000  # bytes of a strip as JPEG


def make_strip(pictures: list[tuple[Path, str]], out: Path, square: bool = False) -> None:
    """Writes the strip of (file, label) pairs to `out` as JPEG, at the best quality that keeps to MOST bytes.

    square: in rows, in the middle of a square, as the page's template browser shows it without cutting it.
    """
    from PIL import Image, ImageDraw, ImageFont

    opened = [(Image.open(file).convert("RGB"), label) for file, label in pictures]
    scaled = [
        (image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.Resampling.LANCZOS), label)
        for image, label in opened
    ]
    columns = math.ceil(math.sqrt(len(scaled))) if square else len(scaled)
    rows = [scaled[start : start + columns] for start in range(0, len(scaled), columns)]
    width = max(sum(image.width + GAP for image, _ in row) for row in rows) + GAP
    height = (HEIGHT + LABEL + GAP) * len(rows) + GAP
    strip = Image.new("RGB", (max(width, height),) * 2 if square else (width, height), PAPER)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(20)
    top = GAP + (strip.height - height) // 2
    for row in rows:
        left = GAP + (strip.width - width) // 2
        for image, label in row:
            strip.paste(image, (left, top))
            draw.text((left + image.width / 2, top + HEIGHT + LABEL / 2), label, INK, font, anchor="mm")
            left += image.width + GAP
        top += HEIGHT + LABEL + GAP
    for quality in (92, 85, 75, 60, 50):
        data = io.BytesIO()
        strip.save(data, "JPEG", quality=quality)
        if data.tell() <= MOST:
            break
    out.write_bytes(data.getvalue())


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--square"]
    pairs = [word.rsplit("=", 1) for word in words[1:]]
    make_strip([(Path(file), label) for file, label in pairs], Path(words[0]), "--square" in sys.argv)
