"""A stand-in for ComfyUI's server: it serves a real frontend package and this pack's page files, and runs nothing.

    python tests/browser/standin.py FRONTEND [--port N]

FRONTEND is the `static` folder of a comfyui-frontend-package. What nodes there are comes from object_info.json, which
was recorded from a real server; the pack's scripts, translations, workflows and subgraphs come from the working tree,
read anew for each request. A posted prompt is kept in the history and reported as done at once; nothing runs. Needs
aiohttp, as ComfyUI does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import WSMsgType, web

HERE = Path(__file__).resolve().parent
PACK = HERE.parents[1]
NAME = "safelight"
LOCALE_PARTS = ("nodeDefs", "commands", "settings")


def translations(locales: Path) -> dict[str, Any]:
    """The pack's texts by language, put together as the server does: main.json, and three more under their names."""
    found: dict[str, Any] = {}
    for folder in sorted(path for path in locales.glob("*") if path.is_dir()):
        main = folder / "main.json"
        texts = json.loads(main.read_text("utf-8")) if main.is_file() else {}
        for part in LOCALE_PARTS:
            file = folder / f"{part}.json"
            if file.is_file():
                texts[part] = json.loads(file.read_text("utf-8"))
        found[folder.name] = texts
    return found


def run_of(query: Mapping[str, Any]) -> tuple[Any, ...]:
    """The settings of a run, however they are written, those left out at the nodes' defaults."""
    return (
        int(query["steps"]),
        query.get("sampler_name", "euler"),
        query["scheduler"],
        float(query.get("denoise", 1)),
        int(query.get("start_at_step", 0)),
        int(query.get("end_at_step", 10000)),
        query.get("return_with_leftover_noise", "disable"),
    )


