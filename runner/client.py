"""A client of ComfyUI's HTTP API, as any program outside it would write one."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass
from typing import Any

from .messages import Failure


@dataclass(frozen=True)
class Picture:
    """A saved picture as the history names it."""

    filename: str
    subfolder: str
    type: str


class Client:
    """Talks to one server. `timeout` is in seconds and holds for each request."""

    def __init__(self, url: str, timeout: float = 30.0):
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.id = uuid.uuid4().hex
        # A proxy named in the environment is for the outside world.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _open(self, path: str, body: Any = None) -> bytes:
        request = urllib.request.Request(self.url + path)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with self._opener.open(request, timeout=self.timeout) as response:
            return response.read()

    def is_up(self) -> bool:
        try:
            self._open("/system_stats")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def get(self, path: str) -> Any:
        """The JSON at a path of the server."""
        return json.loads(self._open(path))

    def object_info(self) -> dict[str, Any]:
        return self.get("/object_info")

    def submit(self, prompt: dict[str, Any], workflow: dict[str, Any] | None = None) -> str:
        """Queues an API-format prompt and returns its id; `workflow` is kept in the pictures for the page."""
        body: dict[str, Any] = {"prompt": prompt, "client_id": self.id}
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        try:
            return json.loads(self._open("/prompt", body))["prompt_id"]
        except urllib.error.HTTPError as error:
            words = refusal(error.read().decode("utf-8", "replace"))
            raise Failure(f"ComfyUI refused the workflow: {words}") from error

    def wait(self, prompt_id: str, timeout: float = 300.0) -> dict[str, Any]:
        """The history entry of a prompt once it has run. Raises Failure with ComfyUI's words if it failed."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            entry = json.loads(self._open(f"/history/{prompt_id}")).get(prompt_id)
            if entry:
                status = entry.get("status") or {}
                if status.get("status_str") == "error":
                    raise Failure(f"ComfyUI could not run the workflow: {execution_error(status)}")
                return entry
            time.sleep(0.05)
        raise Failure(f"ComfyUI did not finish a picture in {timeout:.0f} s", "see its log; its place is printed above")

    def view(self, picture: Picture) -> bytes:
        """The file of a saved picture."""
        return self._open("/view?" + urllib.parse.urlencode(vars(picture)))


def pictures(entry: dict[str, Any]) -> list[Picture]:
    """The saved pictures that a history entry lists, in the order of its nodes."""
    found = [image for output in entry.get("outputs", {}).values() for image in output.get("images", ())]
    return [Picture(i["filename"], i.get("subfolder", ""), i["type"]) for i in found if i.get("type") == "output"]


def refusal(body: str) -> str:
    """What a 400 of POST /prompt says, node by node."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body[:500]
    error = answer.get("error")
    parts = [error.get("message", "") if isinstance(error, dict) else str(error or "")]
    for number, node in (answer.get("node_errors") or {}).items():
        for fault in node.get("errors", ()):
            parts.append(f"{node.get('class_type', 'node')} {number}: {fault.get('message')}: {fault.get('details')}")
    return "; ".join(part for part in parts if part)


def execution_error(status: dict[str, Any]) -> str:
    """The error among the messages of a history entry's status."""
    for message in status.get("messages") or ():
        if message[0] == "execution_error":
            return f"{message[1].get('node_type')}: {message[1].get('exception_message', '').strip()}"
    return "no reason given"
