"""`python -m bench NAME [options]`: safety, redteam, i2p, speed, text or economy; with `--help` it tells its options.

`python run.py bench NAME [options]` runs the same with a ComfyUI and an environment that it finds or makes.
"""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = {
    "safety": "every method on the demo model: what is seen, what is kept, what it costs",
    "redteam": "attack prompts on the demo model: what they bring back, and whether the gate sees them",
    "i2p": "I2P and other prompt lists through a running ComfyUI server, with a checkpoint of yours",
    "speed": "rows, time and memory beside the stock sampler",
    "text": "the reader of prompts and the rewriter, on prompts that they did not learn from",
    "economy": "how close economical runs stay to the full dual evaluation",
}


def main(words: list[str]) -> int:
    about = "\n".join(f"  {name:8} {said}" for name, said in NAMES.items())
    parser = argparse.ArgumentParser("python -m bench", "python -m bench NAME [options]", about)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", choices=NAMES)
    name = parser.parse_args(words[:1]).name
    try:
        command = importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("bench", "comfy"):
            raise
        print(f"{error.name}: expected it for the benchmarks. Install it: pip install {error.name}", file=sys.stderr)
        return 1
    return command.main(words[1:]) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
