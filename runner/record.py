"""What the browser tests' stand-in server knows of a real ComfyUI: `python -m runner.record --comfyui PATH`.

Keeps the nodes of this pack and the core nodes that workflows around it use, from the `object_info` of a host that has
all of them (0.33.0 or newer).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .environment import prepare
from .hosts import find_host
from .messages import Failure, say
from .server import running

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tests" / "browser" / "object_info.json"
CORE = (
    *("BasicGuider", "BasicScheduler", "CFGGuider", "CheckpointLoaderSimple", "CLIPLoader", "CLIPTextEncode"),
    *("CLIPTextEncodeFlux", "CLIPTextEncodeSDXL", "ConditioningZeroOut", "ControlNetApplyAdvanced", "ControlNetLoader"),
    *("CurveEditor", "DualCLIPLoader", "EmptyLatentImage", "EmptySD3LatentImage", "FluxGuidance", "ImageScale"),
    *("ImageScaleBy", "ImageUpscaleWithModel", "InpaintModelConditioning", "KSampler", "KSamplerAdvanced"),
    *("KSamplerSelect", "KarrasScheduler", "LatentUpscale", "LatentUpscaleBy", "LoadImage", "LoadImageMask"),
    *("LoraLoader", "ModelSamplingFlux", "PreviewAny", "PreviewImage", "PrimitiveFloat", "PrimitiveString"),
    *("RandomNoise", "SamplerCustom", "SamplerCustomAdvanced", "SaveImage", "SetLatentNoiseMask", "UNETLoader"),
    *("UpscaleModelLoader", "VAEDecode", "VAEEncode", "VAEEncodeForInpaint", "VAELoader"),
)


def kept(nodes: dict[str, Any]) -> dict[str, Any]:
    """Our nodes and CORE of an `object_info`, in the alphabet's order."""
    missing = [name for name in CORE if name not in nodes]
    if missing:
        raise Failure(f"this ComfyUI lacks {', '.join(missing)}", "record from a newer one")
    return {name: nodes[name] for name in sorted(nodes) if name in CORE or name.startswith("Safelight")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", metavar="PATH", required=True)
    parser.add_argument("--python", metavar="PATH", type=lambda path: Path(path).absolute())
    options = parser.parse_args()
    host = find_host(ROOT, options.comfyui, ROOT / ".hosts", options.python)
    python = prepare(host, ROOT / ".venv")
    with running(host, python, ROOT, ROOT / "output" / "record.log") as server:
        nodes = kept(server.client.object_info())
    lines = (f" {json.dumps(name)}: {json.dumps(node)}" for name, node in nodes.items())
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    say(f"{len(nodes)} nodes in {RECORD.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
