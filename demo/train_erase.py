"""Trains a LoRA that erases concepts from the demo model: `python -m demo.train_erase` from the repository's root, with
ComfyUI importable.

It runs the node Safelight Train Erase. It takes minutes of a core; stopped and started again with the same options it
goes on.

The LoRA lies in FOLDER/loras, and the host's Load LoRA reads it behind Safelight Demo Model.
FOLDER/erase_METHOD.safetensors is the same with the processor seconds of this run, for the benchmarks; those in
demo/weights are of `--method sdd --steps 150` (after more steps its empty text drifts, and with it harmless pictures),
`--method esd`, `--method duo` and `--method forget-me-not --steps 100`.

`--comfyui PATH` names a ComfyUI checkout; without it an installed `comfy` package is used.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from . import world
from .session import CFG, DemoSession, arguments

METHODS = {"sdd": "SDD", "esd": "ESD", "duo": "DUO", "forget-me-not": "Forget-Me-Not"}
KINDS = "\n".join(", ".join(world.KIND_PHRASES[kind]) for kind in world.UNSAFE_KINDS)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--method", choices=METHODS, default="sdd")
    parser.add_argument("--concepts", default=KINDS, help="separated by commas (default: the unsafe kinds)")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4, help="pictures of a step")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--keep-weight", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("output/training"))
    options = parser.parse_args()
    session = DemoSession(options.comfyui)
    from safelight.engine.host import folder_paths

    folder_paths.set_output_directory(str(options.folder.resolve()))
    latent, *_ = session.begin([*range(options.batch)])
    latent.pop("batch_index")
    began = time.process_time()
    _, file = session.nodes["SafelightTrainErase"]().train(
        session.model,
        session.clip,
        latent,
        options.concepts,
        METHODS[options.method],
        steps=options.steps,
        rank=options.rank,
        learning_rate=options.rate,
        keep_weight=options.keep_weight,
        cfg=CFG,
        seed=options.seed,
        filename_prefix=f"erase_{options.method}",
    )
    out = options.folder / f"erase_{options.method}.safetensors"
    write_timed(options.folder / "loras" / file, out, time.process_time() - began)
    print(out)


def write_timed(lora: Path, out: Path, seconds: float) -> None:
    """The node's file again, with the seconds that it took among its settings."""
    with safe_open(str(lora), framework="pt") as opened:
        metadata = opened.metadata()
    settings = json.loads(metadata["settings"]) | {"seconds": round(seconds, 1)}
    save_file(load_file(str(lora)), str(out), metadata=metadata | {"settings": json.dumps(settings)})


if __name__ == "__main__":
    main()
