"""The HTTP client against a server that answers as ComfyUI does."""

import http.server
import json
import threading

import pytest

from runner.client import Client, pictures
from runner.messages import Failure

DONE = {
    "outputs": {
        "8": {
            "images": [
                {"filename": "a b.png", "subfolder": "", "type": "output"},
                {"filename": "t.png", "subfolder": "", "type": "temp"},
            ]
        }
    },
    "status": {"status_str": "success"},
}
FAILED = {
    "outputs": {},
    "status": {
        "status_str": "error",
        "messages": [
            ["execution_start", {}],
            [
                "execution_error",
                {"node_type": "SafelightContextEncode", "exception_message": "prompt: unknown word 'dragon'"},
            ],
        ],
    },
}
REFUSED = {
    "error": {"message": "Prompt outputs failed validation"},
    "node_errors": {
        "6": {
            "class_type": "SafelightKSampler",
            "errors": [{"message": "Value 2.0 bigger than max of 1.0", "details": "safety"}],
        }
    },
}


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, body, code=200):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def do_GET(self):
        self.server.polls += 1
        if self.path == "/history/good":
            self.answer({"good": DONE} if self.server.polls > 3 else {})
        elif self.path == "/history/bad":
            self.answer({"bad": FAILED})
        elif self.path == "/view?filename=a+b.png&subfolder=&type=output":
            self.answer(b"pixels")
        else:
            self.answer({}, 404)

    def do_POST(self):
        self.server.sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(REFUSED, 400) if self.server.sent["prompt"] == {"bad": 1} else self.answer({"prompt_id": "good"})

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    made.polls = 0
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def client(server):
    return Client(f"http://127.0.0.1:{server.server_port}")


def test_prompt_to_picture(server, client):
    entry = client.wait(client.submit({"1": {}}, {"nodes": []}))
    assert server.sent["prompt"] == {"1": {}}
    assert server.sent["extra_data"]["extra_pnginfo"]["workflow"] == {"nodes": []}
    saved = pictures(entry)
    assert [picture.filename for picture in saved] == ["a b.png"]  # the preview is no result
    assert client.view(saved[0]) == b"pixels"


def test_refusal_names_node_and_input(client):
    with pytest.raises(Failure, match="SafelightKSampler 6: Value 2.0 bigger than max of 1.0: safety"):
        client.submit({"bad": 1})


def test_error_while_running_is_told_in_the_nodes_words(client):
    with pytest.raises(Failure, match="SafelightContextEncode: prompt: unknown word 'dragon'"):
        client.wait("bad")


def test_waiting_ends(client):
    with pytest.raises(Failure, match="did not finish"):
        client.wait("good", timeout=0.0)


def test_server_that_is_not_there_is_not_up():
    assert not Client("http://127.0.0.1:9").is_up()


def test_proxies_of_the_environment_are_not_asked_about_this_machine(server, client, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert Client(client.url).submit({"1": {}}) == "good"
