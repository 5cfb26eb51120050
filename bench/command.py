"""What the commands of the benchmarks share: options, progress, results as a file, and a table carried over."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.session import ROOT, arguments

RESULTS = ROOT / "bench" / "results"
CACHE = ROOT / "output" / "bench"
Results = dict[str, Any]


def parser(name: str, about: str, quick: str) -> argparse.ArgumentParser:
    options = arguments(f"{about} Interrupted, it goes on where it was.", prog=f"python -m bench {name}")
    options.add_argument("--quick", action="store_true", help=quick)
    options.add_argument("--workers", type=int, default=1, metavar="N", help="processes, each with one thread")
    out = "where results and report go (default: of the full run bench/results, else a folder in the cache)"
    options.add_argument("--out", type=Path, metavar="DIR", help=out)
    cache = "where pictures are kept on the way"
    options.add_argument("--cache", type=Path, default=CACHE / name, metavar="DIR", help=cache)
    options.add_argument("--report", action="store_true", help="write the report again from the results that are there")
    return options


def add_verify(options: argparse.ArgumentParser) -> None:
    about = "make a sample of the figures again; if all are equal, stamp the results with today's code"
    options.add_argument("--verify", action="store_true", help=about)


def execute(
    name: str,
    out: Path,
    options: argparse.Namespace,
    run: Callable[[], Results],
    publish: Callable[[Results], None],
    verify: Callable[[Results], list[str]] | None = None,
) -> int:
    """Makes results and report in `out`, as the options say; the exit code.

    publish: the report from results; verify: stamps results, or says what differs.
    """
    again = options.report or getattr(options, "verify", False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end too
    try:
        results = read_results(name, out) if again else rounded(run())
        if again and not options.report and verify and (faults := verify(results)):
            print("\n".join(["The table does not hold; it stays as it is.", *faults]), file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    out.mkdir(parents=True, exist_ok=True)
    if not options.report:
        (out / f"{name}.json").write_text(as_json(results) + "\n", encoding="utf-8")
    publish(results)
    print(f"Results and report are in {out}")
    return 0


def read_results(name: str, out: Path) -> Results:
    """The results in `out`; where there are none the command ends and says how to make them."""
    file = out / f"{name}.json"
    if not file.exists():
        raise SystemExit(f"{name}: expected results in {file}, got no such file. Make them: python -m bench {name}")
    return json.loads(file.read_text("utf-8"))


def rounded(value: Any) -> Any:
    """Numbers to four digits."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, (list, tuple)) else value


def as_json(value: Any, margin: str = "", width: int = 400) -> str:
    """What is longer than a line is opened up; a list of numbers or words stays on one: a change shows where it is."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    inner = f"\n{margin} "
    if isinstance(value, dict) and len(line) > width:
        parts = [f"{json.dumps(name)}: {as_json(part, f'{margin} ')}" for name, part in value.items()]
        return "{" + inner + f",{inner}".join(parts) + f"\n{margin}}}"
    if isinstance(value, list) and len(line) > width and any(isinstance(part, dict) for part in value):
        return "[" + inner + f",{inner}".join(as_json(part, f"{margin} ") for part in value) + f"\n{margin}]"
    return line
