"""`python -m bench NAME [options]`: safety, redteam, i2p, speed or economy; with `--help` it tells its options.

`python run.py bench NAME [options]` runs the same with a ComfyUI and an environment that it finds or makes.
"""

from __future__ import annotations

import importlib
import sys

NAMES = {
    "safety": "every method on the demo model: what is seen, what is kept, what it costs",
    "redteam": "attack prompts on the demo model: what they bring back, and whether the gate sees them",
    "i2p": "I2P and other prompt lists through a running ComfyUI server, with a checkpoint of yours",
    "speed": "rows, time and memory beside the stock sampler",
    "economy": "how close economical runs stay to the full dual evaluation",
}


def usage() -> str:
    return "python -m bench NAME [options]\n\n" + "\n".join(f"  {name:8} {about}" for name, about in NAMES.items())


def main(words: list[str]) -> int:
    if not words or words[0] not in NAMES:
        asked_for_help = words[:1] in (["-h"], ["--help"])
        wrong = f"unknown benchmark: {words[0]}\n\n" if words and not asked_for_help else ""
        print(wrong + usage(), file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    try:
        command = importlib.import_module(f"bench.{words[0]}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("bench", "comfy"):
            raise
        print(
            f"{error.name} is missing: python -m pip install {error.name} (matplotlib, tqdm, scipy, tabulate and "
            "nudenet come with the optional extra `bench` of pyproject.toml)",
            file=sys.stderr,
        )
        return 1
    return command.main(words[1:]) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
