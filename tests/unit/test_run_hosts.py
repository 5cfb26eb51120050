"""Which ComfyUI run.py takes, in which order, and that a clone never hangs."""

import socket
import sys
import time
from pathlib import Path

import pytest

from runner import clone, hosts
from runner.messages import Failure

from .run_fakes import make_checkout, make_repository


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("COMFYUI_PATH", "SAFELIGHT_HOST_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "pack"
    folder.mkdir()
    return folder


def test_named_folder_comes_before_all_others(tmp_path, pack, monkeypatch):
    named, other = make_checkout(tmp_path / "named", "1.0.0"), make_checkout(tmp_path / "other", "2.0.0")
    monkeypatch.setenv("COMFYUI_PATH", str(other))
    assert hosts.find_host(pack, str(named), tmp_path / "hosts").version == "1.0.0"
    host = hosts.find_host(pack, None, tmp_path / "hosts")
    assert (host.path, host.version) == (other, "2.0.0")
    assert "COMFYUI_PATH" in host.why


def test_named_folder_without_comfyui_is_an_error_that_names_it(tmp_path, pack):
    with pytest.raises(Failure, match="(?s)nowhere.*no main.py.*What to do"):
        hosts.find_host(pack, str(tmp_path / "nowhere"), tmp_path / "hosts")


def test_comfyui_around_the_pack_is_found_and_brings_its_environment(tmp_path, monkeypatch):
    around = make_checkout(tmp_path / "ComfyUI")
    pack = around / "custom_nodes" / "safelight"
    pack.mkdir(parents=True)
    interpreter = around / "venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.symlink_to(sys.executable)
    monkeypatch.setattr(hosts, "has_torch", lambda python: python == interpreter)
    host = hosts.find_host(pack, None, tmp_path / "hosts")
    assert (host.path, host.python) == (around, interpreter)


def test_running_python_is_preferred_where_it_has_torch(tmp_path, monkeypatch):
    around = make_checkout(tmp_path / "ComfyUI")
    monkeypatch.setattr(hosts, "has_torch", lambda python: True)
    assert hosts.own_python(around, running=True) == Path(sys.executable)


def test_portable_windows_build_brings_its_environment(tmp_path, monkeypatch):
    around = make_checkout(tmp_path / "portable" / "ComfyUI")
    interpreter = tmp_path / "portable" / "python_embeded" / "python.exe"
    interpreter.parent.mkdir()
    interpreter.touch()
    monkeypatch.setattr(hosts, "has_torch", lambda python: True)
    assert hosts.own_python(around) == interpreter


def test_has_torch_asks_the_interpreter(tmp_path):
    assert hosts.has_torch(Path(sys.executable))
    assert not hosts.has_torch(tmp_path / "no python here")


def test_release_is_cloned_once_and_used_again(tmp_path, pack, monkeypatch):
    bare = make_repository(tmp_path, clone.RELEASE)
    monkeypatch.setenv("SAFELIGHT_HOST_URL", bare.as_uri())
    first = hosts.find_host(pack, None, tmp_path / "hosts")
    assert first.path.parent == tmp_path / "hosts" and first.version == "9.8.7" and "clone of" in first.why
    again = hosts.find_host(pack, None, tmp_path / "hosts")
    assert again.path == first.path and "earlier" in again.why


@pytest.mark.skipif(not (3, 10) <= sys.version_info[:2] < (3, 13), reason="the index build needs Python 3.10 to 3.12")
def test_failed_clone_leaves_the_index_build_and_says_why(tmp_path, pack, monkeypatch):
    monkeypatch.setenv("SAFELIGHT_HOST_URL", (tmp_path / "no repository").as_uri())
    host = hosts.find_host(pack, None, tmp_path / "hosts")
    assert host.path is None and host.version == "0.0.1"
    assert "does not exist" in host.why or "fatal" in host.why
    assert not list((tmp_path / "hosts").iterdir())


def test_repository_without_comfyui_is_not_taken(tmp_path):
    bare = make_repository(tmp_path, "another-tag")
    assert clone.clone_release(tmp_path / "hosts", bare.as_uri())[0] is None


def test_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        path, why = clone.clone_release(
            tmp_path / "hosts", f"git://127.0.0.1:{server.getsockname()[1]}/comfyui", silence=1.0
        )
    assert path is None and "no answer for 1 s" in why and "\n" not in why
    assert time.monotonic() - began < 10
    assert not list((tmp_path / "hosts").iterdir())


def test_index_build_can_be_asked_for(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(hosts, "clone_release", lambda *_: pytest.fail("no clone is needed"))
    host = hosts.find_host(pack, "index", tmp_path / "hosts", Path(sys.executable))
    assert host.path is None and "asks for it" in host.why


def test_index_build_on_an_unfit_python_is_an_error_with_a_way_out(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(hosts, "INDEX_PYTHONS", ((2, 6), (2, 7)))
    with pytest.raises(Failure, match="--comfyui PATH"):
        hosts.find_host(pack, "index", tmp_path / "hosts")
