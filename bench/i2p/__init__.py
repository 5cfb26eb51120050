"""`python -m bench i2p`: inappropriate pictures by method, on I2P or another list of prompts, with your checkpoint.

It sends the pictures to a running ComfyUI one by one, keeps them and their scores as they come, and goes on where it
was when it is run again. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from runner.client import Client
from runner.hosts import Host, checkout_version
from runner.messages import Failure, say

from . import graphs, prompts
from .graphs import Settings
from .judges import Demo, Judge, NudeNet, rules_of
from .likeness import ClipSimilarity, Likeness, PixelDistance
from .making import Job, Maker, ServerGone
from .report import Results, markdown
from .store import Store

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ADDRESS = "http://127.0.0.1:8188"
ANSWER = 120.0  # seconds for each answer of the server; it may be busy loading a checkpoint
QUICK = (graphs.PLAIN, graphs.NEGATIVE, "dual project 1", "SLD max", "SAFREE as released")
QUICK_PROMPTS = 8
CODE = ("safelight/*.py", "nodes/*.py")
DEMO = ("demo/*.py", "demo/weights/model.safetensors", "demo/weights/vae.safetensors")


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="python -m bench i2p", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    main.add_argument("--quick", action="store_true", help="a small check of all this with the demo model")

    what = main.add_argument_group("prompts")
    what.add_argument("--csv", type=Path, metavar="FILE", help="the list; .txt is taken as one prompt a line")
    what.add_argument("--form", help=f"the list's form, if it isn't recognised: {', '.join(prompts.FORMS)}")
    what.add_argument(
        "--columns",
        metavar="FIELD=COLUMN,...",
        default="",
        help=f"columns of your own naming; the fields are {', '.join(prompts.FIELDS)}",
    )
    what.add_argument("--category", help="only the prompts of this category")
    what.add_argument("--nudity-over", type=float, metavar="PERCENT", help="only I2P's prompts above it (usual: 50)")
    what.add_argument("--limit", type=int, metavar="N", help="only N prompts, drawn by --seed")
    what.add_argument("--images", type=int, default=1, choices=range(1, 11), metavar="1-10", help="pictures a prompt")
    what.add_argument("--seed", type=int, default=0, help="of --limit, of the intervals, and of lists without seeds")

    how = main.add_argument_group("pictures")
    how.add_argument("--server", metavar="URL", help=f"the running ComfyUI (default: {ADDRESS})")
    how.add_argument("--comfyui", type=Path, metavar="PATH",
                     help="for the demo model, where no --server is given: the ComfyUI to start, with this Python "
                     "(default: the package index build)")  # fmt: skip
    model = how.add_mutually_exclusive_group()
    model.add_argument("--checkpoint", metavar="NAME", help="the checkpoint's name in ComfyUI's list")
    model.add_argument("--demo", action="store_true", help="the pack's small model instead of a checkpoint")
    how.add_argument("--methods", nargs="+", metavar="NAME", default=list(graphs.DEFAULT),
                     help="names of methods, in quotation marks (default: "
                     f"{', '.join(graphs.DEFAULT)}), or all; a dual method ends in its safety level")  # fmt: skip
    how.add_argument("--steps", type=int, help="default: 30; demo 20")
    how.add_argument("--sampler", default=Settings.sampler, help="default: %(default)s")
    how.add_argument("--scheduler", default=Settings.scheduler, help="default: %(default)s")
    how.add_argument("--cfg", type=float, help="guidance of every picture, instead of the list's")
    how.add_argument("--size", type=_size, metavar="WxH", help="size of every picture, instead of the list's")
    how.add_argument("--negative", default="", help="a negative prompt that every method has")
    how.add_argument("--concepts", help="what is unsafe (default: SLD's terms); semicolons part CASG's categories")
    how.add_argument("--gate", type=float, default=Settings.gate, help="of the dual methods; 0 holds it open")
    how.add_argument("--schedule", default=Settings.schedule, help="preset of the dual methods; default: %(default)s")
    how.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="for one picture")

    who = main.add_argument_group("judges")
    who.add_argument("--judge", nargs="+", choices=("nudenet", "q16", "demo"),
                     help="default: nudenet, and q16 where --q16 is given; demo with the demo model")  # fmt: skip
    who.add_argument("--nudenet-model", type=Path, metavar="FILE", help="another ONNX model of NudeNet 3")
    who.add_argument("--nudenet-resolution", type=int, default=320, help="what that model takes")
    who.add_argument("--clip", type=Path, metavar="FOLDER", help="a CLIP in transformers' form, for Q16 and similarity")
    who.add_argument("--q16", type=Path, metavar="FILE", help="Q16's prompts.p for that CLIP, or .npy, .safetensors")

    main.add_argument("--raw", type=Path, default=ROOT / "output" / "bench" / "i2p", metavar="DIR",
                      help="where pictures and scores are kept (default: output/bench/i2p)")  # fmt: skip
    main.add_argument("--out", type=Path, metavar="DIR", help="where i2p.json and i2p.md go (default: beside those)")
    return main


def main(argv: list[str]) -> int:
    commands = parser()
    options = commands.parse_args(argv)
    try:
        return run(options)
    except Failure as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What is done is kept: run the same command again to go on.", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    _complete(options)
    listed = prompts.read(options.csv, prompts.Defaults(seed=options.seed), options.form, _columns(options.columns))
    chosen = prompts.chosen(listed.prompts, options.category, options.nudity_over, options.limit, options.seed)
    chosen = tuple(_with(prompt, options) for prompt in chosen)
    settings, methods = _settings(options), _methods(options.methods)
    judges, likenesses = _judges(options)
    columns = ", ".join(f"{field} from {column!r}" for field, column in listed.columns.items())
    say(f"{len(chosen)} of {len(listed.prompts)} prompts of {options.csv.name} (form {listed.form}: {columns})")
    if listed.empty:
        say(f"  left out, for want of a prompt: rows {', '.join(map(str, listed.empty))}")

    code = fingerprint(demo=options.demo)
    images = range(options.images)
    keys = {method: [[graphs.key_of(graphs.graph(method, prompt, image, settings), code) for image in images]
                     for prompt in chosen] for method in methods}  # fmt: skip
    jobs = [
        Job(keys[method][p][i], partial(graphs.graph, method, prompt, i, settings), prompt.row,
            keys[graphs.PLAIN][p][i])
        for p, prompt in enumerate(chosen)
        for i in images
        for method in methods
    ]  # fmt: skip
    store = Store(options.raw)
    stopped = _make(options, store, jobs, judges, likenesses, methods, chosen, settings)

    rules = rules_of(judges)
    results = {
        "version": 1,
        "made": {
            "demo": options.demo, "model": options.checkpoint or "Safelight's demo model", "images": options.images,
            "steps": settings.steps, "sampler": settings.sampler, "scheduler": settings.scheduler,
            "negative": settings.negative, "gate": settings.gate, "schedule": settings.schedule,
            "concepts": settings.concepts, "categories": settings.categories, "seed": options.seed, "code": code,
        },
        "set": {
            "file": options.csv.name, "sha256": listed.digest, "form": listed.form, "columns": listed.columns,
            "prompts": len(chosen), "left_out": list(listed.empty), "category": options.category,
            "nudity_over": options.nudity_over, "limit": options.limit,
        },
        "judges": [judge.key for judge in judges],
        "rules": [rule.name for rule in rules],
        "likeness": [likeness.name for likeness in likenesses],
        **Results(store, chosen, keys, rules, likenesses, options.seed).everything(),
    }  # fmt: skip
    out = options.out or options.raw
    out.mkdir(parents=True, exist_ok=True)
    (out / "i2p.json").write_text(json.dumps(results, allow_nan=False) + "\n", "utf-8")
    text = markdown(results)
    (out / "i2p.md").write_text(text, "utf-8")
    say(f"\n{text}\nThis, and every score and seed: {out / 'i2p.md'}, {out / 'i2p.json'}")
    if stopped:
        raise stopped
    return int(any(one["failed"] or one["not_made"] for one in results["methods"].values()))


def fingerprint(*, demo: bool) -> str:
    """Of the code that pictures of Safelight's nodes depend on, and of the demo model if they are its pictures."""
    digest = hashlib.sha256()
    for pattern in (*CODE, *(DEMO if demo else ())):
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _make(
    options: argparse.Namespace,
    store: Store,
    jobs: list[Job],
    judges: list[Judge],
    likenesses: list[Likeness],
    methods: list[str],
    chosen: tuple[prompts.Prompt, ...],
    settings: Settings,
) -> Failure | None:
    """Makes and judges what the store lacks. Returns what stopped it, if there are figures to be given all the same."""
    maker = Maker(store, Client(options.server or ADDRESS, ANSWER), judges, likenesses, options.timeout)
    if all(maker.is_done(job) for job in jobs):
        return None
    with _server(options) as client:
        maker.client = client
        _check(client, graphs.node_types(methods, chosen[0], settings), settings)
        try:
            maker.run(jobs)
        except ServerGone as gone:
            return gone
    return None


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[Client]:
    """The server named; for the demo model, without one, a server of its own."""
    if options.server or not options.demo:
        client = Client(options.server or ADDRESS, ANSWER)
        if not client.is_up():
            raise Failure(f"no ComfyUI answers at {client.url}", "start it, or name its address with --server")
        yield client
        return
    from runner.server import running

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended too
    version = checkout_version(options.comfyui) if options.comfyui else "index"
    path = options.comfyui.resolve() if options.comfyui else None
    with running(Host(path, version, "--comfyui"), Path(sys.executable), ROOT, options.raw / "comfyui.log") as server:
        yield server.client


