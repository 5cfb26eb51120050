"""Chooses the ComfyUI under test, loads it and the pack into this process, and holds the skips to account."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))  # after everything else: `nodes`, `utils` and the like belong to the host

import loading  # noqa: E402

NOT_ON_INDEX = HERE / "not_on_index.txt"
_numbers = itertools.count()  # of tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--comfyui",
        metavar="PATH",
        default=os.environ.get("COMFYUI_PATH") or None,
        help="the ComfyUI to test against; without it, the installed package index build (or COMFYUI_PATH)",
    )

    parser.addoption(
        "--thin",
        type=int,
        default=0,
        metavar="N",
        help="of each parametrised test run at most N cases, evenly spread; 0: all of them",
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--comfyui")
    config.checkout = Path(path).resolve() if path else None
    loading.load_host(config.checkout)
    config.collected_tests, config.skipped_tests = set(), set()
    config.remarks = []  # what passing tests had to say, printed at the end


def pytest_report_header(config: pytest.Config) -> str:
    import host

    return f"ComfyUI: {host.VERSION} ({config.checkout or 'installed package'})"


def _listed() -> set[str]:
    lines = NOT_ON_INDEX.read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The benches' own tests come last, since they are silent for long; sweeps are thinned where that is asked for."""
    items.sort(key=lambda item: "bench" in item.path.name)
    most = config.getoption("--thin")
    if not most:
        return
    sweeps: dict[str, list[pytest.Item]] = {}
    for item in items:
        sweeps.setdefault(item.nodeid.split("[")[0], []).append(item)
    spread = [i / max(most - 1, 1) for i in range(most)]
    chosen = {id(cases[round(part * (len(cases) - 1))]) for cases in sweeps.values() for part in spread}
    left_out = [item for item in items if id(item) not in chosen]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if id(item) in chosen]


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.collected_tests.update(item.name for item in session.items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(ids: list[str]) -> None:
    """In the process that the workers report to, which collects nothing itself."""
    _config.collected_tests.update(each.split("::")[-1] for each in ids)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _config.skipped_tests.add(report.nodeid.split("::")[-1])
    if report.when == "call":
        _config.remarks += [text for name, text in report.user_properties if name == "remark"]


def pytest_sessionstart(session: pytest.Session) -> None:
    global _config
    _config = session.config


def _skip_faults(config: pytest.Config) -> list[str]:
    """On the index build the skipped tests are exactly the listed ones, no more and no fewer."""
    import host

    of_a_worker = hasattr(config, "workerinput")  # it knows its own part alone
    if not host.IS_INDEX_BUILD or config.option.collectonly or of_a_worker:
        return []
    listed, skipped = _listed(), config.skipped_tests
    ran = config.collected_tests
    faults = [f"skipped, but not listed in {NOT_ON_INDEX.name}: {name}" for name in sorted(skipped - listed)]
    faults += [f"listed in {NOT_ON_INDEX.name}, but did not skip: {name}" for name in sorted(listed & ran - skipped)]
    options = config.option
    whole = not (options.keyword or options.markexpr or options.deselect or options.thin) and all(
        Path(argument.split("::")[0]).resolve() == HERE for argument in config.args
    )
    if whole:
        faults += [f"listed in {NOT_ON_INDEX.name}, but no such test: {name}" for name in sorted(listed - ran)]
    return faults


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and _skip_faults(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    for remark in config.remarks:
        terminalreporter.write_line(remark)
    for fault in _skip_faults(config):
        terminalreporter.write_line(f"FAILED {fault}", red=True)


@pytest.fixture(autouse=True)
def user_folder(tmp_path_factory, monkeypatch):
    """A user folder of each test's own, so that what is kept there is neither the host's nor another test's."""
    from safelight.engine.host import folder_paths

    folder = tmp_path_factory.getbasetemp() / "users" / str(next(_numbers))
    if hasattr(folder_paths, "get_user_directory"):  # not on the package index build
        monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(folder))
    return folder


@pytest.fixture
def kept(user_folder, monkeypatch):
    """The folder of kept calibrations; on the package index build, which has no user folder, one is made up."""
    import host

    from safelight.engine import calibration_files

    folder = user_folder / "safelight" / "calibration"
    if host.IS_INDEX_BUILD:
        monkeypatch.setattr(calibration_files, "file_of", lambda key: folder / f"{key}.safetensors")
    return folder


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """What runs leave, empty at first: no test's rows answer another's."""
    from safelight.engine import row_memory
    from safelight.guidance.prediction_memory import PredictionMemory

    empty = PredictionMemory()
    monkeypatch.setattr(row_memory, "_between_runs", empty)
    return empty


@pytest.fixture
def remark(request):
    """Takes what a passing test has to say."""
    return lambda text: request.node.user_properties.append(("remark", text))


@pytest.fixture(scope="session")
def pack():
    """The pack, loaded once as the host loads it."""
    import safelight_pack

    return safelight_pack.Pack()


@pytest.fixture(scope="session")
def eps():
    """The tiny noise-predicting UNet. Tests that change a MODEL clone it first."""
    import tiny_models

    return tiny_models.unet_model()


@pytest.fixture(scope="session")
def prompts():
    """(positive, safe, negative): one entry each, equally long."""
    from tiny_models import conditioning

    return conditioning(11), conditioning(12), conditioning(13)


@pytest.fixture(scope="session")
def server(request, tmp_path_factory):
    """A server of the host under test, with this pack and the tiny models' nodes: its client, and its log."""
    import host

    from runner.hosts import Host
    from runner.server import running

    log = tmp_path_factory.mktemp("server") / "comfyui.log"
    chosen = Host(request.config.checkout, host.VERSION, "under test")
    with running(chosen, Path(sys.executable), loading.ROOT, log, beside=[HERE / "tiny_pack"]) as started:
        yield started.client, log


@pytest.fixture
def policy(tmp_path, monkeypatch):
    """Writes the file of the server's owner: a text, or keys. Gives its path."""
    import server_owner

    return server_owner.file_writer(tmp_path / "policy.json", monkeypatch)


@pytest.fixture
def script(monkeypatch):
    """A detector of the server's that says in turn what it is told."""
    import server_owner

    return server_owner.scripted_detector(monkeypatch)


@pytest.fixture
def ways(pack, eps, prompts):
    """By node, how to sample with it: the latents for inputs beside those of the run."""
    import server_owner

    return server_owner.ways_to_sample(pack, eps, prompts)
