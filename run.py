"""Safelight from the command line: `python run.py demo`, `python run.py test`. Needs Python 3.10 and nothing else."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from bench.__main__ import NAMES as BENCHMARKS

ROOT = Path(__file__).resolve().parent
PICTURES = ("nodes", "workflows")
SUITES = ("unit", "contract", "host", "browser")


def _interpreter(path: str) -> Path:
    python = Path(path).expanduser().absolute()  # not resolved: an environment's Python is a link
    if not python.is_file():
        raise argparse.ArgumentTypeError(f"there is no {path}")
    return python


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="run.py", description="Safelight: demonstration and tests on a real ComfyUI.")
    commands = main.add_subparsers(dest="command", required=True)

    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--comfyui",
        metavar="PATH",
        help="the ComfyUI to use, or `index` for the package index build "
        "(default: COMFYUI_PATH, the one around this pack, a clone, the package index build)",
    )
    where.add_argument(
        "--python",
        metavar="PATH",
        type=_interpreter,
        help="the Python of an environment that has what ComfyUI needs; it is used as it is and nothing is installed",
    )

    demo = commands.add_parser("demo", parents=[where], help="pictures of one prompt along the safety slider")
    demo.add_argument("--prompt", help="what to draw, in the demo model's words (default: the workflow's)")
    demo.add_argument("--safety", nargs="+", type=float, metavar="LEVEL", help="levels between 0 and 1")
    demo.add_argument("--seed", type=int, help="the seed of every picture (default: one for the strip, the workflow's)")
    demo.add_argument("--serve", action="store_true", help="leave ComfyUI running for the browser")
    demo.add_argument("--port", type=int, help="the server's port (default: a free one)")
    demo.add_argument(
        "--gpu",
        action="store_true",
        help="let ComfyUI choose its device instead of the CPU, which is enough for the small model",
    )
    demo.add_argument("--output", type=Path, default=ROOT / "output" / "demo", metavar="DIR", help="where to save")

    test = commands.add_parser("test", parents=[where], help="the unit, contract, host and browser tests")
    test.add_argument("-k", default="", metavar="EXPRESSION", help="only the tests that match, as pytest's -k")
    test.add_argument(
        "--all",
        action="store_true",
        dest="everything",
        help="the slow tests too, and every release of the page, as continuous integration does (half an hour)",
    )
    test.add_argument(
        "--suite", nargs="+", choices=SUITES, default=SUITES, metavar="NAME", help=f"of {', '.join(SUITES)} only these"
    )
    test.add_argument(
        "--frontend", nargs="+", default=[], metavar="VERSION", help="releases of the page for the browser tests"
    )

    bench = commands.add_parser(
        "bench",
        parents=[where],
        help="the benchmarks; further options go to the one that is named",
        epilog="`python -m bench NAME --help`, in ComfyUI's environment, tells a benchmark's own options.",
    )
    bench.add_argument("name", choices=BENCHMARKS, metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}")

    pictures = commands.add_parser("pictures", parents=[where], help="the pictures of help, docs and workflows")
    pictures.add_argument(
        "--only", nargs="+", choices=PICTURES, default=PICTURES, metavar="NAME", help=f"of {', '.join(PICTURES)}"
    )

    check = commands.add_parser("check", help="lint and type check")
    check.add_argument(
        "--python", metavar="PATH", type=_interpreter, help="the Python of an environment with ruff and mypy"
    )
    return main


def main(words: list[str] | None = None) -> int:
    commands = parser()
    options, further = commands.parse_known_args(words)
    if further and options.command != "bench":
        commands.error(f"unknown options: {' '.join(further)}")

    # After the version check: these modules hold syntax that an older Python can't read.
    from runner import bench, demo, hosts, messages, pictures, suites

    environment = ROOT / ".venv"
    # Children have process groups of their own: ended by a signal, this must still unwind and end them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if options.command == "check":
            return suites.run_checks(ROOT, environment, options.python)
        levels = list(options.safety or demo.LEVELS) if options.command == "demo" else []
        if any(not 0 <= level <= 1 for level in levels):
            commands.error("--safety takes levels between 0 and 1")
        host = hosts.find_host(ROOT, options.comfyui, ROOT / ".hosts", options.python)
        messages.say(f"Using {host.name}: {host.why}")
        if options.command == "test":
            return suites.run_tests(
                ROOT,
                host,
                environment,
                word=options.k,
                suites=options.suite,
                frontends=options.frontend,
                everything=options.everything,
            )
        if options.command == "pictures":
            return pictures.make(ROOT, host, environment, options.only)
        if options.command == "bench":
            return bench.run(ROOT, host, environment, options.name, further)
        return demo.run_demo(
            ROOT,
            host,
            environment,
            out=options.output.resolve(),
            levels=levels,
            text=options.prompt,
            seed=options.seed,
            port=options.port,
            gpu=options.gpu,
            leave_running=options.serve,
        )
    except messages.Failure as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036  (the command is what an older Python is told by)
        sys.exit(f"Safelight needs Python 3.10 or newer; this is {sys.version.split()[0]}")
    sys.exit(main())
