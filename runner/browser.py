"""The browser suite: the page's JavaScript by itself, then real frontends in headless Chromium.

On the package index build a stand-in server serves several releases of the frontend, as comfyui-frontend-package has
them, because the build's own page is older than all of them; that one is tried too. Any other ComfyUI serves the newest
release itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .client import Client
from .hosts import Host
from .messages import Progress, say
from .processes import run_watched, start, stop
from .server import free_port, running, wait_until_up

PACKAGE = "comfyui-frontend-package"
NEWEST = "newest"
VERSIONS = ("1.27.10", "1.49.6", NEWEST)
CLASSIC, NODES2 = "classic", "nodes2"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SILENCE = 300.0  # seconds without a word from the tests
NODE = 20  # the oldest that playwright-core runs on
NOT_CHOSEN = "test name does not match pattern"


class Missing(Exception):
    """What the browser suite can't be run without, in words for the closing line."""


@dataclass(frozen=True)
class Frontend:
    """A release of the page, unpacked."""

    version: str
    static: Path

    @property
    def modes(self) -> tuple[str, ...]:
        """Nodes 2.0 came into use after the oldest release tested."""
        return (CLASSIC,) if numbers(self.version) < (1, 40) else (CLASSIC, NODES2)


@dataclass(frozen=True)
class Counts:
    """Of one run of node's tests; `code` is its exit code, None where it was ended for its silence."""

    passed: int
    failed: int
    skipped: int
    code: int | None


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def find_node() -> str:
    node = shutil.which("node")
    if node is None:
        raise Missing("node is not installed")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if numbers(said)[:1] < (NODE,):
        raise Missing(f"node is {said or 'broken'}, the tests need {NODE} or newer")
    return node


def find_chromium() -> str:
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        raise Missing(f"CHROMIUM={named} is no program" if named else "Chromium is not installed")
    return found