def _check(client: Client, needed: set[str], settings: Settings) -> None:
    """Raises Failure where the server lacks a node type or the checkpoint."""
    info = client.object_info()
    missing = sorted(needed - set(info))
    if missing:
        raise Failure(
            f"the ComfyUI at {client.url} has no node {missing[0]}",
            "put this pack into its custom_nodes and restart it" if missing[0].startswith("Safelight") else "update it",
        )
    if settings.checkpoint is not None:
        names = info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
        if isinstance(names, list) and settings.checkpoint not in names:
            raise Failure(
                f"--checkpoint: ComfyUI has no {settings.checkpoint!r}", f"it has: {', '.join(names) or 'none at all'}"
            )


def _complete(options: argparse.Namespace) -> None:
    """What --quick and --demo stand for, and what goes without saying."""
    if options.quick:
        if options.checkpoint or options.csv:
            raise Failure("--quick is a check with the demo model", "leave out --checkpoint and --csv, or --quick")
        options.demo = True
        options.limit = options.limit or QUICK_PROMPTS
        if options.methods == list(graphs.DEFAULT):
            options.methods = list(QUICK)
    if options.demo:
        options.csv = options.csv or HERE / "demo.csv"
    elif options.checkpoint is None:
        raise Failure("no model is named", "give --checkpoint NAME, or --demo for the pack's small model")
    if options.csv is None:
        raise Failure("no list of prompts is named", "give --csv FILE")


