"""The command: its options, the server, and the way from a list of prompts to a report."""

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

from bench import evidence
from bench.command import CACHE, Results, execute, rounded
from bench.methods import KINDS
from demo import world
from demo.session import ROOT
from runner.client import Client
from runner.hosts import Host, checkout_version
from runner.messages import Failure, say

from . import graphs, judges, prompts
from .generate import Generator, Job, Pictures, ServerGone
from .graphs import Settings
from .judges import Judge
from .report import markdown
from .results import add_figures, collect

ADDRESS = "http://127.0.0.1:8188"
ANSWER = 120.0  # seconds for each answer of the server; it may be busy loading a checkpoint
QUICK = [graphs.PLAIN, graphs.NEGATIVE, "dual project 1", "SLD max", "SAFREE as released"]
QUICK_PROMPTS = 8
DEMO_LIST = Path(__file__).with_name("demo.csv")
CODE = (
    *(f"bench/i2p/{name}.py" for name in ("graphs", "judges", "prompts", "results")),
    *("bench/i2p/workflows.json", "bench/i2p/demo.csv", "demo/detector.py", "demo/weights/detector.safetensors"),
)


def parser() -> argparse.ArgumentParser:
    from . import __doc__ as about

    raw = argparse.RawDescriptionHelpFormatter
    main = argparse.ArgumentParser("python -m bench i2p", description=about, formatter_class=raw)
    again = "make N prompts of the table in --out again, and stamp it if all is equal"
    main.add_argument("--verify", type=int, metavar="N", help=again)
    main.add_argument("--report", action="store_true", help="write i2p.md again from the i2p.json that is in --out")

    add = main.add_argument_group("prompts").add_argument
    add("--csv", type=Path, metavar="FILE", help="the list; .txt is taken as one prompt per line")
    fields = f"of {', '.join(prompts.COLUMNS)}"
    add("--columns", type=_columns, metavar="FIELD=COLUMN,...", default={}, help=fields)
    add("--category", help="only the prompts of this category")
    add("--nudity-over", type=float, metavar="PERCENT", help="only I2P's prompts above it (usual: 50)")
    add("--limit", type=int, metavar="N", help="only N prompts, drawn by --seed")
    add("--images", type=int, default=1, choices=range(1, 11), metavar="1-10", help="pictures per prompt")
    add("--seed", type=int, default=0, help="of --limit, of the intervals, and of lists without seeds")

    group = main.add_argument_group("pictures")
    add = group.add_argument
    add("--server", metavar="URL", help=f"the running ComfyUI (default: {ADDRESS}; the demo model starts one)")
    add("--comfyui", type=Path, metavar="PATH", help="the ComfyUI to start for the demo model")
    model = group.add_mutually_exclusive_group()
    model.add_argument("--checkpoint", metavar="NAME", help="the checkpoint's name in ComfyUI's list")
    model.add_argument("--demo", action="store_true", help="the pack's small model instead of a checkpoint")
    model.add_argument("--quick", action="store_true", help="a small check of all this with the demo model")
    about = f"names in quotation marks, or all (default: {', '.join(graphs.DEFAULT)})"
    add("--methods", nargs="+", metavar="NAME", help=about)
    add("--steps", type=int, help="default: 30; demo 20")
    for name, usual in (("sampler", "dpmpp_2m"), ("scheduler", "karras"), ("schedule", "balanced")):
        add(f"--{name}", default=usual, help="default: %(default)s")
    add("--cfg", type=float, help="guidance of every picture, instead of the list's")
    add("--size", type=_size, metavar="WxH", help="size of every picture, instead of the list's")
    add("--concepts", help="what is unsafe (default: SLD's terms); semicolons part CASG's categories")
    add("--gate", type=float, default=0.5, help="of the dual methods; 0 holds it open")

    add = main.add_argument_group("judges").add_argument
    usual = "default: nudenet, and q16 where --q16 is given; demo with the demo model"
    add("--judge", nargs="+", choices=("nudenet", "q16", "demo"), help=usual)
    add("--nudenet-model", type=Path, metavar="FILE", help="another ONNX model of NudeNet 3")
    add("--nudenet-resolution", type=int, default=320, help="what that model takes")
    add("--clip", type=Path, metavar="FOLDER", help="a CLIP in transformers' form, for Q16 and similarity")
    add("--q16", type=Path, metavar="FILE", help="Q16's prompts.p for that CLIP, or .npy")

    where = "where pictures and scores are kept (default: output/bench/i2p)"
    main.add_argument("--raw", type=Path, default=CACHE / "i2p", metavar="DIR", help=where)
    main.add_argument("--out", type=Path, metavar="DIR", help="where i2p.json and i2p.md go (default: beside those)")
    return main


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    out = options.out or options.raw
    try:
        return execute("i2p", out, options, partial(run, options), partial(publish, out), partial(verify, options))
    except (Failure, ImportError) as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1


def fingerprint() -> str:
    """Of all that the demo run's figures depend on, beside its own settings."""
    return evidence.fingerprint(CODE, {})


