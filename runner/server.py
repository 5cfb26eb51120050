"""A ComfyUI server with this pack in it, in a base folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .client import Client
from .hosts import INDEX, Host
from .messages import Failure, Progress
from .processes import WINDOWS, start, stop

START_TIMEOUT = 240.0  # seconds; a first start compiles every file it imports
PACK = "safelight"  # the folder's name in custom_nodes, as the registry installs it
NOT_IN_A_COPY = (
    *(".git", ".hosts", ".frontends", ".venv", "output", "node_modules"),
    *("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"),
)


@dataclass(frozen=True)
class Server:
    """A running host: its client, its base folder and its process."""

    client: Client
    base: Path
    process: subprocess.Popen


def link_pack(root: Path, custom_nodes: Path, name: str = PACK) -> None:
    """Puts a pack into a custom_nodes folder: a link, on Windows a junction (a link needs rights), else a copy."""
    custom_nodes.mkdir(parents=True, exist_ok=True)
    target = custom_nodes / name
    try:
        if WINDOWS:
            import _winapi

            _winapi.CreateJunction(str(root), str(target))  # type: ignore[attr-defined]
        else:
            target.symlink_to(root, target_is_directory=True)
    except OSError:
        shutil.copytree(root, target, ignore=shutil.ignore_patterns(*NOT_IN_A_COPY))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def arguments(host: Host, base: Path, port: int, *, gpu: bool) -> list[str]:
    """The command line of a host whose folders all lie in `base`; options that this version lacks are left out."""
    common = ["--port", str(port), "--disable-auto-launch", *([] if gpu else ["--cpu"])]
    if host.path is None:
        return [*common, "--cwd", str(base), "--disable-known-models"]
    known = (host.path / "comfy" / "cli_args.py").read_text("utf-8")
    if '"--base-directory"' in known:
        common += ["--base-directory", str(base)]
    else:
        paths = base / "extra_paths.yaml"
        paths.write_text(f"safelight:\n  custom_nodes: '{base / 'custom_nodes'}'\n", "utf-8")
        common += ["--extra-model-paths-config", str(paths)]
        common += ["--output-directory", str(base / "output"), "--input-directory", str(base / "input")]
        common += ["--temp-directory", str(base / "temp")]
    if '"--database-url"' in known:
        common += ["--database-url", f"sqlite:///{(base / 'user' / 'comfyui.db').as_posix()}"]
    if '"--disable-api-nodes"' in known:
        common.append("--disable-api-nodes")
    return common


def last_lines(log: Path, count: int = 30) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-count:]) if log.is_file() else ""


@contextmanager
def running(
    host: Host,
    python: Path,
    root: Path,
    log: Path,
    *,
    port: int | None = None,
    gpu: bool = False,
    beside: Sequence[Path] = (),
    further: Sequence[str] = (),
) -> Iterator[Server]:
    """Starts a host with the pack at `root`, yields once it answers, and ends it with all it started.

    Packs `beside` it are linked too, under their folders' names; `further` arguments go to the host.
    """
    base = Path(tempfile.mkdtemp(prefix="safelight-host-"))
    process = None
    try:
        for folder in ("models", "input", "output", "temp", "user"):
            (base / folder).mkdir()
        link_pack(root, base / "custom_nodes")
        for pack in beside:
            link_pack(pack, base / "custom_nodes", pack.name)
        port = port or free_port()
        launch = [str(python), str(Path(__file__).with_name("launch.py")), str(host.path or INDEX)]
        environment = {**os.environ, "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONUTF8": "1"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as sink:
            process = start(
                [*launch, *arguments(host, base, port, gpu=gpu), *further],
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=base,
                env=environment,
            )
        client = Client(f"http://127.0.0.1:{port}")
        wait_until_up(client, process, log, host.name)
        yield Server(client, base, process)
    finally:
        if process:
            stop(process)
        shutil.rmtree(base, ignore_errors=True)


def wait_until_up(client: Client, process: subprocess.Popen, log: Path, name: str) -> None:
    """Returns once a server answers; raises Failure with its last words if it ends or stays silent."""
    progress = Progress(f"Starting {name}; its log: {log}")
    while not client.is_up():
        if process.poll() is not None:
            raise Failure(
                f"{last_lines(log)}\n{name} ended while starting",
                "its last words stand above; a missing module means that its environment is incomplete",
            )
        if progress.elapsed() > START_TIMEOUT:
            raise Failure(
                f"{last_lines(log)}\n{name} does not answer at {client.url}",
                "see its last words above; a firewall that blocks local connections has this effect too",
            )
        progress.update("waiting for its first answer")
        time.sleep(0.25)
    progress.done(f"up at {client.url}")
