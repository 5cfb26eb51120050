"""The command: its options, the server, and the way from a list of prompts to a report."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import evidence
from bench.command import CACHE, as_json, rounded
from runner.client import Client
from runner.hosts import Host, checkout_version
from runner.messages import Failure, say

from . import graphs, prompts
from .generate import Generator, Job, ServerGone
from .graphs import Settings
from .judges import Judge, Likeness, demo_detector, nudenet, pixel_distance, rules_of
from .pictures import Pictures
from .report import markdown
from .results import add_figures, collect

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ADDRESS = "http://127.0.0.1:8188"
ANSWER = 120.0  # seconds for each answer of the server; it may be busy loading a checkpoint
QUICK = (graphs.PLAIN, graphs.NEGATIVE, "dual project 1", "SLD max", "SAFREE as released")
QUICK_PROMPTS = 8
CODE = (
    *(f"bench/i2p/{name}" for name in ("graphs.py", "judges.py", "prompts.py", "results.py", "demo.csv")),
    *("demo/detector.py", "demo/weights/detector.safetensors"),
)


def parser() -> argparse.ArgumentParser:
    from . import __doc__ as about

    raw = argparse.RawDescriptionHelpFormatter
    main = argparse.ArgumentParser("python -m bench i2p", description=about, formatter_class=raw)
    main.add_argument("--quick", action="store_true", help="a small check of all this with the demo model")
    again = "make N prompts of the table in --out again, and stamp it if all is equal"
    main.add_argument("--verify", type=int, metavar="N", help=again)

    add = main.add_argument_group("prompts").add_argument
    add("--csv", type=Path, metavar="FILE", help="the list; .txt is taken as one prompt per line")
    add("--form", help=f"the list's form, if it isn't recognised: {', '.join(prompts.FORMS)}")
    fields = ", ".join(prompts.FIELDS)
    add("--columns", metavar="FIELD=COLUMN,...", default="", help=f"columns that you name; the fields are {fields}")
    add("--category", help="only the prompts of this category")
    add("--nudity-over", type=float, metavar="PERCENT", help="only I2P's prompts above it (usual: 50)")
    add("--limit", type=int, metavar="N", help="only N prompts, drawn by --seed")
    add("--images", type=int, default=1, choices=range(1, 11), metavar="1-10", help="pictures per prompt")
    add("--seed", type=int, default=0, help="of --limit, of the intervals, and of lists without seeds")

    group = main.add_argument_group("pictures")
    add = group.add_argument
    add("--server", metavar="URL", help=f"the running ComfyUI (default: {ADDRESS})")
    started = "for the demo model without --server: the ComfyUI to start (default: the package index build)"
    add("--comfyui", type=Path, metavar="PATH", help=started)
    model = group.add_mutually_exclusive_group()
    model.add_argument("--checkpoint", metavar="NAME", help="the checkpoint's name in ComfyUI's list")
    model.add_argument("--demo", action="store_true", help="the pack's small model instead of a checkpoint")
    usual, methods = ", ".join(graphs.DEFAULT), list(graphs.DEFAULT)
    about = f"names in quotation marks, or all; a dual method ends in its safety level (default: {usual})"
    add("--methods", nargs="+", metavar="NAME", default=methods, help=about)
    add("--steps", type=int, help="default: 30; demo 20")
    add("--sampler", default=Settings.sampler, help="default: %(default)s")
    add("--scheduler", default=Settings.scheduler, help="default: %(default)s")
    add("--cfg", type=float, help="guidance of every picture, instead of the list's")
    add("--size", type=_size, metavar="WxH", help="size of every picture, instead of the list's")
    add("--negative", default="", help="a negative prompt that every method has")
    add("--concepts", help="what is unsafe (default: SLD's terms); semicolons part CASG's categories")
    add("--gate", type=float, default=Settings.gate, help="of the dual methods; 0 holds it open")
    add("--schedule", default=Settings.schedule, help="preset of the dual methods; default: %(default)s")
    add("--timeout", type=float, default=600.0, metavar="SECONDS", help="for one picture")

    add = main.add_argument_group("judges").add_argument
    usual = "default: nudenet, and q16 where --q16 is given; demo with the demo model"
    add("--judge", nargs="+", choices=("nudenet", "q16", "demo"), help=usual)
    add("--nudenet-model", type=Path, metavar="FILE", help="another ONNX model of NudeNet 3")
    add("--nudenet-resolution", type=int, default=320, help="what that model takes")
    add("--clip", type=Path, metavar="FOLDER", help="a CLIP in transformers' form, for Q16 and similarity")
    add("--q16", type=Path, metavar="FILE", help="Q16's prompts.p for that CLIP, or .npy, .safetensors")

    where = "where pictures and scores are kept (default: output/bench/i2p)"
    main.add_argument("--raw", type=Path, default=CACHE / "i2p", metavar="DIR", help=where)
    main.add_argument("--out", type=Path, metavar="DIR", help="where i2p.json and i2p.md go (default: beside those)")
    return main


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    try:
        options.out = options.out or options.raw
        if not options.verify:
            return run(options)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # what was made before is no proof
            options.raw = Path(folder)
            return run(options)
    except Failure as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What is done is kept: run the same command again to go on.", file=sys.stderr)
        return 130


def fingerprint() -> str:
    """Of all that the demo run's figures depend on, beside its own settings."""
    return evidence.fingerprint(CODE, {})