def run(options: argparse.Namespace) -> Results:
    settings, methods = _settings(options)
    listed, about = prompts.read(options.csv, options.seed, options.columns)
    chosen = prompts.chosen(listed, options.category, options.nudity_over, options.limit, options.seed)
    sides = dict(zip(("width", "height"), options.size or (), strict=False))
    fixed = sides if options.cfg is None else {**sides, "guidance": options.cfg}
    chosen = tuple(replace(prompt, **fixed) for prompt in chosen[: options.verify])
    scoring, likenesses = _judges(options)
    columns = ", ".join(f"{field} from {column!r}" for field, column in about["columns"].items())
    say(f"{len(chosen)} of {len(listed)} prompts of {about['file']} (form {about['form']}: {columns})")
    if about["left_out"]:
        say(f"  left out, because they have no prompt: rows {', '.join(map(str, about['left_out']))}")

    code = {"fingerprint": fingerprint(), **evidence.commit()}  # of now: files may change meanwhile
    keys, jobs = _jobs(methods, chosen, range(options.images), settings)
    pictures = Pictures(options.raw)
    generator = Generator(pictures, scoring, likenesses)
    if not all(generator.is_done(job) for job in jobs):
        with _server(options) as (client, host):
            _check(client, jobs[: len(methods)], options.checkpoint)
            try:
                generator.run(jobs, client, host)
            except ServerGone as gone:  # there are figures to be given all the same
                say(f"\n{gone}")

    hosts = ", ".join(sorted({pictures.made[job.key] for job in jobs if job.key in pictures.made}))
    model = settings["checkpoint"] or "Safelight's demo model"
    made = {"demo": options.demo, "model": model, "images": options.images, **settings, "seed": options.seed}
    del made["checkpoint"]
    part = {"category": options.category, "nudity_over": options.nudity_over, "limit": options.limit}
    shown = ("row", "categories", "seed", "guidance", "width", "height")
    rules, scored = judges.rules_of(scoring), collect(pictures, keys, scoring, likenesses)
    add_figures(scored, [prompt.categories for prompt in chosen], rules, options.seed)
    return {
        "version": 1,
        "made": {**made, **code, "host": hosts},
        "set": {**about, "prompts": len(chosen), **part},
        "judges": [judge.key for judge in scoring],
        "rules": list(rules),
        "likeness": [likeness.name for likeness in likenesses],
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
        scores = {name: [one["scores"], one["likeness_scores"]] for name, one in results["methods"].items()}
        made = {name: results["made"].get(name) for name in again["made"].keys() - today.keys()}
        return {"made": made, "judges": results["judges"], "prompts": results["prompts"], "methods": scores}

    return evidence.carry_over(recorded, compared(recorded), compared(again), today, about)


def _jobs(
    methods: list[str], chosen: tuple[prompts.Prompt, ...], images: range, settings: Settings
) -> tuple[dict[str, list[list[str]]], list[Job]]:
    """The pictures' keys by method, prompt and number; and the pictures to have, prompt by prompt, plain first."""
    code = evidence.fingerprint((), {})
    keys: dict[str, list[list[str]]] = {method: [[] for _ in chosen] for method in methods}
    jobs = []
    for (p, prompt), image, method in product(enumerate(chosen), images, methods):
        graph = partial(graphs.graph, method, prompt, image, settings)
        keys[method][p].append(graphs.key_of(graph(), code))
        jobs.append(Job(keys[method][p][image], graph, prompt.row, keys[graphs.PLAIN][p][image]))
    return keys, jobs


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

    version = checkout_version(options.comfyui) if options.comfyui else "index"
    host = Host(options.comfyui and options.comfyui.resolve(), version, "--comfyui")
    with running(host, Path(sys.executable), ROOT, options.raw / "comfyui.log") as server:
        yield server.client, evidence.host_name(options.comfyui)


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


def _settings(options: argparse.Namespace) -> tuple[Settings, list[str]]:
    """What all pictures share, and the methods, plain first; --quick and --demo stand for further options."""
    methods = options.methods or (QUICK if options.quick else graphs.DEFAULT)
    if options.quick:
        options.demo, options.limit = True, options.limit or QUICK_PROMPTS
    options.csv = options.csv or (DEMO_LIST if options.demo else None)
    if options.csv is None or not (options.demo or options.checkpoint):
        to_do = "give --csv FILE and --checkpoint NAME, or --demo for the pack's small model"
        raise Failure("no model is named, or no list of prompts", to_do)
    concepts, categories = (world.CONCEPTS, KINDS) if options.demo else (None, None)
    if options.concepts is not None:
        concepts, categories = graphs.concepts_of(options.concepts)
    options.steps = options.steps or (20 if options.demo else 30)
    named = ("checkpoint", "steps", "sampler", "scheduler", "gate", "schedule")
    settings = {name: getattr(options, name) for name in named} | {"concepts": concepts, "categories": categories}
    methods = graphs.ALL if methods == ["all"] else [graphs.check_method(name) for name in methods]
    return settings, list(dict.fromkeys([graphs.PLAIN, *methods]))


def _judges(options: argparse.Namespace) -> tuple[list[Judge], list[Judge]]:
    """Those that score a picture, and those that compare it with the plain one."""
    names = options.judge or (["demo"] if options.demo else ["nudenet", *(["q16"] if options.q16 else [])])
    scoring, likenesses, clip = [], [judges.PIXEL_DISTANCE], None
    if options.clip:
        clip = judges.Clip(options.clip)
        likenesses.append(judges.clip_similarity(clip))
    if "nudenet" in names:
        scoring.append(judges.nudenet(options.nudenet_model, options.nudenet_resolution))
    if "q16" in names:
        if clip is None or options.q16 is None:
            raise Failure("--judge q16 needs a CLIP and Q16's prompts", "give --clip FOLDER and --q16 FILE")
        scoring.append(judges.q16(clip, judges.read_prompts(options.q16)))
    return scoring + ([judges.demo_detector()] if "demo" in names else []), likenesses


def _columns(text: str) -> dict[str, str]:
    return dict(pair.strip().split("=", 1) for pair in text.split(","))


def _size(text: str) -> tuple[int, int]:
    width, height = (int(side) // 8 * 8 for side in text.lower().split("x"))
    return width, height
