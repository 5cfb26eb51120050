"""The policy of a server's owner: read from the file that SAFELIGHT_STUDIO names, applied to every node, and logged.

Without the variable nothing here does anything. A file that can't be read or obeyed is an error at every node: a server
that was to be guarded must not run unguarded.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from safelight.detect.combined import ANY, Combined
from safelight.detect.detector import Detector
from safelight.detect.look import Look
from safelight.engine import host
from safelight.engine.method_setup import OnEnd
from safelight.engine.run_record import RunRecord
from safelight.engine.separate import EVERY_STEP
from safelight.guidance import settings as guidance
from safelight.guidance.economy import OFF
from safelight.guidance.gate import DEFAULT_GATE
from safelight.guidance.settings import GuidanceSettings
from safelight.studio.log_lines import Line, Origin, look_lines, sampler_lines
from safelight.studio.policy import STOP, DetectorChoice, Policy, read_policy
from safelight.studio.webhook import Webhook
from safelight.views.findings import KEEP

VARIABLE = "SAFELIGHT_STUDIO"
# The nodes that make detectors of widgets alone, by id; nodes/bases.py enters them.
detector_makers: dict[str, Callable[..., Detector]] = {}


@dataclass(frozen=True)
class Server:
    """policy, as the file at `path` has it. detector: all of its detectors as one, None without any. log: the file."""

    path: Path
    policy: Policy
    detector: Detector | None
    log: Path | None

    def with_own(self, detector: Detector | None) -> Detector | None:
        """The workflow's detector and the server's: what one of them finds is found."""
        linked = [one for one in (detector, self.detector) if one is not None]
        return Combined(linked, ANY) if len(linked) > 1 else next(iter(linked), None)


_lock = threading.Lock()  # of the file of the log, and of what was read last
_read: tuple[str, Server] | None = None
_webhook = Webhook()


def version() -> str:
    """Changes with the file; "" without one."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return ""
    try:
        stat = os.stat(name)
    except OSError as error:
        return f"{name}: {error}"
    return f"{name} {stat.st_ino} {stat.st_mtime_ns} {stat.st_size}"


def server() -> Server | None:
    """What the server's owner asks for; None where nobody asks. The file is read again when it has changed.

    Raises ValueError, naming the file, where it can't be read or obeyed.
    """
    global _read
    now = version()
    if not now:
        return None
    with _lock:
        if _read is None or _read[0] != now:
            path = Path(os.environ[VARIABLE]).absolute()
            try:
                _read = now, _load(path)
            except (OSError, UnicodeDecodeError, ValueError) as error:
                _read = None
                raise ValueError(
                    f"{VARIABLE}: {path} can't be obeyed, so no sampler, guider, patch or Look of Safelight runs on "
                    f"this server. {str(error).rstrip('.')}. Ask the server's owner to mend the file."
                ) from error
        return _read[1]


def _load(path: Path) -> Server:
    policy = read_policy(path.read_text("utf-8-sig"))
    made = [_make(f"detectors: detector {number}", choice) for number, choice in enumerate(policy.detectors, 1)]
    log = path.parent / policy.log if policy.log else None
    if log is not None:
        log.open("a").close()  # for its error
    return Server(path, policy, Combined(made, ANY) if len(made) > 1 else next(iter(made), None), log)


def _make(name: str, choice: DetectorChoice) -> Detector:
    if choice.node not in detector_makers:
        raise ValueError(f"{name}: unknown node {choice.node!r}. Use one of {', '.join(sorted(detector_makers))}.")
    try:
        return detector_makers[choice.node](**choice.inputs)
    except Exception as error:  # of a package or a model of others, too
        raise ValueError(f"{name}: {error}") from error


def read_settings(
    safety: Any,
    schedule: Any = None,
    risk: Any = 1.0,
    gate: Any = DEFAULT_GATE,
    mask: Any = None,
    selective: Any = None,
    economy: Any = OFF,
    looks: bool = False,
) -> GuidanceSettings:
    """The guiding inputs of a node under this server's policy; see safelight.guidance.settings.read_settings."""
    here = server()
    read = guidance.read_settings if here is None else here.policy.read_settings
    return read(safety, schedule, risk, gate, mask, selective, economy, looks)


def strip_levels(levels: tuple[float, ...]) -> tuple[float, ...]:
    """The levels that a strip shows on this server. Raises ValueError where its policy judges every picture."""
    here = server()
    if here is None:
        return levels
    if here.detector is not None or here.policy.on_failure != KEEP:
        raise ValueError(
            "levels: this server looks at every picture and hides or stops what it finds, which a strip with pictures "
            "at several levels can't do. Use Safelight KSampler."
        )
    return here.policy.levels(levels)


