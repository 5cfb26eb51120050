"""The virtual environment that `run.py` makes: torch, what the host needs, and the test tools, each installed once."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .hosts import INDEX_VERSION, Host, environment_python
from .messages import Failure, Progress, say
from .processes import run_watched

STAMP = "safelight-installed.json"
LOG = "safelight-install.log"

# Both kinds of host share one environment, so what the older one can't take holds for both (it ends at Python 3.12).
LIMITS = ("numpy<2.3; python_version < '3.13'", "transformers<5")
INDEX_NEEDS = (
    *LIMITS,
    *("torchsde", "torchdiffeq", "einops", "safetensors", "aiohttp", "accelerate", "pyyaml", "scikit-image"),
    *("jsonmerge", "opencv-python-headless", "aiofiles", "frozendict", "python-dateutil", "importlib-resources"),
    *("Pillow", "scipy", "tqdm", "psutil", "ConfigArgParse", "aio-pika", "pyjwt[crypto]", "huggingface-hub"),
    *("lazy-object-proxy", "can-ada", "fsspec", "natsort", "OpenEXR", "wrapt", "certifi", "kornia", "mpmath"),
    *("resize-right", "protobuf", "requests", "sentencepiece", "opentelemetry-distro", "opentelemetry-exporter-otlp"),
    *("opentelemetry-propagator-jaeger", "opentelemetry-instrumentation", "opentelemetry-util-http"),
    *("opentelemetry-instrumentation-aio-pika", "opentelemetry-instrumentation-requests"),
    "opentelemetry-semantic-conventions",
)
BENCH_TOOLS = ("matplotlib", "tqdm", "scipy", "tabulate", "pandas")
# Converters of workflows to the API's format, and the few of their requirements that converting takes.
CONVERTERS = ("--no-deps", "comfy-cli>=1.23,<2", "comfy-script>=0.6,<1", "comfy-test>=0.4.15,<1")
TEST_TOOLS = ("pytest>=8", "pytest-xdist>=3.6", "Pillow", *BENCH_TOOLS, "pathspec", "typer", "nest-asyncio2")
CHECK_TOOLS = ("ruff>=0.9", "mypy>=1.13")


@dataclass(frozen=True)
class Step:
    """One call of pip: what it is for, and its arguments."""

    title: str
    arguments: tuple[str, ...]

    @property
    def key(self) -> str:
        """Changes when the requirements, the Python or the system do."""
        here = (*sys.version_info[:2], platform.system(), platform.machine())
        return hashlib.sha256(json.dumps([self.arguments, here]).encode()).hexdigest()[:16]


TEST_STEPS = (Step("test tools", TEST_TOOLS), Step("converters of workflows", CONVERTERS))
BENCH_STEPS = (Step("what the benchmarks need", BENCH_TOOLS),)


def torch_steps() -> list[Step]:
    """torch and torchvision that match; pinned where a CPU-only build may be what the index has."""
    if sys.platform.startswith("linux") and platform.machine() == "x86_64":
        return [Step("torch", ("torch==2.13.0", LIMITS[0])), Step("torchvision", ("--no-deps", "torchvision==0.28.0"))]
    return [Step("torch and torchvision", ("torch", "torchvision", LIMITS[0]))]


def checkout_requirements(text: str) -> list[str]:
    """The lines of a ComfyUI's requirements.txt, less the three that have to match one another."""
    matched = ("torch", "torchvision", "torchaudio")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and line not in matched]


def host_steps(host: Host) -> list[Step]:
    """What a host needs beside torch and torchvision."""
    if host.path is None:
        alone = ("--no-deps", f"comfyui=={INDEX_VERSION}", "spandrel")
        return [
            Step("what ComfyUI's package index build needs", INDEX_NEEDS),
            Step("ComfyUI from the package index", alone),
        ]
    requirements = host.path / "requirements.txt"
    lines = checkout_requirements(requirements.read_text("utf-8")) if requirements.is_file() else []
    return [Step("torchaudio", ("--no-deps", "torchaudio")), Step("what ComfyUI needs", (*LIMITS, "Pillow", *lines))]


class Environment:
    """The virtual environment in a folder of its own; `install` skips what a stamp file says is there.

    The stamp holds the last key of each step's title: two ComfyUI folders may want other versions of the same package.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.stamp = folder / STAMP

    @property
    def python(self) -> Path:
        python = environment_python(self.folder)
        if python is None:
            raise Failure(f"{self.folder} has no Python in it", f"delete {self.folder} and run this again")
        return python

    def create(self) -> None:
        if self.folder.exists():
            if not self.stamp.is_file():
                raise Failure(
                    f"{self.folder} exists, but this command did not make it, so nothing is installed there",
                    "move it away, or name its Python with --python if it has what ComfyUI needs",
                )
            if environment_python(self.folder):
                return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text("{}")
        progress = Progress(f"Making an environment in {self.folder}")
        try:
            venv.EnvBuilder(with_pip=True, clear=False).create(self.folder)
        except subprocess.CalledProcessError as error:
            raise Failure(
                "Python could not make a virtual environment with pip in it",
                "install Python's venv module (on Debian and Ubuntu: apt install python3-venv)",
            ) from error
        progress.done()

    def install(self, steps: Sequence[Step]) -> None:
        """Runs the steps that the stamp does not know, in order."""
        self.create()
        known = json.loads(self.stamp.read_text())
        todo = [step for step in steps if known.get(step.title) != step.key]
        if not todo:
            say(f"The environment in {self.folder} has what is needed")
        for number, step in enumerate(todo, 1):
            self._pip(step, f"Installing {step.title} ({number} of {len(todo)})")
            known[step.title] = step.key
            self.stamp.write_text(json.dumps(known, indent=1))

    def _pip(self, step: Step, title: str) -> None:
        progress = Progress(title)
        options = ("--no-input", "--no-compile", "--disable-pip-version-check")  # what is imported is compiled then
        pip = (str(self.python), "-m", "pip", "install", *options)
        log = self.folder / LOG

        def show(line: str) -> None:
            if not line.startswith("WARNING"):
                progress.update(line.strip())

        finished = run_watched((*pip, *step.arguments), on_line=show, log=log)
        if finished.returncode != 0:
            raise Failure(
                "\n".join([*finished.tail[-8:], f"Installing {step.title} failed; all of pip's words are in {log}"]),
                "check that pip reaches a package index from here (its proxy settings are honoured) and that the disk "
                "has 8 GB free, then run the same command again: what is installed is kept. Or use a ComfyUI that "
                "runs already: --comfyui PATH",
            )
        progress.done()


def prepare(host: Host, folder: Path, *, extra: Sequence[Step] = ()) -> Path:
    """The interpreter to run `host` with, everything installed unless the host brings its own environment."""
    if host.python:
        say(f"Using {host.python} as it is; nothing is installed there")
        return host.python
    environment = Environment(folder)
    environment.install([*torch_steps(), *host_steps(host), *extra])
    shim = Path(__file__).with_name("shim.py")
    subprocess.run([str(environment.python), str(shim)], check=True)
    return environment.python
