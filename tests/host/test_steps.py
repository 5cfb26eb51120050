"""Where the page draws the steps of a run, against where the run has them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from types import SimpleNamespace

import pytest
import tiny_models
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from safelight.engine import http_routes


def progress_of_calls(report):
    return [call["progress"] for call in report["weights"]]


@pytest.fixture(scope="module")
def inputs():
    return (
        tiny_models.unet_model(),
        tiny_models.conditioning(1),
        tiny_models.conditioning(2),
        tiny_models.conditioning(3),
        tiny_models.latent(),
    )


@pytest.mark.parametrize("axis", ["noise level", "steps"])
@pytest.mark.parametrize("scheduler", ["normal", "karras", "simple", "sgm_uniform"])
@pytest.mark.parametrize(
    ("sampler_name", "count", "denoise"), [("euler", 7, 1.0), ("euler", 4, 0.6), ("dpm_2", 5, 1.0)]
)
def test_steps_are_drawn_where_a_run_of_a_stable_diffusion_model_has_them(
    pack, inputs, sampler_name, scheduler, count, denoise, axis
):
    schedule = pack.schedule(axis=axis)
    settings = {"steps": count, "sampler_name": sampler_name, "scheduler": scheduler, "denoise": denoise}
    _, report = pack.reported(*inputs, **settings, schedule=schedule)
    drawn = http_routes.steps_of(**settings)
    starts = drawn["progress"][axis][drawn["from"] : drawn["to"]]
    calls = progress_of_calls(report)
    if sampler_name == "dpm_2":  # its calls between two steps are no steps
        calls = [p for p in calls if any(abs(p - q) < 1e-4 for q in starts)]
        assert len(calls) >= count - 1
    else:
        assert len(calls) == count
    assert calls == pytest.approx(starts[: len(calls)], abs=1e-4)


@pytest.mark.parametrize("leftover", ["disable", "enable"])
def test_a_stage_is_drawn_as_the_part_of_the_run_that_it_does(leftover):
    whole = http_routes.steps_of(10, "euler", "karras")
    stage = http_routes.steps_of(
        10, "euler", "karras", start_at_step=2, end_at_step=6, return_with_leftover_noise=leftover
    )
    assert (whole["from"], whole["to"]) == (0, 10)
    assert (stage["from"], stage["to"]) == (2, 6)
    assert len(stage["progress"]["noise level"]) == (10 if leftover == "enable" else 6)
    assert stage["progress"]["noise level"][:6] == whole["progress"]["noise level"][:6]


def test_a_sampler_that_skips_the_last_step_is_guarded_one_step_earlier():
    for sampler_name, counted in (("euler", 6), ("dpm_adaptive", 5)):
        answer = http_routes.steps_of(6, sampler_name, "normal")
        assert answer["guarded"] == {axis: starts[:counted] for axis, starts in answer["progress"].items()}


@pytest.mark.parametrize("count", range(1, 9))
def test_the_guard_counts_the_calls_that_dpm_fast_makes(pack, inputs, count):
    settings = {"steps": count, "sampler_name": "dpm_fast", "scheduler": "simple"}
    _, report = pack.reported(*inputs, **settings, schedule=pack.schedule())
    counted = http_routes.steps_of(**settings)["guarded"]["noise level"]
    calls = progress_of_calls(report)
    assert counted == pytest.approx(calls, abs=1e-4) and all(p <= q for p, q in zip(counted, calls, strict=True))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"steps": "20"}, "scheduler"),
        ({"steps": "20", "scheduler": "no such"}, "^scheduler: .*'no such'"),
        ({"steps": "20", "scheduler": "karras", "sampler_name": "?"}, "^sampler_name: "),
        ({"steps": "20", "scheduler": "karras", "denoise": "0"}, "^denoise: "),
        ({"steps": "20", "scheduler": "karras", "denoise": "nan"}, "^denoise: "),
        ({"steps": "9999", "scheduler": "karras"}, "^steps: "),
        ({"steps": "500", "scheduler": "karras", "denoise": "0.1"}, "^steps: "),
        ({"steps": "many", "scheduler": "karras"}, "^steps: .*many"),
    ],
)
def test_a_request_that_no_node_could_make_is_refused_by_name(query, named):
    with pytest.raises(ValueError, match=named):
        http_routes.answer(query)


@pytest.mark.parametrize("denoise", ["0.30000000000000004", "1e-3", "1.0"])
def test_a_number_is_taken_as_the_page_writes_it(denoise):
    query = {"steps": "1", "scheduler": "karras", "denoise": denoise}
    assert http_routes.answer(query) == http_routes.steps_of(1, "euler", "karras", float(denoise))


class Server(TestServer):
    """Goes on with a request when its client has gone, as ComfyUI does."""

    async def _make_runner(self, **options):
        return web.AppRunner(self.app, **{**options, "handler_cancellation": False})


@contextlib.asynccontextmanager
async def served(monkeypatch):
    """Serves the route alone. Yields a client, the requests, the answers begun, and the event that answers wait for."""
    server = SimpleNamespace(routes=web.RouteTableDef())
    requests, begun, go_on = [], [], threading.Event()

    @web.middleware
    async def note(request, handler):
        requests.append(request)
        return await handler(request)

    def answer(query):
        begun.append(query["number"])
        assert go_on.wait(60)
        return {}

    monkeypatch.setattr(http_routes.host, "prompt_server", lambda: server)
    monkeypatch.setattr(http_routes, "answer", answer)
    http_routes.serve()
    application = web.Application(middlewares=[note])
    application.add_routes(server.routes)
    try:
        async with TestClient(Server(application)) as client:
            yield client, requests, begun, go_on
    finally:
        go_on.set()


def asked(client, numbers):
    return [asyncio.create_task(client.get(http_routes.ROUTE, params={"number": str(n)})) for n in numbers]


async def until(condition):
    async def wait():
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 60)


def test_many_requests_leave_the_servers_threads_to_others(monkeypatch):
    async def run():
        async with served(monkeypatch) as (client, requests, begun, go_on):
            responses = asked(client, range(50))
            await until(lambda: len(requests) == 50 and begun)
            await asyncio.wait_for(asyncio.to_thread(lambda: None), 20)  # as the server reads a file
            go_on.set()
            assert {response.status for response in await asyncio.gather(*responses)} == {200}
            assert len(begun) == 50

    asyncio.run(run())


def test_what_nobody_waits_for_any_more_is_not_worked_out(monkeypatch):
    async def run():
        async with served(monkeypatch) as (client, requests, begun, go_on):
            (first,) = asked(client, ["first"])
            await until(lambda: begun)
            gone = asked(client, range(20))
            await until(lambda: len(requests) == 21)
            for response in gone:
                response.cancel()
            await until(lambda: all(request.transport is None for request in requests[1:]))
            (last,) = asked(client, ["last"])
            await until(lambda: len(requests) == 22)
            go_on.set()
            await asyncio.gather(first, last)
            assert begun == ["first", "last"]

    asyncio.run(run())


def test_the_answer_has_the_defaults_of_the_nodes():
    assert http_routes.answer({"steps": "20", "scheduler": "karras"}) == http_routes.steps_of(20, "euler", "karras")


def test_the_names_of_the_query_and_of_the_axes_are_those_of_the_nodes(pack):
    declared = {
        name
        for node in ("SafelightKSampler", "SafelightKSamplerAdvanced")
        for name in pack.nodes[node].INPUT_TYPES()["required"]
    }
    assert set(inspect.signature(http_routes.steps_of.__wrapped__).parameters) <= declared
    axes = pack.nodes["SafelightWeightSchedule"].INPUT_TYPES()["required"]["axis"][0]
    assert list(http_routes.steps_of(3, "euler", "normal")["progress"]) == axes
