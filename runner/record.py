"""What the browser tests' stand-in server knows of a real ComfyUI: `python -m runner.record --comfyui PATH`.

Keeps the nodes of this pack and the core nodes that workflows around it use, from the `object_info` of a host that has
all of them (0.33.0 or newer), and what the pack's own route answers for the runs that the tests draw.
"""

from __future__ import annotations

import argparse
import json
import urllib.parse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from .environment import prepare
from .hosts import find_host
from .messages import Failure, say
from .server import running

ROOT = Path(__file__).resolve().parents[1]
NODES = ROOT / "tests" / "browser" / "object_info.json"
STEPS = ROOT / "tests" / "browser" / "steps.json"
CORE = (
    *("BasicGuider", "BasicScheduler", "CFGGuider", "CFGNorm", "CheckpointLoaderSimple", "CLIPLoader"),
    *("CLIPTextEncode", "CLIPTextEncodeFlux", "CLIPTextEncodeSDXL", "ConditioningZeroOut", "ControlNetApplyAdvanced"),
    *("ControlNetLoader", "CurveEditor", "DualCLIPLoader", "EmptyLatentImage", "EmptySD3LatentImage", "FluxGuidance"),
    *("FluxKontextImageScale", "GLIGENLoader", "ImageOnlyCheckpointLoader", "ImageScale", "ImageScaleBy"),
    *("ImageUpscaleWithModel", "InpaintModelConditioning", "KSampler", "KSamplerAdvanced", "KSamplerSelect"),
    *("KarrasScheduler", "LatentUpscale", "LatentUpscaleBy", "LoadImage", "LoadImageMask", "LoraLoader"),
    *("LoraLoaderModelOnly", "MaskComposite", "ModelSamplingAuraFlow", "ModelSamplingFlux", "PreviewAny"),
    *("PreviewImage", "PrimitiveFloat", "PrimitiveString", "RandomNoise", "SamplerCustom", "SamplerCustomAdvanced"),
    *("SaveImage", "SetLatentNoiseMask", "SolidMask", "StyleModelLoader", "TextEncodeQwenImageEditPlus", "UNETLoader"),
    *("UpscaleModelLoader", "VAEDecode", "VAEEncode", "VAEEncodeForInpaint", "VAELoader"),
)


def kept(nodes: dict[str, Any]) -> dict[str, Any]:
    """Our nodes and CORE of an `object_info`, in the alphabet's order."""
    missing = [name for name in CORE if name not in nodes]
    if missing:
        raise Failure(f"this ComfyUI lacks {', '.join(missing)}", "record from a newer one")
    return {name: nodes[name] for name in sorted(nodes) if name in CORE or name.startswith("Safelight")}


def runs() -> Iterator[dict[str, Any]]:
    """The settings of samplers whose steps are recorded: of SafelightKSampler, then of two stages of one picture."""
    for steps, name, scheduler, denoise in product(
        (4, 10, 20), ("euler", "dpmpp_2m"), ("normal", "karras", "simple"), (1, 0.6)
    ):
        yield {"steps": steps, "sampler_name": name, "scheduler": scheduler, "denoise": denoise}
    for start, end, rest in ((0, 10000, "disable"), (0, 10, "enable"), (10, 10000, "disable")):
        yield {
            "steps": 20,
            "sampler_name": "euler",
            "scheduler": "normal",
            "start_at_step": start,
            "end_at_step": end,
            "return_with_leftover_noise": rest,
        }


def rounded(answer: dict[str, Any]) -> dict[str, Any]:
    """The steps to six digits: what is drawn needs no more."""
    return {**answer, "progress": {axis: [round(p, 6) for p in row] for axis, row in answer["progress"].items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", metavar="PATH", required=True)
    parser.add_argument("--python", metavar="PATH", type=lambda path: Path(path).absolute())
    options = parser.parse_args()
    host = find_host(ROOT, options.comfyui, ROOT / ".hosts", options.python)
    python = prepare(host, ROOT / ".venv")
    with running(host, python, ROOT, ROOT / "output" / "record.log") as server:
        nodes = kept(server.client.object_info())
        steps = []
        for run in runs():
            answer = server.client.get(f"/safelight/steps?{urllib.parse.urlencode(run)}")
            steps.append({"run": run, "answer": rounded(answer)})
    lines = (f" {json.dumps(name)}: {json.dumps(node)}" for name, node in nodes.items())
    NODES.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    STEPS.write_text("[\n" + ",\n".join(f" {json.dumps(entry)}" for entry in steps) + "\n]\n", "utf-8")
    say(f"{len(nodes)} nodes and {len(steps)} runs in {NODES.parent.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
