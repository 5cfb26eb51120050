"""The browser suite's own machinery: what it needs, what it counts, what it says where something is not there."""

import json
import os
import re
import subprocess
import sys
import zipfile
from urllib.parse import unquote

import pytest

import run
from runner import browser, pictures, suites
from runner.hosts import Host
from runner.messages import Failure

from .run_fakes import ROOT

HOST = Host(None, "0.0.1", "")
REPORT = """<testsuites>
 <testcase name="a"/><testcase name="b"><failure/></testcase>
 <testsuite><testcase name="c"><skipped message="only Nodes 2.0"/></testcase></testsuite>
 <testcase name="d"><skipped message="test name does not match pattern"/></testcase>
</testsuites>"""


def program(folder, name, says=""):
    """An executable that prints `says`."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable}\nprint({says!r})\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CHROMIUM", raising=False)
    return folder


def wheel(folder, version):
    with zipfile.ZipFile(folder / f"comfyui_frontend_package-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("comfyui_frontend_package/static/index.html", version)


def test_report_is_counted_without_the_tests_not_chosen(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert browser.counted(report, 1) == browser.Counts(1, 1, 1, 1)


@pytest.mark.parametrize("text", [None, "<testsuites><testcase"])
def test_run_without_a_whole_report_is_no_success(tmp_path, text):
    report = tmp_path / "report.xml"
    if text:
        report.write_text(text)
    assert browser.counted(report, None).code != 0


def test_without_node_the_suite_says_so_and_is_no_failure(tmp_path, path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    result = suites.run_browser(ROOT, HOST, None, tmp_path, "", ())
    assert result.ok and result.passed == 0 and "node is not installed" in result.words
    line = suites.closing_line([result], HOST, 1.0)
    assert "browser 0 (not run: node is not installed)" in line


def test_in_continuous_integration_what_is_not_run_fails(tmp_path, path, monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert not suites.run_browser(ROOT, HOST, None, tmp_path, "", ()).ok


def test_too_old_a_node_is_named(path):
    program(path, "node", "v18.20.4")
    with pytest.raises(browser.Missing, match="node is v18.20.4, the tests need 20"):
        browser.find_node()


def test_chromium_is_taken_from_the_path_unless_named(path, tmp_path, monkeypatch):
    with pytest.raises(browser.Missing, match="Chromium is not installed"):
        browser.find_chromium()
    found = program(path, "chromium-browser")
    assert browser.find_chromium() == str(found)
    mine = program(tmp_path / "mine", "browser")
    monkeypatch.setenv("CHROMIUM", str(mine))
    assert browser.find_chromium() == str(mine)
    monkeypatch.setenv("CHROMIUM", "nowhere/browser")
    with pytest.raises(browser.Missing, match="CHROMIUM=nowhere/browser is no program"):
        browser.find_chromium()


def test_modules_that_are_there_are_not_installed_again(tmp_path, path):
    (tmp_path / "package.json").write_text(json.dumps({"dependencies": {"playwright-core": "1.2.3"}}))
    installed = tmp_path / "node_modules" / "playwright-core" / "package.json"
    installed.parent.mkdir(parents=True)
    installed.write_text('{"version": "1.2.3"}')
    browser.install_modules(tmp_path)
    installed.write_text('{"version": "1.2.2"}')
    with pytest.raises(browser.Missing, match="npm is not installed"):
        browser.install_modules(tmp_path)


def test_frontend_is_unpacked_once_and_the_newest_kept_is_used_offline(tmp_path):
    pip = program(tmp_path / "env", "python", "no network")
    pip.write_text(pip.read_text() + "raise SystemExit(1)\n")
    cache = tmp_path / "frontends"
    with pytest.raises(browser.Missing, match="pip did not get comfyui-frontend-package: no network"):
        browser.get_frontend(pip, browser.NEWEST, cache)
    for version in ("1.9.0", "1.58.1", "1.49.6"):
        wheel(cache, version)
    newest = browser.get_frontend(pip, browser.NEWEST, cache)
    assert newest.version == "1.58.1" and (newest.static / "index.html").read_text() == "1.58.1"
    with pytest.raises(browser.Missing, match="==1.27.10"):
        browser.get_frontend(pip, "1.27.10", cache)
    assert not list(cache.glob("*.part"))


def test_modes_follow_the_frontend(tmp_path):
    assert browser.Frontend("1.27.10", tmp_path).modes == ("classic",)
    assert browser.Frontend("1.49.6", tmp_path).modes == ("classic", "nodes2")


def test_a_word_chooses_and_an_expression_is_left_to_pytest(tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(browser, "find_node", lambda: "node")
    monkeypatch.setattr(browser, "run_scripts", lambda *given: chosen.append(given[-1]) or browser.Counts(2, 0, 0, 0))
    monkeypatch.setattr(browser, "run_pages", lambda *given: [browser.Counts(3, 0, 1, 0)])
    result = suites.run_browser(ROOT, HOST, None, tmp_path, "Ctrl-Z", ())
    assert (result.passed, result.skipped, chosen) == (5, 1, [r"Ctrl\-Z"])
    assert "one word" in suites.run_browser(ROOT, HOST, None, tmp_path, "undo and not redo", ()).missing


def test_nothing_of_the_page_is_where_the_host_or_git_would_take_it():
    assert not [file for file in (ROOT / "js").rglob("*.js") if "test" in file.name]
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".frontends/", "node_modules/"} <= set(ignored)


def test_lock_file_names_no_registry():
    lock = json.loads((ROOT / "tests" / "browser" / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    asked = json.loads((ROOT / "tests" / "browser" / "package.json").read_text())["dependencies"]
    assert all(lock["packages"][f"node_modules/{name}"]["version"] == version for name, version in asked.items())


def test_an_unknown_suite_is_named():
    done = subprocess.run(
        [sys.executable, ROOT / "run.py", "test", "--suite", "nix"],
        capture_output=True,
        text=True,
        env={**os.environ, "COMFYUI_PATH": "nowhere"},
    )
    assert done.returncode == 2 and "'nix'" in done.stderr
    assert suites.BROWSER in run.SUITES


def test_pictures_need_a_page_that_shows_real_runs(tmp_path):
    with pytest.raises(Failure, match="--comfyui PATH"):
        pictures.make(ROOT, HOST, tmp_path, run.PICTURES)


def test_help_and_documentation_show_pictures_that_are_there_and_small():
    for page in (*(ROOT / "js" / "docs").glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"):
        for name in re.findall(r"(?:!\[[^\]]*\]\((?!https?:)|<img src=\")([^)\"]+)", page.read_text("utf-8")):
            assert (page.parent / unquote(name)).stat().st_size < 100_000, f"{page.name}: {name}"
