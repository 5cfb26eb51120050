"""The pictures beside the workflows, as the demo model makes them: `python run.py pictures --comfyui PATH`.

A workflow that saves several pictures shows them side by side; one that saves one shows it at safety 0 too, or without
hiding what was found; one that saves a strip shows its frames. Workflows for other models get a drawing with
their name: a picture by the demo model would not be theirs. Needs ComfyUI 0.3.64 or newer.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from . import workflow
from .client import Client, pictures
from .demo import in_environment
from .hosts import Host
from .messages import say
from .server import running

LOADER = "SafelightDemoLoader"
STRIP, FRAMES = "SafelightStrip", 1  # its output with the pictures alone
LOOK = "SafelightLook"


def runs(page: dict[str, Any], prompt: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, list[str]]]]:
    """What to queue for a workflow's thumbnail: prompts, each with the labels of its pictures by node."""
    titles = {str(node["id"]): [node.get("title", "")] for node in page["nodes"] if node["type"] == "SaveImage"}
    if len(titles) > 1:
        return [(prompt, titles)]
    (node,) = titles
    for number, entry in prompt.items():
        if entry["class_type"] == STRIP:
            labels = [f"safety {level:g}" for level in map(float, entry["inputs"]["levels"].split(","))]
            inputs = {**prompt[node]["inputs"], "images": [number, FRAMES]}
            return [({**prompt, node: {**prompt[node], "inputs": inputs}}, {node: labels})]
        if entry["class_type"] == LOOK:
            return [
                (workflow.with_inputs(prompt, {LOOK: {"hide": way}}), {node: [f"hide: {way}"]})
                for way in ("keep", entry["inputs"]["hide"])
            ]
    (guided,) = [entry["class_type"] for entry in prompt.values() if "safety" in entry["inputs"]]
    return [
        (workflow.with_inputs(prompt, {guided: {"safety": level}}), {node: [f"safety {level:g}"]})
        for level in (0.0, 1.0)
    ]


def made(client: Client, prompt: dict[str, Any], labels: dict[str, list[str]], folder: Path) -> list[str]:
    """Runs a prompt and saves its pictures in the order of their nodes; FILE=LABEL of each."""
    entry = client.wait(client.submit(prompt))
    words = []
    for node, of_node in sorted(labels.items(), key=lambda pair: int(pair[0])):
        for saved, label in zip(pictures({"outputs": {node: entry["outputs"][node]}}), of_node, strict=True):
            file = folder / saved.filename
            file.write_bytes(client.view(saved))
            words.append(f"{file}={label}")
    return words


def title(path: Path) -> str:
    """A template's title without its number: the browser shows it whole, beside the card."""
    name = re.sub(r"^\d+ ", "", path.stem)
    return f"{name.removesuffix('.app')} as an App" if name.endswith(".app") else name


def make(root: Path, host: Host, python: Path) -> None:
    """Runs the workflows of the demo model and saves a card beside each workflow."""
    with running(host, python, root, root / "output" / "thumbnails.log") as server:
        nodes = server.client.object_info()
        for path in sorted((root / "workflows").glob("*.json")):
            page = workflow.load(path)
            with tempfile.TemporaryDirectory() as folder:
                words = []
                if LOADER in {node["type"] for node in page["nodes"]}:
                    for prompt, labels in runs(page, workflow.to_prompt(page, nodes)):
                        words += made(server.client, prompt, labels, Path(folder))
                thumbnail = path.with_suffix(".jpg")
                in_environment(python, root, "runner.card", str(thumbnail), title(path), *words)
            say(f"{thumbnail.relative_to(root)}: {thumbnail.stat().st_size / 1000:.0f} kB")
