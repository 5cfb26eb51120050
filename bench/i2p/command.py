"""`python -m bench i2p`: inappropriate pictures by method, on I2P or another list of prompts, with your checkpoint.

It sends the pictures to a running ComfyUI one by one, keeps them and their scores as they come, and goes on where it
was when it is run again. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from bench import evidence
from bench.command import CACHE, Results, execute, rounded
from bench.methods import KINDS
from demo import world
from demo.session import ROOT
from runner.client import Client
from runner.hosts import INDEX, find_host
from runner.messages import Failure, say
from runner.server import running

from . import graphs, judges, prompts
from .generate import Generator, Job, Pictures, ServerGone
from .graphs import Settings
from .judges import Judge
from .report import markdown
from .results import add_figures, collect

ADDRESS = "http://127.0.0.1:8188"
ANSWER = 120.0  # seconds for each answer of the server; it may be busy loading a checkpoint
DEMO_LIST = Path(__file__).with_name("demo.csv")
# What --demo and --quick stand for, where an option does not say otherwise.
DEMO = {"demo": True, "csv": DEMO_LIST, "concepts": (world.CONCEPTS, KINDS), "steps": 20, "judge": ["demo"]}
QUICK_METHODS = [graphs.PLAIN, graphs.NEGATIVE, "dual project 1", "SLD max", "SAFREE as released"]
QUICK = {**DEMO, "methods": QUICK_METHODS, "limit": 8}
CODE = (
    *(f"bench/i2p/{name}.py" for name in ("graphs", "judges", "prompts", "results")),
    *("bench/i2p/workflows.json", "bench/i2p/demo.csv", "demo/detector.py", "demo/weights/detector.safetensors"),
)


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    main = argparse.ArgumentParser("python -m bench i2p", description=__doc__, formatter_class=raw)
    add = main.add_argument
    add("--verify", type=int, metavar="N", help="make N prompts of --out's table again; if all is equal, stamp it")
    add("--report", action="store_true", help="write i2p.md again from the i2p.json that is in --out")
    add("--raw", type=Path, default=CACHE / "i2p", metavar="DIR", help="for pictures and scores (output/bench/i2p)")
    add("--out", type=Path, metavar="DIR", help="where i2p.json and i2p.md go (default: beside those)")

    add = main.add_argument_group("prompts").add_argument
    add("--csv", type=Path, metavar="FILE", help="the list; .txt is taken as one prompt per line")
    add("--columns", type=_columns, metavar="FIELD=COLUMN,...", default={}, help=f"of {', '.join(prompts.COLUMNS)}")
    add("--category", help="only the prompts of this category")
    add("--nudity-over", type=float, metavar="PERCENT", help="only I2P's prompts above it (usual: 50)")
    add("--limit", type=int, metavar="N", help="only N prompts, drawn by --seed")
    add("--images", type=int, default=1, choices=range(1, 11), metavar="1-10", help="pictures per prompt")
    add("--seed", type=int, default=0, help="of --limit, of the intervals, and of lists without seeds")

    group = main.add_argument_group("pictures")
    model = group.add_mutually_exclusive_group()
    model.add_argument("--checkpoint", metavar="NAME", help="the checkpoint's name in ComfyUI's list")
    model.add_argument("--demo", action="store_true", help="the pack's small model instead of a checkpoint")
    model.add_argument("--quick", action="store_true", help="a small check of all this with the demo model")
    add = group.add_argument
    add("--server", metavar="URL", help=f"the running ComfyUI (default: {ADDRESS}; the demo model starts one)")
    add("--comfyui", type=Path, metavar="PATH", help="the ComfyUI to start for the demo model")
    add("--methods", nargs="+", metavar="NAME", default=graphs.DEFAULT, help="names in quotation marks, or all")
    add("--steps", type=int, default=30, help="default: 30; demo 20")
    for name, usual in (("sampler", "dpmpp_2m"), ("scheduler", "karras"), ("schedule", "balanced")):
        add(f"--{name}", default=usual, help="default: %(default)s")
    add("--cfg", type=float, help="guidance of every picture, instead of the list's")
    add("--size", type=_size, metavar="WxH", default={}, help="size of every picture, instead of the list's")
    add("--concepts", type=graphs.concepts_of, default=(None, None), help="what is unsafe (default: SLD's 20 terms)")
    add("--gate", type=float, default=0.5, help="of the dual methods; 0 holds it open")

    add = main.add_argument_group("judges").add_argument
    add("--judge", nargs="+", choices=("nudenet", "q16", "demo"), help="default: nudenet, with --q16 also q16")
    add("--nudenet-model", type=Path, metavar="FILE", help="another ONNX model of NudeNet 3")
    add("--nudenet-resolution", type=int, default=320, help="what that model takes")
    add("--clip", type=Path, metavar="FOLDER", help="a CLIP in transformers' form, for Q16 and similarity")
    add("--q16", type=Path, metavar="FILE", help="Q16's prompts for that CLIP, .npy")
    return main


def main(argv: list[str]) -> int:
    try:
        command = parser()
        options = command.parse_args(argv)
        if options.demo or options.quick:
            command.set_defaults(**(QUICK if options.quick else DEMO))
            options = command.parse_args(argv)
        out = options.out or options.raw
        return execute("i2p", out, options, partial(run, options), partial(publish, out), partial(verify, options))
    except (Failure, ImportError) as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1


def fingerprint() -> str:
    """Of all that the demo run's figures depend on, beside its own settings."""
    return evidence.fingerprint(CODE, {})


