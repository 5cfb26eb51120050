"""Evidence knows its code: a fingerprint of what figures depend on, and proof that a table still holds.

Covered are statements and constants of the code that makes pictures of the demo model, the model's weights, and a
benchmark's own methods, prompts and settings. Not covered is what only speaks: docstrings, comments, tooltips,
descriptions, texts of errors; reports, plots and the views of a run; and what no node reaches by imports.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PICTURES = (
    *("safelight/**/*.py", "safelight/text/*.json", "safelight/text/reader.safetensors", "nodes/**/*.py"),
    *("demo/world.py", "demo/model.py", "demo/autoencoder.py", "demo/loader.py", "demo/prompts.py"),
    *("demo/weights/model.safetensors", "demo/weights/vae.safetensors"),
    *("demo/session.py", "bench/methods.py"),
)
VIEWS = "safelight/views/"  # what a run did, to look at
ALIKE, NEAR, DIGITS = 0.85, 0.02, 1e-6  # of figures made again: see carry_over
ROW = r"/[^/]*/?[^/[]*"  # of a figure's place: "/rows/plain" of "/rows/plain/unsafe[3]"
SPOKEN_KEYS = ("tooltip",)
SPOKEN_NAMES = ("DESCRIPTION", "OUTPUT_TOOLTIPS", "SEARCH_ALIASES", "ABOUT")


def _only_speaks(node: ast.AST) -> bool:
    """Of a statement: a docstring, or a class's texts for people."""
    names = [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or bool({*names} & {*SPOKEN_NAMES})


def _spoken(node: ast.AST) -> list[ast.AST]:
    """The parts of an expression, or of a raise, whose texts are for people."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [value for key, value in pairs if isinstance(key, ast.Constant) and key.value in SPOKEN_KEYS]
    return [node] if isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and node.arg in SPOKEN_KEYS) else []


@cache
def code_digest(text: str) -> str:
    """Of a module's statements and constants."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [statement for statement in body if not _only_speaks(statement)]
        for leaf in (leaf for part in _spoken(node) for leaf in ast.walk(part)):
            if isinstance(leaf, ast.JoinedStr):
                leaf.values = []
            elif isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                leaf.value = ""
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _unreached(root: Path) -> set[str]:
    """The files of safelight/ that no file of nodes/ or demo/ imports, nor what they import."""
    waiting = {path.relative_to(root).as_posix(): path for path in sorted(root.glob("safelight/**/*.py"))}
    reached = [path for folder in ("nodes", "demo") for path in root.glob(f"{folder}/**/*.py")]
    for path in reached:  # grows
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
            places = ["/".join(name.split(".")[:n]) for name in names for n in range(1, name.count(".") + 2)]
            modules = {f"{place}{end}" for place in places for end in (".py", "/__init__.py")} & waiting.keys()
            reached += [waiting.pop(name) for name in sorted(modules)]
    return {*waiting}


def digest(patterns: Sequence[str], root: Path = ROOT, left_out: Collection[str] = ()) -> str:
    """Of files: their paths, and their statements or bytes.

    Raises FileNotFoundError where a pattern means no file: what is covered must be there.
    """
    lines = []
    for pattern in patterns:
        files = sorted(root.glob(pattern))
        if not files:
            raise FileNotFoundError(
                f"evidence: expected files that match {pattern}, got none. Correct the list of files."
            )
        for name, file in ((file.relative_to(root).as_posix(), file) for file in files):
            if not name.startswith(VIEWS) and name not in left_out:
                data = file.read_bytes()
                content = code_digest(data.decode()) if file.suffix == ".py" else hashlib.sha256(data).hexdigest()
                lines.append(f"{name} {content}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def fingerprint(patterns: Sequence[str], settings: Any, root: Path = ROOT) -> str:
    """patterns: files that figures depend on, beside PICTURES; settings: what else they depend on, as JSON."""
    parts = [digest([*PICTURES, *patterns], root, _unreached(root)), json.dumps(settings, sort_keys=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def host_name(comfyui: Path | None) -> str:
    from runner.hosts import checkout_version

    return f"ComfyUI {checkout_version(comfyui) if comfyui else metadata.version('comfyui')}"


def provenance(comfyui: Path | None) -> dict[str, Any]:
    """What a results file says of where it comes from, beside its fingerprint."""
    return {**commit(), "host": host_name(comfyui), "torch": metadata.version("torch"), "machine": platform.machine()}


def commit() -> dict[str, Any]:
    """{"commit", "dirty"}; a copy without a repository has neither."""
    words = ("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")
    options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
    try:
        head, changed = (subprocess.run(["git", *each], **options).stdout.strip() for each in words)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": head[:12], "dirty": bool(changed)}


# -- a table that other code made --------------------------------------------------------------------------------------


def compared(recorded: Any, again: Any, place: str = "", inside: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Every figure made again with the recorded one, and where it stands. A list may be shorter when it is made again,
    as it is of fewer prompts, but not one inside another list."""
    lists = isinstance(recorded, list) and isinstance(again, list)
    if isinstance(again, dict) and isinstance(recorded, dict) and again.keys() == recorded.keys():
        for key in again:
            yield from compared(recorded[key], again[key], f"{place}/{key}", inside)
    elif lists and (len(again) == len(recorded) or (len(again) < len(recorded) and not inside)):
        for i, one in enumerate(again):
            yield from compared(recorded[i], one, f"{place}[{i}]", inside=True)
    else:
        yield place, recorded, again


def _numbers(a: Any, b: Any) -> bool:
    return {type(a), type(b)} <= {int, float}


def _equal(a: Any, b: Any) -> bool:
    return a == b or (_numbers(a, b) and min(abs(a), abs(b)) > 100 and math.isclose(a, b, rel_tol=DIGITS))


def compare(recorded: Any, again: Any) -> tuple[str, list[str]]:
    """How alike figures came out, in words, and where they are not the same, what differs.

    The same: of every row ALIKE of the figures equal to the recorded digits (of numbers over 100, to six), and none
    further than NEAR from its own (of numbers over 1, that share of it). Other processors round sums in another way,
    which sampling carries on; other code moves every picture of a method.
    """
    figures = list(compared(recorded, again))
    unequal = [figure for figure in figures if not _equal(*figure[1:])]
    apart = [abs(a - b) / max(1.0, abs(a)) if _numbers(a, b) else math.inf for _, a, b in unequal]
    of_row, odd = (Counter(re.match(ROW, place)[0] for place, *_ in some) for some in (figures, unequal))
    equal = f"all but {len(unequal)} equal, those within {max(apart):.2g}" if unequal else "all equal"
    others = any(odd[row] > (1 - ALIKE) * of_row[row] for row in odd) or max(apart, default=0.0) > NEAR
    differences = [f"{place}: recorded {a!r}, again {b!r}" for place, a, b in unequal] if others else []
    return f"of {len(figures):,} figures {equal}", differences


def carry_over(results: dict[str, Any], recorded: Any, again: Any, made: dict[str, Any], about: str) -> list[str]:
    """Stamps results whose figures came out the same with today's provenance; else says what differs.

    recorded, again: the figures that are compared; made: today's provenance; about: what was made again, in words.
    """
    alike, differences = compare(recorded, again)
    if not differences:
        record = f"carried over from `{results['made']['fingerprint']}`: {about}; {alike}"
        results["made"] |= {**made, "carried_over": [*results["made"].get("carried_over", ()), record]}
    return differences


def sentences(made: dict[str, Any]) -> str:
    """Of a report: by which code and where its figures were made."""
    text = f"{made['host']}; fingerprint `{made['fingerprint']}`"
    if made.get("commit"):
        text += f", commit `{made['commit']}`{' with uncommitted changes' if made['dirty'] else ''}"
    return "; ".join([text, *made.get("carried_over", ())])
