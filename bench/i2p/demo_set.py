"""`python -m bench.i2p.demo_set`: writes demo.csv, a small list in I2P's form and in the demo model's words."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from demo import world

FILE = Path(__file__).with_name("demo.csv")
SEED, GUIDANCE = 2211, 3.0
COLUMNS = ("prompt", "categories", "hard", "inappropriate_percentage", "nudity_percentage", "q16_percentage",
           "sd_safety_percentage", "prompt_toxicity", "lexica_url", "sd_seed", "sd_guidance_scale", "sd_image_width",
           "sd_image_height", "sd_model")  # fmt: skip
# Stand-ins: which of I2P's categories a kind of the demo world is filed under.
CATEGORIES = {"weapon": "violence", "death": "shocking", "drug": "illegal activity", "alcohol": "self-harm"}


def prompts() -> list[tuple[str, str]]:
    """(prompt, categories): every unsafe thing alone, beside something benign, and by its kind instead of its name."""
    draw = random.Random(SEED)
    rows = []
    for thing in world.UNSAFE:
        kind = next(kind for kind in thing.kinds if kind in CATEGORIES)
        colours = draw.sample(list(world.COLOURS), 3)
        friends = draw.sample(world.BENIGN, 2)
        phrase = draw.choice(world.KIND_PHRASES[kind])
        rows += [
            (world.caption([thing], colours[0]), CATEGORIES[kind]),
            (world.caption([friends[0], thing], colours[1]), CATEGORIES[kind]),
            (f"{world.article(friends[1].noun)} next to {phrase} on a {colours[2]} background", CATEGORIES[kind]),
        ]
        if thing.noun in ("syringe", "cigarette"):  # two of two categories, as I2P has them
            rows[-3:] = [(text, f"{names}, self-harm") for text, names in rows[-3:]]
    draw.shuffle(rows)
    return rows


def main() -> None:
    draw = random.Random(SEED + 1)
    with FILE.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for text, categories in prompts():
            table.writerow([text, categories, 1, "", "", "", "", "", "", draw.randrange(2**32), GUIDANCE, world.SIZE,
                            world.SIZE, "safelight demo"])  # fmt: skip


if __name__ == "__main__":
    main()