def run(options: argparse.Namespace) -> Results:
    if options.csv is None or not (options.demo or options.checkpoint):
        to_do = "give --csv FILE and --checkpoint NAME, or --demo for the pack's small model"
        raise Failure("no model is named, or no list of prompts", to_do)
    named = ("demo", "checkpoint", "images", "steps", "sampler", "scheduler", "gate", "schedule", "seed")
    settings = {name: getattr(options, name) for name in named}
    settings["concepts"], settings["categories"] = options.concepts
    methods = graphs.ALL if options.methods == ["all"] else [graphs.check_method(name) for name in options.methods]
    methods = list(dict.fromkeys([graphs.PLAIN, *methods]))
    listed, about = prompts.read(options.csv, options.seed, options.columns)
    chosen = prompts.chosen(listed, options.category, options.nudity_over, options.limit, options.seed)
    fixed = options.size if options.cfg is None else {**options.size, "guidance": options.cfg}
    chosen = tuple(replace(prompt, **fixed) for prompt in chosen[: options.verify])
    scoring = _judges(options)
    columns = ", ".join(f"{field} from {column!r}" for field, column in about["columns"].items())
    say(f"{len(chosen)} of {len(listed)} prompts of {about['file']} ({columns})")
    if about["left_out"]:
        say(f"  left out, because they have no prompt: rows {', '.join(map(str, about['left_out']))}")

    code = {"fingerprint": fingerprint(), **evidence.commit()}  # of now: files may change meanwhile
    jobs = _jobs(methods, chosen, settings)
    pictures = Pictures(options.raw)
    generator = Generator(pictures, scoring)
    if not all(generator.is_done(job) for job in jobs):
        with _server(options) as (client, host):
            _check(client, jobs[: len(methods)], options.checkpoint)
            try:
                generator.run(jobs, client, host)
            except ServerGone as gone:  # there are figures to be given all the same
                say(f"\n{gone}")

    hosts = ", ".join(sorted({pictures.made[job.key] for job in jobs if job.key in pictures.made}))
    made = {"model": options.checkpoint or "Safelight's demo model", **settings, **code, "host": hosts}
    part = {"category": options.category, "nudity_over": options.nudity_over, "limit": options.limit}
    shown = ("row", "categories", "seed", "guidance", "width", "height")
    keys = np.array([job.key for job in jobs]).reshape(len(chosen), options.images, len(methods))
    by_method = {method: keys[:, :, place].tolist() for place, method in enumerate(methods)}
    rules, scored = judges.rules_of(scoring), collect(pictures, by_method, scoring)
    add_figures(scored, [prompt.categories for prompt in chosen], rules, options.seed)
    return {
        "version": 1,
        "made": made,
        "set": {**about, "prompts": len(chosen), **part},
        "judges": [judge.key for judge in scoring if judge.thresholds],
        "rules": list(rules),
        "likeness": [judge.name for judge in scoring if not judge.thresholds],
        "prompts": [{name: getattr(prompt, name) for name in shown} for prompt in chosen],
        "methods": scored,
    }


def publish(folder: Path, results: Results) -> None:
    """Writes i2p.md. Raises Failure where pictures are missing: for the exit code."""
    text = markdown(results)
    (folder / "i2p.md").write_text(text, "utf-8")
    say(f"\n{text}")
    if lost := sum(one["failed"] + one["not_made"] for one in results["methods"].values()):
        raise Failure(f"{lost} pictures failed or are missing", "run the same command again")