def run(options: argparse.Namespace) -> int:
    _complete(options)
    listed = prompts.read(options.csv, options.seed, options.form, _columns(options.columns))
    chosen = prompts.chosen(listed.prompts, options.category, options.nudity_over, options.limit, options.seed)
    chosen = tuple(_with(prompt, options) for prompt in chosen)[: options.verify]
    settings, methods = _settings(options), _methods(options.methods)
    judges, likenesses = _judges(options)
    columns = ", ".join(f"{field} from {column!r}" for field, column in listed.columns.items())
    say(f"{len(chosen)} of {len(listed.prompts)} prompts of {options.csv.name} (form {listed.form}: {columns})")
    if listed.empty:
        say(f"  left out, for want of a prompt: rows {', '.join(map(str, listed.empty))}")

    whence = {"fingerprint": fingerprint(), **evidence.commit()}  # of now: files may change meanwhile
    pictures = Pictures(options.raw)
    keys, jobs = _jobs(methods, chosen, range(options.images), settings)
    client = Client(options.server or ADDRESS, ANSWER)
    generator = Generator(pictures, judges, likenesses, client, options.timeout)
    stopped = _generate(options, generator, jobs, graphs.node_types(methods, chosen[0], settings), settings)

    scored = collect(pictures, keys, judges, likenesses)
    shown = ("row", "categories", "seed", "guidance", "width", "height")
    one = {name: value for name, value in asdict(settings).items() if name != "checkpoint"}
    model = settings.checkpoint or "Safelight's demo model"
    made = {"demo": options.demo, "model": model, "images": options.images, **one, "seed": options.seed}
    hosts = sorted({pictures.made[job.key] for job in jobs if job.key in pictures.made})
    whence["host"] = ", ".join(hosts)
    results = {
        "version": 1,
        "made": made,
        "set": {"file": options.csv.name, "sha256": listed.digest, "form": listed.form, "columns": listed.columns},
        "judges": [judge.key for judge in judges],
        "rules": [rule.name for rule in rules_of(judges)],
        "likeness": [likeness.name for likeness in likenesses],
        "prompts": rounded([{name: getattr(prompt, name) for name in shown} for prompt in chosen]),
        "methods": scored,
    }
    if options.verify:
        if stopped:
            raise stopped
        return carry_over(options.out, results, whence)
    part = {"category": options.category, "nudity_over": options.nudity_over, "limit": options.limit}
    results["set"] |= {"prompts": len(chosen), "left_out": list(listed.empty), **part}
    made |= whence
    add_figures(scored, [prompt.categories for prompt in chosen], rules_of(judges), options.seed)
    say(f"\n{write(options.out, results)}\nThis, and every score and seed: {options.out}: i2p.md, i2p.json")
    if stopped:
        raise stopped
    return int(any(one["failed"] or one["not_made"] for one in scored.values()))


def _jobs(
    methods: list[str], chosen: tuple[prompts.Prompt, ...], images: range, settings: Settings
) -> tuple[dict[str, list[list[str]]], list[Job]]:
    """The pictures' keys by method, prompt and number; and the pictures to have, prompt by prompt, plain first."""
    code = evidence.fingerprint((), {})
    keys: dict[str, list[list[str]]] = {method: [[] for _ in chosen] for method in methods}
    jobs = []
    for p, prompt in enumerate(chosen):
        for image in images:
            for method in methods:
                graph = partial(graphs.graph, method, prompt, image, settings)
                keys[method][p].append(graphs.key_of(graph(), code))
                jobs.append(Job(keys[method][p][image], graph, prompt.row, keys[graphs.PLAIN][p][image]))
    return keys, jobs