def install_modules(folder: Path) -> None:
    """What package.json asks for, from the package registry, unless it is there."""
    wanted = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    present = {}
    for name in wanted:
        manifest = folder / "node_modules" / name / "package.json"
        present[name] = json.loads(manifest.read_text("utf-8"))["version"] if manifest.is_file() else None
    if present == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is not installed")
    progress = Progress("Installing what the browser tests need")
    finished = run_watched([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, silence=SILENCE)
    if finished.returncode != 0:
        raise Missing(f"npm did not get playwright-core: {finished.tail[-1] if finished.tail else 'no answer'}")
    progress.done()


def get_frontend(python: Path, version: str, cache: Path) -> Frontend:
    """A release of the page in `cache`, downloaded as a wheel unless it is there; offline, the newest one kept."""
    if version != NEWEST and (cache / version).is_dir():
        return Frontend(version, cache / version)
    cache.mkdir(exist_ok=True)
    progress = Progress(f"Getting {PACKAGE} ({version})")
    wanted = PACKAGE if version == NEWEST else f"{PACKAGE}=={version}"
    options = ("--no-deps", "--no-input", "--disable-pip-version-check", "-d", str(cache))
    finished = run_watched([str(python), "-m", "pip", "download", *options, wanted], silence=SILENCE)
    wheels = sorted(cache.glob("*.whl"), key=lambda path: numbers(path.name.split("-")[1]))
    if version != NEWEST:
        wheels = [wheel for wheel in wheels if wheel.name.split("-")[1] == version]
    if not wheels or (finished.returncode != 0 and version != NEWEST):
        raise Missing(f"pip did not get {wanted}: {finished.tail[-1] if finished.tail else 'no answer'}")
    if finished.returncode != 0:
        say(f"  pip can't ask for the newest {PACKAGE}; the newest one kept is used")
    found = wheels[-1].name.split("-")[1]
    if not (cache / found).is_dir():
        unpack(wheels[-1], cache / found)
    progress.done(found)
    return Frontend(found, cache / found)


def unpack(wheel: Path, target: Path) -> None:
    """The static folder of a frontend's wheel, as `target`."""
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(partial)
    next(partial.glob("*/static")).rename(target)
    shutil.rmtree(partial)


@contextmanager
def serving(frontend: Frontend, host: Host, python: Path, root: Path) -> Iterator[str]:
    """The address of a server with this page: the host's own where it has one that is recent enough, the stand-in's."""
    logs = root / "output" / "browser"
    logs.mkdir(parents=True, exist_ok=True)
    if host.path:
        page = ("--front-end-root", str(frontend.static))
        tiny = root / "tests" / "host" / "tiny_pack"  # in the place of checkpoints
        with running(host, python, root, logs / "host.log", further=page, beside=[tiny]) as server:
            yield server.client.url
        return
    port = free_port()
    script = str(root / "tests" / "browser" / "standin.py")
    log = logs / "standin.log"
    with log.open("wb") as sink:
        process = start(
            [str(python), script, str(frontend.static), "--port", str(port)], stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        client = Client(f"http://127.0.0.1:{port}")
        wait_until_up(client, process, log, "the stand-in server")
        yield client.url
    finally:
        stop(process)


def counted(report: Path, code: int | None) -> Counts:
    """What node's JUnit report says; a test that was not chosen by its name is none."""
    if not report.is_file():
        return Counts(0, 0, 0, code)
    try:
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    except ElementTree.ParseError:  # ended while writing it
        return Counts(0, 0, 0, code or 1)
    skips = [case.find("skipped") for case in cases]
    skipped = [skip for skip in skips if skip is not None]
    others = sum(skip.get("message") == NOT_CHOSEN for skip in skipped)
    failed = sum(case.find("failure") is not None for case in cases)
    return Counts(len(cases) - failed - len(skipped), failed, len(skipped) - others, code)


def run_node(node: str, files: Sequence[Path], root: Path, report: Path, pattern: str, **variables: str) -> Counts:
    """Runs test files with node's own runner, showing a line for each test."""
    report.unlink(missing_ok=True)
    command = [
        node,
        "--test-reporter=spec",
        "--test-reporter-destination=stdout",
        "--test-reporter=junit",
        f"--test-reporter-destination={report}",
    ]
    if pattern:
        command.append(f"--test-name-pattern=/{pattern}/i")
    if len(files) > 1:
        command.append("--test")
    finished = run_watched(
        [*command, *map(str, files)], on_line=say, silence=SILENCE, cwd=root, env={**os.environ, **variables}
    )
    return counted(report, finished.returncode)


def run_scripts(node: str, root: Path, reports: Path, pattern: str) -> Counts:
    """The page's JavaScript without a page."""
    return run_node(node, sorted((root / "tests" / "js").glob("*.test.mjs")), root, reports / "scripts.xml", pattern)


def run_pages(
    node: str, host: Host, python: Path, root: Path, reports: Path, pattern: str, versions: Sequence[str]
) -> Iterator[Counts]:
    """Every frontend in every mode that it has. Raises Missing before the first one where something is not there."""
    tests = root / "tests" / "browser"
    chromium = find_chromium()
    install_modules(tests)
    frontends = [get_frontend(python, version, root / ".frontends") for version in versions]
    for frontend in frontends:
        with serving(frontend, host, python, root) as url:
            for mode in frontend.modes:
                name = f"{frontend.version}-{mode}"
                pictures = root / "output" / "browser" / name
                shutil.rmtree(pictures, ignore_errors=True)
                pictures.mkdir(parents=True)
                say(f"\n--- frontend {frontend.version}, {mode}, on {host.name if host.path else 'the stand-in'}")
                yield run_node(
                    node,
                    [tests / "all.mjs"],
                    root,
                    reports / f"{name}.xml",
                    pattern,
                    CHROMIUM=chromium,
                    SAFELIGHT_URL=url,
                    SAFELIGHT_MODE=mode,
                    SAFELIGHT_FRONTEND=frontend.version,
                    SAFELIGHT_HOST=host.version if host.path else "stand-in",
                    SAFELIGHT_PICTURES=str(pictures),
                )
    if host.path is None:
        with running(host, python, root, root / "output" / "browser" / "host.log") as server:
            say(f"\n--- the page of {host.name}")
            yield run_node(
                node,
                [tests / "index_page.mjs"],
                root,
                reports / "index_page.xml",
                pattern,
                CHROMIUM=chromium,
                SAFELIGHT_URL=server.client.url,
            )