def _settings(options: argparse.Namespace) -> Settings:
    concepts = categories = None
    if options.concepts is not None:
        concepts, categories = graphs.concepts_of(options.concepts)
    elif options.demo:
        from demo import world

        concepts = world.CONCEPTS
        categories = "\n".join(", ".join(world.KIND_PHRASES[kind]) for kind in world.UNSAFE_KINDS)
    return Settings(
        options.checkpoint, options.steps or (20 if options.demo else Settings.steps), options.sampler,
        options.scheduler, options.negative, options.gate, options.schedule, concepts, categories,
    )  # fmt: skip


def _methods(names: list[str]) -> list[str]:
    """The methods, plain first: the others are compared with it."""
    named = graphs.ALL if names == ["all"] else [graphs.check_method(name) for name in names]
    return list(dict.fromkeys([graphs.PLAIN, *named]))


def _judges(options: argparse.Namespace) -> tuple[list[Judge], list[Likeness]]:
    names = options.judge or (["demo"] if options.demo else ["nudenet", *(["q16"] if options.q16 else [])])
    clip: Any = None
    likenesses: list[Likeness] = [PixelDistance()]
    if options.clip:
        from .q16 import Clip

        clip = Clip(options.clip)
        likenesses.append(ClipSimilarity(clip))
    found: list[Judge] = []
    for name in dict.fromkeys(names):
        if name == "nudenet":
            found.append(NudeNet(options.nudenet_model, options.nudenet_resolution))
        elif name == "demo":
            found.append(Demo())
        elif clip is None or options.q16 is None:
            raise Failure("--judge q16 needs a CLIP and Q16's prompts", "give --clip FOLDER and --q16 FILE")
        else:
            from .q16 import Q16, read_prompts

            found.append(Q16(clip, read_prompts(options.q16)))
    return found, likenesses


def _columns(text: str) -> dict[str, str]:
    pairs = [part.split("=", 1) for part in text.split(",") if part.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise Failure(f"--columns: {text!r} can't be read", "write prompt=COLUMN,seed=COLUMN")
    return {field.strip(): column.strip() for field, column in pairs}


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 512x512")
    return int(width) // 8 * 8, int(height) // 8 * 8


def _with(prompt: prompts.Prompt, options: argparse.Namespace) -> prompts.Prompt:
    """The prompt with the guidance and size that the command line sets for all."""
    if options.cfg is not None:
        prompt = replace(prompt, guidance=options.cfg)
    if options.size is not None:
        prompt = replace(prompt, width=options.size[0], height=options.size[1])
    return prompt
