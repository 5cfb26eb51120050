"""Answers to questions of the page, over the server that loads this pack."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from safelight.engine import host

if TYPE_CHECKING:
    from aiohttp import web

Question = TypeVar("Question")


def serve_page(
    method: str,
    route: str,
    read: Callable[[web.Request], Awaitable[Question]],
    answer: Callable[[Question], Any],
) -> None:
    """Answers a route, as JSON, with what `answer` makes of what `read` takes from the request. A ValueError of either
    is a 400 with its text. Nothing where there is no server.

    A thread of the route's own works the answers out, one at a time: they may take a second, and the server's other
    threads, with which it reads files, are free meanwhile.
    """
    server = host.prompt_server()
    if server is None:
        return
    from aiohttp import web

    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="safelight")

    def refused(error: ValueError) -> web.Response:
        return web.json_response({"error": str(error)}, status=400)

    def work(request: web.Request, question: Question) -> web.Response:
        if request.transport is None:  # the page has gone while its request waited
            return web.Response()
        try:
            return web.json_response(answer(question))
        except ValueError as error:
            return refused(error)

    @server.routes.route(method, route)
    async def respond(request: web.Request) -> web.Response:
        try:
            question = await read(request)
        except ValueError as error:
            return refused(error)
        return await asyncio.get_running_loop().run_in_executor(worker, work, request, question)
