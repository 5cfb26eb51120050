"""`python run.py demo`: the strip, ten prompts with what a detector sees in them, and the committed table."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import workflow
from .client import Client, pictures
from .environment import prepare
from .hosts import Host
from .messages import Failure, Progress, say
from .server import Server, last_lines, running

WORKFLOW = Path("workflows") / "16 The slider on one picture.json"
PROMPTS = Path("demo") / "prompts.txt"
TABLE = re.compile(r"<!-- evidence:begin -->\n(.*?)<!-- evidence:end -->", re.DOTALL)
ENCODE, SAMPLE = "SafelightContextEncode", "SafelightKSampler"
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
STRIP_SEED = 14  # chosen by rule: bench/safety/strip_seed.py


@dataclass(frozen=True)
class Wish:
    """A picture to make: where to save it, and what to change in the workflow."""

    file: Path
    safety: float
    text: str | None = None
    seed: int | None = None

    def changes(self) -> dict[str, dict[str, Any]]:
        sampler: dict[str, Any] = {"safety": self.safety}
        if self.seed is not None:
            sampler["seed"] = self.seed
        return {SAMPLE: sampler, ENCODE: {} if self.text is None else {"prompt": self.text}}


def make(client: Client, prompt: dict[str, Any], page: dict[str, Any], wishes: list[Wish]) -> None:
    """Queues all the pictures, then fetches each as it is done."""
    progress = Progress(f"Making {len(wishes)} pictures")
    queued = [(wish, client.submit(workflow.with_inputs(prompt, wish.changes()), page)) for wish in wishes]
    for number, (wish, prompt_id) in enumerate(queued, 1):
        saved = pictures(client.wait(prompt_id))
        if not saved:
            raise Failure(f"{WORKFLOW} ran, but saved no picture")
        wish.file.parent.mkdir(parents=True, exist_ok=True)
        wish.file.write_bytes(client.view(saved[0]))
        progress.update(f"{number} of {len(wishes)}: {wish.file.name}")
    progress.done()


def in_environment(python: Path, root: Path, module: str, *arguments: str) -> str:
    """Runs a module that needs more than the standard library."""
    done = subprocess.run(
        [str(python), "-m", module, *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise Failure(
            f"{done.stderr.strip()}\n{module} failed in {python}",
            "if a module is missing there, install it, or leave out --python",
        )
    return done.stdout


def strip(
    server: Server,
    python: Path,
    root: Path,
    prompt: dict[str, Any],
    page: dict[str, Any],
    out: Path,
    levels: list[float],
    text: str | None,
    seed: int,
) -> Path:
    """The same picture at each safety level, side by side."""
    wishes = [Wish(out / f"safety_{level:.2f}.png", level, text, seed) for level in levels]
    make(server.client, prompt, page, wishes)
    file = out / "strip.jpg"
    labels = [f"{wish.file.resolve()}=safety {wish.safety:g}" for wish in wishes]
    in_environment(python, root, "runner.strip", str(file.resolve()), *labels)
    return file


def described(report: dict[str, Any]) -> str:
    """What the detector sees, in words; a question mark stands for half seen."""
    things = [name + ("" if score >= report["seen_from"] else "?") for name, score, *_ in report["things"]]
    return f"{', '.join(things) or 'nothing'} on {report['colour']}"


def ten_prompts(
    server: Server, python: Path, root: Path, prompt: dict[str, Any], page: dict[str, Any], out: Path, seed: int | None
) -> None:
    """Ten prompts without and with guidance, and what the detector sees in each."""
    texts = [line.strip() for line in (root / PROMPTS).read_text("utf-8").splitlines() if line.strip()]
    wishes = [
        Wish(out / "prompts" / f"{number:02}_safety_{level:g}.png", level, text, seed)
        for number, text in enumerate(texts, 1)
        for level in (0.0, 1.0)
    ]
    make(server.client, prompt, page, wishes)
    lines = in_environment(python, root, "demo.see", *(str(wish.file.resolve()) for wish in wishes)).splitlines()
    seen = [described(json.loads(line)) for line in lines]
    wide, plain = max(map(len, texts)), max(map(len, seen[::2]))
    say(f"\n{'prompt':{wide}}   {'seen at safety 0':{plain}}   seen at safety 1   (? = half seen)")
    for text, before, after in zip(texts, seen[::2], seen[1::2], strict=True):
        say(f"{text:{wide}}   {before:{plain}}   {after}")


def committed_table(root: Path) -> str:
    """The measured table that the README holds."""
    found = TABLE.search((root / "README.md").read_text("utf-8"))
    return (found and found[1].strip()) or "(no table is committed yet: run.py bench safety makes it)"


def serve(server: Server, root: Path) -> None:
    """Leaves the server running, the workflow in its list of saved ones, until Ctrl+C."""
    saved = server.base / "user" / "default" / "workflows"
    saved.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / WORKFLOW, saved)
    say(
        f"\nComfyUI is at {server.client.url} with Safelight in it. Open {WORKFLOW.stem} from its workflows, or drag\n"
        f"{root / WORKFLOW} onto the page. Pictures and workflows saved there go when it ends. Ctrl+C ends it."
    )
    try:
        server.process.wait()
    except KeyboardInterrupt:
        say("")


def run_demo(
    root: Path,
    host: Host,
    environment: Path,
    *,
    out: Path,
    levels: list[float],
    text: str | None,
    seed: int | None,
    port: int | None,
    gpu: bool,
    leave_running: bool,
) -> int:
    python = prepare(host, environment)
    page = workflow.load(root / WORKFLOW)
    log = out / "comfyui.log"
    out.mkdir(parents=True, exist_ok=True)
    with running(host, python, root, log, port=port, gpu=gpu) as server:
        began = time.monotonic()
        nodes = server.client.object_info()
        if SAMPLE not in nodes:
            raise Failure(
                f"{last_lines(log)}\n{host.name} started, but could not load Safelight",
                f"its words stand above and in {log}",
            )
        prompt = workflow.to_prompt(page, nodes)
        along = STRIP_SEED if seed is None else seed
        say(f"Strip: {strip(server, python, root, prompt, page, out, levels, text, along)}")
        ten_prompts(server, python, root, prompt, page, out, seed)
        say(f"\nMeasured, as README has it:\n{committed_table(root)}")
        say(f"\nAll pictures are in {out}; this took {time.monotonic() - began:.0f} s from the server's first answer.")
        if leave_running:
            serve(server, root)
    return 0