def raised(safety: float) -> float:
    """The slider as it counts on this server."""
    here = server()
    return safety if here is None else max(safety, here.policy.least_safety)


def may_compare() -> bool:
    """Whether a plain picture may be shown beside the guarded one: not where the owner asks anything of a run."""
    here = server()
    return here is None or not (here.policy.limits or here.policy.on_failure != KEEP)


def check_unseen() -> None:
    """Raises ValueError for a node that can't look, on a server whose detectors look at every picture."""
    here = server()
    if here is not None and here.detector is not None:
        raise ValueError(
            "model: this server looks at every picture with detectors of its own, which a guider or a model patch "
            "can't do. Use Safelight KSampler or Safelight Sampler Custom."
        )


def check_related() -> None:
    """Raises ValueError for a related method, which knows no safety, on a server that asks for some."""
    here = server()
    if here is not None and here.policy.limits and not here.policy.related_methods:
        raise ValueError(
            "strength: this server asks for a least safety or detectors, which a related method (SLD, CASG, TraSCE, "
            "CRG, SAFREE) does not have. Use Safelight KSampler, or ask the server's owner to allow related_methods."
        )


@contextmanager
def explained() -> Iterator[None]:
    """Errors of what goes with no detector, or can't be hidden, say that the artist may have chosen neither."""
    try:
        yield
    except ValueError as error:
        here = server()
        inputs = ("detector:", "economy:", "hide:", "latent_image:", "merge:")
        chosen = here is not None and (here.detector is not None or here.policy.on_failure != KEEP)
        if here is None or not chosen or not str(error).startswith(inputs):
            raise
        looks = "with detectors of its own" if here.detector is not None else "with the linked detector"
        raise ValueError(
            f"{error} This server looks at pictures {looks}; one that does not pass: {here.policy.on_failure}."
        ) from error


def check_merge(merge: str, settings: GuidanceSettings) -> None:
    """Raises ValueError for another merge than the one whose every step the least safety of this server holds in."""
    here = server()
    if here is not None and here.policy.steers_all and settings.acts and merge != EVERY_STEP:
        raise ValueError(
            f'merge: expected "{EVERY_STEP}" on this server, whose least safety holds at every step, got {merge!r}. '
            "Choose it."
        )


def finish(report: str, samples: Any, node: str, seed: int | None, levels: int = 1) -> None:
    """Writes what a node's run did: a line for each of its pictures. report: the run's; samples: its latents, of
    `levels` levels.

    Raises ValueError where the log can't be written, since a log with holes is worse than no picture, and for a picture
    that this server gives to nobody.
    """
    here = server()
    if here is None:
        return
    told = json.loads(report)
    _write(here, sampler_lines(told, _pictures(samples) // levels, _origin(node), seed))
    if (look := told.get("look")) is not None and levels == 1:
        seen = [picture["looks"][-1]["words"] for picture in look["pictures"] if not picture["passed"]]
        stop_found(look["passed"], look["hide"], "; ".join(seen))


def log_looked(looks: Sequence[Look], hide: str, node: str) -> None:
    """As finish, for the node that looks at pictures."""
    here = server()
    if here is not None:
        _write(here, look_lines(looks, hide, _origin(node)))


def logger(settings: GuidanceSettings, node: str) -> OnEnd | None:
    """What writes the runs of a guider or a patch, which come after its node; None where nothing is to be written."""
    here = server()
    if here is None:
        return None
    origin = _origin(node)

    def write(record: RunRecord, samples: Any, seed: int | None) -> None:
        report = {**json.loads(record.to_json(settings)), "rows": None}  # which are not counted here
        _write(here, sampler_lines(report, _pictures(samples), origin, seed))

    return write


def stop_found(passed: bool, hide: str, found: str) -> None:
    """Raises ValueError where this server gives out no picture that did not pass."""
    if hide == STOP and not passed:
        raise ValueError(
            f"detector: this server gives out no picture in which something is found. Found: {found}. Change the "
            "prompt or the seed, or raise safety."
        )


def _origin(node: str) -> Origin:
    return Origin(node, *host.executing())


def _pictures(samples: Any) -> int:
    return len(samples) if isinstance(samples, torch.Tensor) else 1


def _write(here: Server, lines: Sequence[Line]) -> None:
    """To the log and the webhook, where the policy names any."""
    texts = [json.dumps(line) for line in lines]
    if here.log is not None:
        try:
            with _lock, here.log.open("a", encoding="utf-8") as file:
                file.write("".join(f"{text}\n" for text in texts))
        except OSError as error:
            raise ValueError(
                f"log: {here.log} can't be written ({error}), and this server gives out no picture that its log does "
                f"not have. Ask the server's owner to mend it, or the log in {here.path}."
            ) from error
    if here.policy.webhook is not None:
        _webhook.send(here.policy.webhook, texts)
