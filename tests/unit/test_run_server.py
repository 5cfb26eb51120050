"""A host's process: what it may import, its folders, its end, and what is said when it does not start."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from runner import server
from runner.hosts import Host
from runner.messages import Failure

from .run_fakes import make_checkout

LAUNCH = Path(server.__file__).with_name("launch.py")
PYTHON = Path(sys.executable)


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n")
    return folder


def test_launched_host_imports_its_own_modules_first(tmp_path):
    """`nodes` and `server` exist here too, and a namespace package loses to a regular one without help."""
    main = (
        "import json, sys\nimport comfy.mine, server\n"
        "print(json.dumps([comfy.mine.X, server.X, sys.argv[1:], 'torch' in sys.modules]))"
    )
    checkout = make_checkout(tmp_path / "ComfyUI", main=main)
    (checkout / "comfy" / "mine.py").write_text("X = 'checkout'\n")
    (checkout / "server.py").write_text("X = 'checkout'\n")
    installed = tmp_path / "installed" / "comfy"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    done = subprocess.run(
        [PYTHON, LAUNCH, checkout, "--cpu"], capture_output=True, text=True, env={"PYTHONPATH": str(installed.parent)}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["checkout", "checkout", ["--cpu"], False]


def test_server_runs_with_the_pack_and_leaves_nothing(tmp_path, pack):
    host = Host(make_checkout(tmp_path / "ComfyUI"), "9.8.7", "")
    with server.running(host, PYTHON, pack, tmp_path / "log") as running:
        with urllib.request.urlopen(running.client.url + "/anything") as answer:
            told = json.load(answer)
        assert told["packs"] == ["safelight"]
        assert (running.base / "custom_nodes" / "safelight" / "__init__.py").is_file()
        assert "--cpu" in told["argv"]
    assert running.process.poll() is not None
    assert not running.base.exists() and (pack / "__init__.py").is_file()


def test_server_that_does_not_start_shows_its_last_words(tmp_path, pack):
    checkout = make_checkout(tmp_path / "ComfyUI", main="raise SystemExit('no module named torch')")
    with (
        pytest.raises(Failure, match="(?s)no module named torch.*ended while starting"),
        server.running(Host(checkout, "9.8.7", ""), PYTHON, pack, tmp_path / "log"),
    ):
        pytest.fail("it can't be up")


def test_options_follow_the_hosts_version(tmp_path):
    checkout = make_checkout(tmp_path / "ComfyUI")
    host = Host(checkout, "9.8.7", "")
    assert "--base-directory" in server.arguments(host, tmp_path, 1, gpu=False)
    (checkout / "comfy" / "cli_args.py").write_text("")
    older = server.arguments(host, tmp_path, 1, gpu=True)
    assert "--base-directory" not in older and "--cpu" not in older
    config = Path(older[older.index("--extra-model-paths-config") + 1]).read_text()
    assert str(tmp_path / "custom_nodes") in config


def test_pack_is_copied_where_it_can_not_be_linked(tmp_path, pack, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no rights")

    monkeypatch.setattr(server.Path, "symlink_to", refuse)
    (pack / ".venv").mkdir()
    server.link_pack(pack, tmp_path / "custom_nodes")
    copied = tmp_path / "custom_nodes" / "safelight"
    assert (copied / "__init__.py").is_file() and not copied.is_symlink() and not (copied / ".venv").exists()