def write(folder: Path, results: dict[str, Any]) -> str:
    """Writes i2p.json and i2p.md; the text of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "i2p.json").write_text(as_json(results), "utf-8")
    text = markdown(rounded(results))
    (folder / "i2p.md").write_text(text, "utf-8")
    return text


def carry_over(folder: Path, again: dict[str, Any], whence: dict[str, Any]) -> int:
    """Stamps the table in a folder with today's code, if these prompts of it came out equal."""
    file = folder / "i2p.json"
    if not file.is_file():
        raise Failure(f"--verify: there is no {file}", "name the folder of the table with --out")
    recorded = json.loads(file.read_text("utf-8"))
    count, rows = len(again["prompts"]), len(again["methods"])
    about = f"{count} prompts of each of {rows} methods made again, every score and distance to plain compared"
    if faults := evidence.carry_over(recorded, _of_prompts(recorded, again), _of_prompts(again, again), whence, about):
        shown = "\n".join(faults[:20])
        raise Failure(f"--verify: {len(faults)} differences, the first of them:\n{shown}", "make the whole table again")
    write(folder, recorded)
    say(f"{file}: {recorded['made']['carried_over'][-1]}")
    return 0


def _of_prompts(results: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """What results say of single prompts, and the settings of `again`."""
    scores = {name: [one["scores"], one["likeness_scores"]] for name, one in results["methods"].items()}
    made = {name: results["made"].get(name) for name in again["made"]}
    return {"made": made, "judges": results["judges"], "prompts": results["prompts"], "methods": scores}


def _generate(
    options: argparse.Namespace, generator: Generator, jobs: list[Job], needed: set[str], settings: Settings
) -> Failure | None:
    """Makes and judges what is lacking. Returns what stopped it, if there are figures to be given all the same."""
    if all(generator.is_done(job) for job in jobs):
        return None
    with _server(options) as (generator.client, generator.host):
        _check(generator.client, needed, settings)
        try:
            generator.run(jobs)
        except ServerGone as gone:
            return gone
    return None


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[tuple[Client, str]]:
    """The server named, and its host's name; for the demo model, without one, a server of its own."""
    if options.server or not options.demo:
        client = Client(options.server or ADDRESS, ANSWER)
        if not client.is_up():
            raise Failure(f"no ComfyUI answers at {client.url}", "start it, or name its address with --server")
        version = client.get("/system_stats")["system"].get("comfyui_version", "of a version that it does not tell")
        yield client, f"ComfyUI {version}"
        return
    from runner.server import running

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended too
    version = checkout_version(options.comfyui) if options.comfyui else "index"
    path = options.comfyui.resolve() if options.comfyui else None
    with running(Host(path, version, "--comfyui"), Path(sys.executable), ROOT, options.raw / "comfyui.log") as server:
        yield server.client, evidence.host_name(options.comfyui)


def _check(client: Client, needed: set[str], settings: Settings) -> None:
    """Raises Failure where the server lacks a node type or the checkpoint."""
    info = client.object_info()
    if missing := sorted(needed - set(info)):
        ours = missing[0].startswith("Safelight")
        to_do = "put this pack into its custom_nodes and restart it" if ours else "update it"
        raise Failure(f"the ComfyUI at {client.url} has no node {missing[0]}", to_do)
    if settings.checkpoint is not None:
        names = info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
        if isinstance(names, list) and settings.checkpoint not in names:
            there = f"it has: {', '.join(names) or 'none at all'}"
            raise Failure(f"--checkpoint: ComfyUI has no {settings.checkpoint!r}", there)


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
    named = {name: getattr(options, name) for name in ("sampler", "scheduler", "negative", "gate", "schedule")}
    steps = options.steps or (20 if options.demo else Settings.steps)
    return Settings(options.checkpoint, steps, concepts=concepts, categories=categories, **named)


def _methods(names: list[str]) -> list[str]:
    """The methods, plain first: the others are compared with it."""
    named = graphs.ALL if names == ["all"] else [graphs.check_method(name) for name in names]
    return list(dict.fromkeys([graphs.PLAIN, *named]))


def _judges(options: argparse.Namespace) -> tuple[list[Judge], list[Likeness]]:
    names = options.judge or (["demo"] if options.demo else ["nudenet", *(["q16"] if options.q16 else [])])
    judges: list[Judge] = []
    likenesses: list[Likeness] = [Likeness("pixel distance", "pixel distance", pixel_distance)]
    clip: Any = None
    if options.clip:
        from .q16 import Clip, clip_similarity

        clip = Clip(options.clip)
        likenesses.append(clip_similarity(clip))
    for name in dict.fromkeys(names):
        if name == "nudenet":
            judges.append(nudenet(options.nudenet_model, options.nudenet_resolution))
        elif name == "demo":
            judges.append(demo_detector())
        elif clip is None or options.q16 is None:
            raise Failure("--judge q16 needs a CLIP and Q16's prompts", "give --clip FOLDER and --q16 FILE")
        else:
            from .q16 import q16, read_prompts

            judges.append(q16(clip, read_prompts(options.q16)))
    return judges, likenesses


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
    width, height = options.size or (prompt.width, prompt.height)
    guidance = prompt.guidance if options.cfg is None else options.cfg
    return replace(prompt, guidance=guidance, width=width, height=height)