class StandIn:
    """The state of one server: its settings, the user's files, the open pages, the prompts taken."""

    def __init__(self, frontend: Path) -> None:
        self.frontend = frontend
        self.nodes = json.loads((HERE / "object_info.json").read_text("utf-8"))
        recorded = json.loads((HERE / "steps.json").read_text("utf-8"))
        self.steps = {run_of(entry["run"]): entry["answer"] for entry in recorded}
        self.settings: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.pages: dict[str, web.WebSocketResponse] = {}
        self.history: dict[str, Any] = {}

    def app(self) -> web.Application:
        api = web.RouteTableDef()
        for path, answer in {
            "/embeddings": [],
            "/models": [],
            "/experiment/models": [],
            "/queue": {"queue_running": [], "queue_pending": []},
            "/prompt": {"exec_info": {"queue_remaining": 0}},
            "/features": {"supports_preview_metadata": True},
            "/users": {"storage": "server", "migrated": True},
            "/node_replacements": {},
            "/jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 200, "total": 0, "has_more": False}},
            "/internal/logs": "",
            "/internal/folder_paths": {},
            "/internal/files/{kind}": [],
        }.items():
            api.get(path)(_constant(answer))
        for method, path, handler in (
            ("GET", "/object_info", self.get_nodes),
            ("GET", "/object_info/{node}", self.get_nodes),
            ("GET", "/extensions", self.get_scripts),
            ("GET", "/i18n", self.get_texts),
            ("GET", "/system_stats", self.get_stats),
            ("GET", "/settings", self.get_settings),
            ("POST", "/settings", self.set_settings),
            ("POST", "/settings/{name}", self.set_setting),
            ("GET", "/userdata", self.list_files),
            ("GET", "/v2/userdata", self.list_files),
            ("GET", "/userdata/{name}", self.get_file),
            ("POST", "/userdata/{name}", self.put_file),
            ("GET", "/workflow_templates", self.get_workflows),
            ("GET", "/global_subgraphs", self.get_subgraphs),
            ("GET", "/global_subgraphs/{id}", self.get_subgraphs),
            ("GET", f"/{NAME}/steps", self.get_steps),
            ("POST", "/prompt", self.take_prompt),
            ("GET", "/history", self.get_history),
            ("GET", "/history/{id}", self.get_history),
            ("GET", "/ws", self.talk),
        ):
            api.route(method, path)(handler)
        app = web.Application(client_max_size=2**24)
        app.add_routes(api)
        app.add_routes([web.route(route.method, "/api" + route.path, route.handler) for route in api])
        workflows = PACK / "workflows"
        if workflows.is_dir():
            app.router.add_static(f"/api/workflow_templates/{NAME}", workflows)
        app.router.add_static(f"/extensions/{NAME}", PACK / "js")
        app.router.add_get("/templates/{rest:.*}", _constant([]))
        app.router.add_get("/", self.get_page)
        app.router.add_static("/", self.frontend)
        return app

    async def get_page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(self.frontend / "index.html")

    async def get_nodes(self, request: web.Request) -> web.Response:
        node = request.match_info.get("node")
        return web.json_response(self.nodes if node is None else {node: self.nodes[node]})

    async def get_scripts(self, _: web.Request) -> web.Response:
        ours = [f"/extensions/{NAME}/{path.relative_to(PACK / 'js')}" for path in sorted((PACK / "js").rglob("*.js"))]
        core = [f"/{path.relative_to(self.frontend)}" for path in (self.frontend / "extensions").rglob("*.js")]
        return web.json_response([*sorted(core), *ours])

    async def get_texts(self, _: web.Request) -> web.Response:
        return web.json_response(translations(PACK / "locales"))

    async def get_stats(self, _: web.Request) -> web.Response:
        system = {
            "os": "linux",
            "ram_total": 2**34,
            "ram_free": 2**33,
            "comfyui_version": "0.33.0",
            "argv": [],
            "python_version": "3.12",
            "pytorch_version": "2",
            "embedded_python": False,
            "required_frontend_version": "0.0.0",
        }
        cpu = {
            "name": "cpu",
            "type": "cpu",
            "index": None,
            "vram_total": 2**34,
            "vram_free": 2**33,
            "torch_vram_total": 2**34,
            "torch_vram_free": 2**33,
        }
        return web.json_response({"system": system, "devices": [cpu]})

    async def get_settings(self, _: web.Request) -> web.Response:
        return web.json_response(self.settings)

    async def set_settings(self, request: web.Request) -> web.Response:
        self.settings.update(await request.json())
        return web.Response()

    async def set_setting(self, request: web.Request) -> web.Response:
        self.settings[request.match_info["name"]] = await request.json()
        return web.Response()

    async def list_files(self, request: web.Request) -> web.Response:
        folder = request.query.get("dir", request.query.get("path", "")).strip("/")
        inside = [name for name in self.files if name.startswith(f"{folder}/" if folder else "")]
        if request.query.get("full_info") == "true":
            return web.json_response([self._described(name, folder) for name in inside])
        return web.json_response(inside)

    def _described(self, name: str, folder: str = "") -> dict[str, Any]:
        return {"path": name[len(folder) + 1 :] if folder else name, "size": len(self.files[name]), "modified": 1}

    async def get_file(self, request: web.Request) -> web.Response:
        name = unquote(request.match_info["name"])
        return web.Response(body=self.files[name]) if name in self.files else web.Response(status=404)

    async def put_file(self, request: web.Request) -> web.Response:
        name = unquote(request.match_info["name"])
        self.files[name] = await request.read()
        return web.json_response(self._described(name) if request.query.get("full_info") == "true" else name)

    async def get_workflows(self, _: web.Request) -> web.Response:
        names = [path.stem for path in sorted((PACK / "workflows").glob("*.json"))]
        return web.json_response({NAME: names} if names else {})

    async def get_subgraphs(self, request: web.Request) -> web.Response:
        found = {}
        for path in sorted((PACK / "subgraphs").glob("*.json")):
            key = hashlib.sha256(path.name.encode()).hexdigest()
            found[key] = {"source": "custom_node", "name": path.stem, "info": {"node_pack": f"custom_nodes.{NAME}"}}
            if request.match_info.get("id") == key:
                return web.json_response({**found[key], "data": path.read_text("utf-8")})
        return web.json_response(None if "id" in request.match_info else found)

    async def get_steps(self, request: web.Request) -> web.Response:
        """The recorded answer for this run; 404, as on a server without the route, for one that was not recorded."""
        answer = self.steps.get(run_of(request.query))
        return web.Response(status=404) if answer is None else web.json_response(answer)

    async def get_history(self, request: web.Request) -> web.Response:
        key = request.match_info.get("id")
        return web.json_response(
            self.history if key is None else {key: self.history[key]} if key in self.history else {}
        )

    async def take_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt_id, number = str(body.get("prompt_id") or uuid.uuid4()), len(self.history)
        status = {"status_str": "success", "completed": True, "messages": []}
        entry = [number, prompt_id, body["prompt"], body.get("extra_data", {}), []]
        self.history[prompt_id] = {"prompt": entry, "outputs": {}, "status": status, "meta": {}}
        page = self.pages.get(body.get("client_id", ""))
        if page is not None:
            done = {"prompt_id": prompt_id, "timestamp": 0}
            for kind, data in (("execution_start", done), ("execution_success", done), ("status", _status())):
                await page.send_json({"type": kind, "data": data})
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": {}})

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        page = request.query.get("clientId") or uuid.uuid4().hex
        self.pages[page] = socket
        await socket.send_json({"type": "status", "data": {**_status(), "sid": page}})
        async for message in socket:
            if message.type == WSMsgType.ERROR:
                break
        return socket


def _status() -> dict[str, Any]:
    return {"status": {"exec_info": {"queue_remaining": 0}}}


def _constant(answer: Any) -> Any:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(answer)

    return handler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frontend", type=Path)
    parser.add_argument("--port", type=int, default=8188)
    options = parser.parse_args()
    web.run_app(StandIn(options.frontend.resolve()).app(), host="127.0.0.1", port=options.port, print=None)


if __name__ == "__main__":
    main()
