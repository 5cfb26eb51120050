"""What the demo's detector sees in pictures. Runs in the host's environment: `python -m demo.see FILE...`

Prints one JSON line a picture: {"colour": name, "things": [[name, score, x, y], ...]}, best first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def see(files: list[Path]) -> list[dict]:
    import numpy as np
    import torch
    from PIL import Image

    from . import detector

    eye = detector.load()
    reports = []
    for file in files:
        pixels = np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) / 255.0
        report = eye.see(torch.from_numpy(pixels)[None])[0]
        things = [[s.noun, round(s.score, 3), round(s.x, 3), round(s.y, 3)] for s in report.sights]
        reports.append({"colour": report.colour, "things": things, "seen_from": detector.SEEN})
    return reports


if __name__ == "__main__":
    for line in see([Path(argument) for argument in sys.argv[1:]]):
        print(json.dumps(line))