def verify(options: argparse.Namespace, recorded: Results) -> list[str]:
    """Makes the first prompts again, in a folder of their own: what was made before is no proof."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options.raw = Path(folder)
        return carry_over(recorded, rounded(run(options)))


def carry_over(recorded: Results, again: Results) -> list[str]:
    """Stamps results with today's code, if the prompts made again came out equal; else says what differs."""
    today = {name: again["made"][name] for name in ("fingerprint", "commit", "dirty", "host")}
    count, rows = len(again["prompts"]), len(again["methods"])
    about = f"{count} prompts of each of {rows} methods made again, every score and distance to plain compared"

    def compared(results: Results) -> Results:
        """What results say of single prompts, and the settings."""
        scores = {name: one["scores"] | one["likeness_scores"] for name, one in results["methods"].items()}
        made = {name: results["made"].get(name) for name in again["made"].keys() - today.keys()}
        return {"made": made, "judges": results["judges"], "prompts": results["prompts"], "methods": scores}

    return evidence.carry_over(recorded, compared(recorded), compared(again), today, about)


def _jobs(methods: list[str], chosen: tuple[prompts.Prompt, ...], settings: Settings) -> list[Job]:
    """The pictures to have: by prompt, by picture of the prompt, and by method, plain first."""
    code = evidence.fingerprint((), {})
    jobs: list[Job] = []
    for prompt, image, method in product(chosen, range(settings["images"]), methods):
        graph = partial(graphs.graph, method, prompt, image, settings)
        key = graphs.key_of(graph(), code)
        jobs.append(Job(key, graph, prompt.row, key if method == graphs.PLAIN else jobs[-1].twin))
    return jobs


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple[Client, str]]:
    """The server named, and its host's name; for the demo model, without one, a server of its own."""
    if options.demo and not options.server:
        host = find_host(ROOT, str(options.comfyui or INDEX), ROOT, Path(sys.executable))
        with running(host, Path(sys.executable), ROOT, options.raw / "comfyui.log") as server:
            yield server.client, evidence.host_name(options.comfyui)
        return
    client = Client(options.server or ADDRESS, ANSWER)
    if not client.is_up():
        raise Failure(f"no ComfyUI answers at {client.url}", "start it, or name its address with --server")
    version = client.get("/system_stats")["system"].get("comfyui_version", "of a version that it does not tell")
    yield client, f"ComfyUI {version}"


def _check(client: Client, jobs: list[Job], checkpoint: str | None) -> None:
    """Raises Failure where the server lacks a node type of these jobs or the checkpoint."""
    info = client.object_info()
    needed = {node["class_type"] for job in jobs for node in job.graph().values()}
    if missing := sorted(needed - set(info)):
        to_do = "put this pack into its custom_nodes and restart it, or update it"
        raise Failure(f"the ComfyUI at {client.url} has no node {missing[0]}", to_do)
    names = info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
    if checkpoint is not None and isinstance(names, list) and checkpoint not in names:
        there = f"it has: {', '.join(names) or 'none at all'}"
        raise Failure(f"--checkpoint: ComfyUI has no {checkpoint!r}", there)


def _judges(options: argparse.Namespace) -> list[Judge]:
    names = options.judge or ["nudenet", *(["q16"] if options.q16 else [])]
    clip = judges.Clip(options.clip) if options.clip else None
    scoring = []
    if "nudenet" in names:
        scoring.append(judges.nudenet(options.nudenet_model, options.nudenet_resolution))
    if "q16" in names:
        if clip is None or options.q16 is None:
            raise Failure("--judge q16 needs a CLIP and Q16's prompts", "give --clip FOLDER and --q16 FILE")
        scoring.append(judges.q16(clip, judges.read_prompts(options.q16)))
    if "demo" in names:
        scoring.append(judges.demo_detector())
    return [*scoring, judges.PIXEL_DISTANCE, *([judges.clip_similarity(clip)] if clip else [])]


def _columns(text: str) -> dict[str, str]:
    return dict(pair.strip().split("=", 1) for pair in text.split(","))


def _size(text: str) -> dict[str, int]:
    width, height = (int(side) // 8 * 8 for side in text.lower().split("x"))
    return {"width": width, "height": height}
